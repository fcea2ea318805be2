"""Archives that stall, drip or flood in the middle of what they say: left in bounded time and memory, tried again."""

import ssl
import struct
import threading
import time
from contextlib import contextmanager

import psutil
import pytest
from builders import build_sc, phantom, write_part10
from certificates import Authority
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification
from raw_peer import ASSOCIATE_AC, COMMAND, CR, LAST, P_DATA, RELEASE_RP, command, even
from receiving import ends_soon
from rogue_archive import FOUR_GIGABYTES, RogueArchive, data_pdu, pdu, store_response

from dicom_node.association import request_association
from dicom_node.deliver.commitment import request_commitment
from dicom_node.deliver.storage_scu import ResultFile, send_results
from dicom_node.errors import AssociationError, QueryError
from dicom_node.query.session import open_session
from dicom_node.settings import Archive, TLSFiles
from dicom_node.storage_commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE
from dicom_node.store import DeliveryState
from dicom_node.tls import build_server_context

UNPROVEN = {"commitment": "never", "verify": "never"}
TIMEOUT_S = 1.0
A_WHILE_S = 5.0
"""What a call may take that waits for the time-out once: it, a last word, and a busy machine."""


# What the archives do


def stall_in_acceptance(node):
    node.socket.sendall(node.build_acceptance()[:40])


def stall_in_response(node):
    node.accept()
    node.read_message()
    node.socket.sendall(pdu(P_DATA, bytes(10), length=100))


def drip_acceptance(node):
    node.drip(node.build_acceptance(), TIMEOUT_S / 4)


def drip_response(node):
    node.accept()
    node.read_message()
    node.drip(pdu(P_DATA, bytes(100)), TIMEOUT_S / 4)


def claim_four_gigabytes_in_acceptance(node):
    node.build_acceptance()
    node.socket.sendall(pdu(ASSOCIATE_AC, b"", length=FOUR_GIGABYTES))
    node.flood(bytes(1_000_000), 300)


def claim_four_gigabytes_in_response(node):
    node.accept()
    node.read_message()
    node.socket.sendall(pdu(P_DATA, b"", length=FOUR_GIGABYTES))
    node.flood(bytes(1_000_000), 300)


def respond_without_end(node):
    """Send a command set in PDUs that are all as they should be, and no last one."""
    node.accept()
    node.read_message()
    node.flood(data_pdu(bytes(16_000), control=COMMAND), 20_000)


def take_nothing(node):
    node.accept()
    while not node.is_over:
        time.sleep(0.05)


STALLS = [stall_in_acceptance, stall_in_response]
DRIPS = [drip_acceptance, drip_response]
FLOODS = [claim_four_gigabytes_in_acceptance, claim_four_gigabytes_in_response, respond_without_end]


@pytest.fixture
def rogue():
    started = []

    def start(script, **options):
        started.append(RogueArchive(script, **options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture(params=["plain", "TLS"])
def tls(request, tmp_path):
    """What archive and node need for TLS, where it is TLS: options of the one and the other."""
    if request.param == "plain":
        return {}, {}
    authority = Authority(tmp_path / "tls")
    return {"tls": build_server_context(files(authority, "pacs"))}, {"tls": files(authority, "node")}


def files(authority, name):
    return TLSFiles.model_validate(authority.settings(authority.issue(name)).model_dump(exclude={"incoming"}))


def associations():
    """How many threads of associations there are."""
    return sum(isinstance(one, Association | DULServiceProvider) for one in threading.enumerate())


@contextmanager
def growth():
    """Watch the memory of this process; the list's last is by how many megabytes it grew at most."""
    process, stop, peaks = psutil.Process(), threading.Event(), [0.0]
    before = process.memory_info().rss

    def watch():
        while not stop.wait(0.01):
            peaks.append(max(peaks[-1], (process.memory_info().rss - before) / 1e6))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        stop.set()
        thread.join()


# Stock pynetdicom


@contextmanager
def sending_as_pynetdicom_does(archive, timeout_s=TIMEOUT_S, *, size=8):
    """Send an object over an association as pynetdicom makes it, in a thread, with all of its time-outs set."""
    ae = AE(ae_title="NODE")
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = timeout_s
    ae.add_requested_context(Verification)
    ae.add_requested_context(SecondaryCaptureImageStorage, ExplicitVRLittleEndian)
    ds = build_sc(phantom(size, size))

    def send():
        assoc = ae.associate("127.0.0.1", archive.port, ae_title="ARCHIVE")
        if assoc.is_established:
            assoc.send_c_store(ds)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield thread
    finally:
        archive.stop()
        thread.join()
        assert ends_soon(associations)


@pytest.mark.fault(3, 4, 62)
@pytest.mark.parametrize("script", [*STALLS, *DRIPS])
def test_stock_pynetdicom_waits_for_the_rest_of_a_pdu(rogue, script):
    """The negative control: with all time-outs set, the call holds on five times as long, and longer."""
    with sending_as_pynetdicom_does(rogue(script)) as sending:
        sending.join(5 * TIMEOUT_S)
        assert sending.is_alive()


@pytest.mark.fault(5, 62)
@pytest.mark.parametrize("script", FLOODS)
def test_stock_pynetdicom_takes_whatever_comes(rogue, script):
    """The negative control: memory grows with every byte that is sent."""
    with growth() as grown, sending_as_pynetdicom_does(rogue(script), 30):
        assert ends_soon(lambda: grown[-1] < 150, 30)


# The node


@pytest.mark.fault(3, 4, 62)
@pytest.mark.parametrize("script", [*STALLS, *DRIPS])
def test_an_archive_that_does_not_finish_a_pdu_is_left_at_the_time_out_and_tried_again(
    rogue, archive, bench, tls, script
):
    """Silent or dripping inside the A-ASSOCIATE-AC or a C-STORE-RSP: left at the time-out, tried again, and it is said.

    Neither thread nor connection of such a try is left.
    """
    its_options, own_options = tls
    one_archive = rogue(script, **its_options)
    one = bench(one_archive.port, response_timeout_s=TIMEOUT_S, **UNPROVEN, **own_options)
    began = time.monotonic()
    now = one.attempt()
    assert time.monotonic() - began < TIMEOUT_S + A_WHILE_S
    assert (now.pending, now.sent, now.parked) == (2, 0, 0)
    assert "left a PDU incomplete" in now.detail
    assert ends_soon(associations)
    assert ends_soon(lambda: not one_archive.left)
    one.destination = one.destination.model_copy(update={"port": archive().port, "tls": None, "response_timeout_s": 20})
    assert one.attempt().sent == 2


@pytest.mark.fault(5, 6, 62)
@pytest.mark.parametrize("script", FLOODS)
def test_an_archive_that_floods_is_left_at_once_and_costs_no_memory(rogue, bench, tls, script):
    """A header that claims 4 GB, a response without end: aborted long before the time-out, memory flat, tried again."""
    its_options, own_options = tls
    one = bench(rogue(script, **its_options).port, response_timeout_s=60, **UNPROVEN, **own_options)
    began = time.monotonic()
    with growth() as grown:
        now = one.attempt()
    assert time.monotonic() - began < 30
    assert grown[-1] < 100
    assert (now.pending, now.sent, now.parked) == (2, 0, 0)
    assert f"of {FOUR_GIGABYTES} bytes" in now.detail or "a message without end" in now.detail
    assert ends_soon(associations)


@pytest.mark.fault(21, 62)
@pytest.mark.parametrize("hello", [b"", b"\x16\x03\x03\x40\x00" + bytes(200)])
def test_an_archive_that_does_not_finish_its_tls_handshake_is_left_at_the_time_out(rogue, bench, tmp_path, hello):
    """Silent, or a byte now and then, in the TLS handshake: left at the connection time-out, tried again."""
    node = files(Authority(tmp_path / "tls"), "node")
    one_archive = rogue(lambda caller: caller.drip(hello, TIMEOUT_S / 4))
    one = bench(one_archive.port, connection_timeout_s=TIMEOUT_S, response_timeout_s=60, **UNPROVEN, tls=node)
    began = time.monotonic()
    now = one.attempt()
    assert time.monotonic() - began < TIMEOUT_S + A_WHILE_S
    assert now.pending == 2
    assert "did not complete the TLS handshake in time" in now.detail
    assert ends_soon(associations)
    assert ends_soon(lambda: not one_archive.left)


@pytest.mark.fault(21, 62)
def test_stock_pynetdicom_waits_for_the_handshake(rogue):
    """The negative control: with its own connection time-out, which is none, it waits without end."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    archive = rogue(lambda _caller: None)
    ae = AE(ae_title="NODE")
    ae.acse_timeout = ae.network_timeout = TIMEOUT_S
    arguments = {"contexts": [build_context(Verification)], "tls_args": (context, "127.0.0.1")}
    asking = threading.Thread(target=ae.associate, args=("127.0.0.1", archive.port), kwargs=arguments, daemon=True)
    asking.start()
    asking.join(5 * TIMEOUT_S)
    assert asking.is_alive()
    archive.stop()
    asking.join(10)


def send_large(port, folder):
    """Send an object that no socket buffer holds."""
    ds = build_sc(phantom(2500, 2500))
    path = write_part10(ds, folder / "large.dcm")
    file = ResultFile(sop_instance_uid=ds.SOPInstanceUID, sop_class_uid=ds.SOPClassUID, path=path)
    destination = Archive(name="archive", ae_title="ARCHIVE", host="127.0.0.1", port=port, response_timeout_s=TIMEOUT_S)
    return send_results(destination, "NODE", [file])[0]


@pytest.mark.fault(62)
def test_an_archive_that_stops_taking_what_it_is_sent_is_left(rogue, tmp_path):
    """An archive that reads nothing of a large object: left at the time-out, tried again."""
    one_archive = rogue(take_nothing)
    began = time.monotonic()
    delivery = send_large(one_archive.port, tmp_path)
    assert time.monotonic() - began < TIMEOUT_S + 2 * A_WHILE_S
    assert delivery.state is DeliveryState.PENDING
    assert ends_soon(associations)


@pytest.mark.fault(62)
def test_stock_pynetdicom_waits_for_room(rogue):
    """The negative control: it holds on to an archive that reads nothing."""
    with sending_as_pynetdicom_does(rogue(take_nothing), size=2500) as sending:
        sending.join(8 * TIMEOUT_S)
        assert sending.is_alive()


def drip_objects(encode_one):
    """Answer a C-MOVE with objects, or with answers about such, one after the other."""

    def act(node):
        node.accept()
        node.read_message()
        while not node.is_over:
            node.socket.sendall(encode_one())
            time.sleep(TIMEOUT_S / 4)

    return act


def encode_store_request():
    request = command(1, data_set=True, e0002=even(CR), e0700=b"\0\0", e1000=even("1.2.3"))
    return data_pdu(request) + data_pdu(struct.pack("<HHI", 8, 5, 0), control=LAST)


@pytest.mark.fault(60, 62)
@pytest.mark.parametrize("encode_one", [encode_store_request, lambda: store_response(CR)])
def test_an_archive_that_answers_a_move_with_objects_on_the_same_association_is_left(rogue, encode_one):
    """C-STORE after C-STORE where the answer to a C-MOVE is due, each in time: aborted, and the fetch has failed."""
    settings = Archive(name="a", ae_title="A", host="127.0.0.1", port=rogue(drip_objects(encode_one)).port)
    troubles = []

    def fetch():
        with open_session(settings, "NODE") as session:
            try:
                session.move_series("1.2.3", "1.2.3.4")
            except QueryError as error:
                troubles.append(str(error))

    fetching = threading.Thread(target=fetch, daemon=True)
    fetching.start()
    fetching.join(3 * A_WHILE_S)
    assert [trouble.endswith("sent a message that makes no sense") for trouble in troubles] == [True]
    assert ends_soon(associations)


class ClearsWhenAllIsOver(threading.Event):
    """The checkpoint of a reactor: who stops the reactor, because an object is encoded and can go, comes too late."""

    def __init__(self, assoc):
        super().__init__()
        self.set()
        self._assoc = assoc
        self.about_to_clear = threading.Event()

    def clear(self):
        self.about_to_clear.set()
        self._assoc.join(A_WHILE_S)
        super().clear()


def encode_report():
    return command(0x0100, data_set=False, e0002=even(PUSH_MODEL), e1000=even(PUSH_MODEL_INSTANCE), e1002=b"\1\0")


def report_out_of_place(may_report):
    """Report on a presentation context that was not accepted, once that may be done."""

    def act(node):
        node.accept()
        may_report.wait(A_WHILE_S)
        report = command(0x0100, data_set=False, e0002=even(PUSH_MODEL), e1000=even(PUSH_MODEL_INSTANCE), e1002=b"\1\0")
        node.socket.sendall(data_pdu(report, context=99))

    return act


@pytest.mark.fault(62)
def test_a_report_that_ends_the_association_while_an_object_is_encoded_does_not_hold_the_next_send_up(rogue):
    """A report on a wrong context, while an object is encoded: aborted, and the send comes back without an answer."""
    may_report, answers = threading.Event(), []
    port = rogue(report_out_of_place(may_report)).port
    settings = Archive(name="a", ae_title="A", host="127.0.0.1", port=port, response_timeout_s=TIMEOUT_S)
    with request_association(settings, "NODE", [build_context(Verification)]) as assoc:
        checkpoint = assoc._reactor_checkpoint = ClearsWhenAllIsOver(assoc)  # noqa: SLF001  # the race is in there
        sending = threading.Thread(target=lambda: answers.append(assoc.send_c_echo()), daemon=True)
        sending.start()
        assert checkpoint.about_to_clear.wait(A_WHILE_S)
        may_report.set()
        sending.join(3 * A_WHILE_S)
        assert [len(answer) for answer in answers] == [0]
    assert ends_soon(associations)


def flood_with_matches(node):
    node.accept()
    response = command(0x8020, data_set=False, e0110=None, e0120=struct.pack("<H", 1), e0900=struct.pack("<H", 0xFF00))
    node.flood(data_pdu(response, control=COMMAND | LAST), 20_000)


@pytest.mark.fault(10, 62)
def test_responses_that_nobody_has_looked_at_are_not_heaped_up(rogue):
    """More responses than are looked at: they are not read, and the association can be ended."""
    settings = Archive(name="a", ae_title="A", host="127.0.0.1", port=rogue(flood_with_matches).port)
    with request_association(settings, "NODE", [build_context(Verification)]) as assoc:
        time.sleep(1)
        assert 0 < assoc.dimse.msg_queue.qsize() < 100
        assoc.abort()
    assert ends_soon(associations)


def flood_with_reports(node):
    node.accept()
    node.read_message()
    node.flood(data_pdu(encode_report(), context=1), 3_000)


def count_threads_up_to(most):
    """Wait until so many threads are started, or a while; tell how many there were at most beyond those before."""
    before, seen, end = threading.active_count(), 0, time.monotonic() + A_WHILE_S
    while seen < most and time.monotonic() < end:
        seen = max(seen, threading.active_count() - before)
        time.sleep(0.01)
    return seen


@pytest.mark.fault(10, 62)
def test_reports_that_nobody_has_answered_are_not_heaped_up(rogue):
    """Reports without end beside a database that is slow: they are not read, where each is a thread."""
    settings = Archive(name="a", ae_title="A", host="127.0.0.1", port=rogue(flood_with_reports).port)
    go_on = threading.Event()

    def take(_report):
        return go_on.wait(30)

    with request_association(settings, "NODE", [build_context(PUSH_MODEL)]) as assoc:
        asking = threading.Thread(target=request_commitment, args=(assoc, "1.2.3", [], take))
        asking.start()
        assert 30 < count_threads_up_to(500) < 100
        go_on.set()
        assoc.abort()
        asking.join()
    assert ends_soon(associations)


@pytest.mark.fault(10, 62)
def test_stock_pynetdicom_heaps_them_up(rogue):
    """The negative control: every response is read, whether it is looked at or not."""
    ae = AE(ae_title="NODE")
    assoc = ae.associate("127.0.0.1", rogue(flood_with_matches).port, contexts=[build_context(Verification)])
    assert assoc.is_established
    assoc._reactor_checkpoint.clear()  # noqa: SLF001 - as while a method of it waits for a response
    deadline = time.monotonic() + 30
    while assoc.dimse.msg_queue.qsize() < 500 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert assoc.dimse.msg_queue.qsize() >= 500
    assoc.abort()


@pytest.mark.fault(62)
@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.replace(b"\x40\0\0", b"\x41\0\0"),
        lambda body: body.replace(b"\x21\0\0", b"\x21\0\xff"),
        lambda body: body[:74],
    ],
)
def test_an_acceptance_that_makes_no_sense_is_an_association_error(rogue, change):
    """No transfer syntax, an item longer than its PDU, no context: an association error, and nothing is left."""

    def accept_strangely(node):
        body = node.build_acceptance()[6:]
        assert change(body) != body
        node.socket.sendall(pdu(ASSOCIATE_AC, change(body)))

    settings = Archive(name="a", ae_title="A", host="127.0.0.1", port=rogue(accept_strangely).port)
    with pytest.raises(AssociationError), open_session(settings, "NODE"):
        pass
    assert ends_soon(associations)


# The wall clock


def answer_echoes(node):
    node.accept()
    response = command(0x8030, data_set=False, e0110=None, e0120=struct.pack("<H", 1), e0900=b"\0\0")
    while True:
        kind, _ = node.read()
        node.socket.sendall(data_pdu(response, context=1) if kind == P_DATA else pdu(RELEASE_RP, bytes(4)))


def is_over_soon(assoc):
    return ends_soon(lambda: assoc.is_established, 5)


@pytest.mark.fault(24)
@pytest.mark.parametrize("step_s", [3600, -3600])
def test_a_step_of_the_clock_neither_ends_a_requested_association_nor_keeps_it(rogue, monkeypatch, step_s):
    """An hour forward ends no association that waits for a report; an hour back keeps none past its time-out."""
    port, clock = rogue(answer_echoes).port, time.time
    settings = Archive(name="a", ae_title="A", host="127.0.0.1", port=port, response_timeout_s=3)
    with request_association(settings, "NODE", [build_context(Verification)]) as assoc:
        monkeypatch.setattr(time, "time", lambda: clock() + step_s)
        time.sleep(0.5)
        assert assoc.send_c_echo().Status == 0x0000
        assert is_over_soon(assoc)


@pytest.mark.fault(24)
@pytest.mark.parametrize("step_s", [3600, -3600])
def test_a_step_of_the_clock_ends_or_keeps_a_requested_association_of_stock_pynetdicom(rogue, monkeypatch, step_s):
    """The negative control: an hour forward ends it at once, an hour back keeps it past its time-out."""
    ae, port = AE(ae_title="NODE"), rogue(answer_echoes).port
    ae.network_timeout = 3 if step_s < 0 else 60
    assoc = ae.associate("127.0.0.1", port, contexts=[build_context(Verification)])
    assert assoc.is_established
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + step_s)
    assert is_over_soon(assoc) is (step_s > 0)
    assoc.abort()
