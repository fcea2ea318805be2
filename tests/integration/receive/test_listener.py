"""A listener that is safe to leave open. Where it is cheap, stock pynetdicom is shown to fail the same test."""

import contextlib
import ipaddress
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from builders import build_dx
from pynetdicom import AE
from pynetdicom.sop_class import DigitalXRayImageStorageForPresentation, Verification
from pynetdicom.transport import ThreadedAssociationServer
from raw_peer import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    COMMAND,
    DX,
    IMPLICIT,
    LAST,
    P_DATA,
    RELEASE_RP,
    VERIFICATION,
    RawPeer,
    command,
    echo_command,
    even,
    item,
    status_of,
    store_command,
)
from receiving import arriving, encode, kept_files

from dicom_node.receive.storage_scp import Receiver
from dicom_node.settings import Sender

StartReceiver = Callable[..., Receiver]


@pytest.fixture
def stock() -> Iterator[ThreadedAssociationServer]:
    """An SCP of pynetdicom as it comes, with short time-outs: the negative control."""
    ae = AE("FRACTUREAI")
    for sop_class in (DigitalXRayImageStorageForPresentation, Verification):
        ae.add_supported_context(sop_class)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 0.5
    server = ae.start_server(("127.0.0.1", 0), block=False)
    yield server
    server.shutdown()


def port_of(server: Receiver | ThreadedAssociationServer) -> int:
    return server.port if isinstance(server, Receiver) else server.server_address[1]


def echoes(port: int) -> bool:
    """Tell whether a well-behaved peer is served now."""
    with RawPeer(port) as peer:
        if peer.request()[0] != ASSOCIATE_AC:
            return False
        peer.send_values((3, COMMAND | LAST, echo_command()))
        return status_of(peer.read_response()) == 0 and peer.release() == RELEASE_RP


def ends_soon(threads: Callable[[], int], within_s: float = 5) -> bool:
    deadline = time.monotonic() + within_s
    while threads() and time.monotonic() < deadline:
        time.sleep(0.05)
    return threads() == 0


@contextlib.contextmanager
def many(port: int, count: int) -> Iterator[list[RawPeer]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(RawPeer(port)) for _ in range(count)]


# Connections without an association


def test_silent_connections_refuse_nobody(receiver: Receiver) -> None:
    with many(receiver.port, 200):
        assert echoes(receiver.port)


def test_stock_pynetdicom_refuses_senders_beside_silent_connections(stock: ThreadedAssociationServer) -> None:
    stock.ae.acse_timeout = 30
    with many(port_of(stock), 11):
        time.sleep(0.5)
        assert not echoes(port_of(stock))


def test_connections_that_say_nothing_are_closed(start: StartReceiver) -> None:
    receiver = start(acse_timeout_s=0.3)
    with many(receiver.port, 5) as peers:
        assert all(peer.wait_for_end(5) for peer in peers)
    assert ends_soon(lambda: len(receiver.connections))


def test_a_request_that_stops_after_one_byte_is_closed(start: StartReceiver) -> None:
    receiver = start(pdu_deadline_s=0.5, acse_timeout_s=1)
    with RawPeer(receiver.port) as peer:
        peer.socket.sendall(b"\1")
        assert peer.wait_for_end(5)


def test_stock_pynetdicom_waits_for_the_second_byte(stock: ThreadedAssociationServer) -> None:
    with RawPeer(port_of(stock)) as peer:
        peer.socket.sendall(b"\1")
        assert not peer.wait_for_end(2)


def test_a_pdu_that_drips_is_closed_at_its_deadline_not_after_its_last_byte(start: StartReceiver) -> None:
    receiver = start(pdu_deadline_s=1)
    with RawPeer(receiver.port).associate() as peer:
        started = time.monotonic()
        peer.send(P_DATA, b"", length=10_000)
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - started < 5:
                peer.socket.sendall(b"\0")
                time.sleep(0.1)
        assert peer.wait_for_end(1)
        assert 0.9 < time.monotonic() - started < 3
    assert ends_soon(lambda: len(receiver.connections))


# PDUs


@pytest.mark.parametrize("established", [False, True])
def test_a_pdu_that_claims_four_gigabytes_is_refused_at_its_header(receiver: Receiver, established: bool) -> None:
    with RawPeer(receiver.port) as peer:
        if established:
            peer.associate()
        peer.send(P_DATA if established else ASSOCIATE_RQ, b"", length=0xFFFFFFF0)
        kind, body = peer.read()
        assert kind == ABORT
        assert peer.wait_for_end(2)
    if established:
        assert tuple(body[2:]) == (2, 6)


def test_stock_pynetdicom_reads_on(stock: ThreadedAssociationServer) -> None:
    before = psutil.Process().memory_info().rss
    with RawPeer(port_of(stock)) as peer:
        peer.send(ASSOCIATE_RQ, b"", length=0xFFFFFFF0)
        for _ in range(60):
            peer.socket.sendall(bytes(1_000_000))
        time.sleep(0.3)
        assert psutil.Process().memory_info().rss - before > 30_000_000


def test_a_data_pdu_longer_than_agreed_is_refused_and_nothing_is_kept(receiver: Receiver) -> None:
    with RawPeer(receiver.port).associate() as peer:
        peer.send_values((1, COMMAND | LAST, store_command()))
        with contextlib.suppress(ConnectionError):
            peer.send_values((1, LAST, bytes(5_000_000)))
        peer.wait_for_end(2)
    assert ends_soon(lambda: len(receiver.connections))
    assert kept_files(receiver) == arriving(receiver) == []


def test_unknown_and_unexpected_pdus_are_answered_with_their_abort(receiver: Receiver) -> None:
    with RawPeer(receiver.port).associate() as peer:
        peer.send(9, b"")
        kind, body = peer.read()
        assert (kind, *body[2:]) == (ABORT, 2, 1)
    with RawPeer(receiver.port).associate() as peer:
        kind, body = peer.request()
        assert (kind, *body[2:]) == (ABORT, 2, 2)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("an even context ID", lambda body: body.replace(b"\x20\0\0\x2e\1", b"\x20\0\0\x2e\2")),
        ("a context without transfer syntaxes", lambda body: body.replace(b"\x40\0", b"\x41\0")),
        ("an item longer than its PDU", lambda body: body.replace(b"\x30\0\0", b"\x30\0\xff")),
    ],
)
def test_requests_that_pynetdicom_would_stumble_over_are_aborted(
    receiver: Receiver, what: str, change: Callable[[bytes], bytes]
) -> None:
    body = struct.pack(">HH16s16s32x", 1, 0, b"FRACTUREAI".ljust(16), b"ORTHANC".ljust(16))
    body += item(0x10, b"1.2.840.10008.3.1.1.1")
    body += item(0x20, b"\1\0\0\0" + item(0x30, VERIFICATION.encode()) + item(0x40, IMPLICIT.encode()))
    body += item(0x50, item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3.4"))
    assert change(body) != body
    with RawPeer(receiver.port, timeout_s=5) as peer:
        peer.send(ASSOCIATE_RQ, change(body))
        assert peer.read()[0] == ABORT, what
    assert ends_soon(lambda: len(receiver.connections))
    assert echoes(receiver.port)


def test_an_abort_with_a_source_that_there_is_not_ends_the_association(receiver: Receiver) -> None:
    with RawPeer(receiver.port).associate() as peer:
        peer.send(ABORT, b"\0\0\x2e\0")
        assert peer.wait_for_end(3)
    assert ends_soon(lambda: len(receiver.connections))


@pytest.mark.parametrize("length", [0, 1, 100, 0xFFFFFFFF])
def test_presentation_data_values_that_do_not_fit_their_pdu_end_the_association(
    receiver: Receiver, length: int
) -> None:
    with RawPeer(receiver.port).associate() as peer:
        peer.send(P_DATA, struct.pack(">IBB", length, 1, 3) + b"abc")
        assert peer.read()[0] == ABORT


# Messages


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("a data set before a command", (1, LAST, b"abc")),
        ("a context that was not accepted", (77, COMMAND | LAST, store_command())),
        ("no instance UID", (1, COMMAND | LAST, store_command(DX, None))),
        ("an empty instance UID", (1, COMMAND | LAST, store_command(DX, ""))),
        ("no command at all", (1, COMMAND | LAST, b"")),
        ("a command that is cut off", (1, COMMAND | LAST, store_command()[:-3])),
        ("a command of another group", (1, COMMAND | LAST, b"\x08\0\0\0\4\0\0\0\0\0\0\0")),
        ("a C-FIND", (1, COMMAND | LAST, command(0x20, data_set=True, e0002=even(DX)))),
    ],
)
def test_what_is_no_message_is_aborted_never_ignored(
    receiver: Receiver, what: str, value: tuple[int, int, bytes]
) -> None:
    with RawPeer(receiver.port, timeout_s=5).associate() as peer:
        peer.send_values(value)
        assert peer.read()[0] == ABORT, what
    assert echoes(receiver.port)


def test_stock_pynetdicom_does_not_answer_a_store_without_instance_uid(stock: ThreadedAssociationServer) -> None:
    stock.ae.network_timeout = 10
    with RawPeer(port_of(stock)).associate() as peer:
        peer.send_values((1, COMMAND | LAST, store_command(DX, None)))
        peer.send_data_set(encode(build_dx()))
        peer.socket.settimeout(2)
        with pytest.raises(TimeoutError):
            peer.read()


def test_a_command_set_without_end_is_aborted(receiver: Receiver) -> None:
    with RawPeer(receiver.port).associate() as peer:
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                peer.send_values((1, COMMAND, bytes(16_000)))
        assert peer.wait_for_end(2)
    assert ends_soon(lambda: len(receiver.connections))


def test_requests_without_waiting_are_answered_in_turn_and_read_only_when_they_are_due(receiver: Receiver) -> None:
    objects = [build_dx() for _ in range(40)]
    content = [encode(ds) for ds in objects]
    before = psutil.Process().memory_info().rss
    with RawPeer(receiver.port, timeout_s=60).associate() as peer:

        def pour() -> None:
            for ds, data_set in zip(objects, content, strict=True):
                peer.send_values((1, COMMAND | LAST, store_command(DX, ds.SOPInstanceUID)))
                peer.send_data_set(data_set, piece=100_000)

        pouring = threading.Thread(target=pour)
        pouring.start()
        responses = [peer.read_response() for _ in objects]
        pouring.join()
    assert [response[0x1000].rstrip(b"\0").decode() for response in responses] == [ds.SOPInstanceUID for ds in objects]
    assert {status_of(response) for response in responses} == {0}
    # 16 MB were sent; what arrives goes to disk as it comes.
    assert psutil.Process().memory_info().rss - before < 12_000_000


# Ends


@pytest.mark.parametrize("end", ["close", "reset", "abort", "release"])
def test_an_object_that_is_not_finished_leaves_nothing(receiver: Receiver, end: str) -> None:
    ds = build_dx()
    with RawPeer(receiver.port).associate() as peer:
        peer.send_values((1, COMMAND | LAST, store_command(DX, ds.SOPInstanceUID)))
        peer.send_values((1, 0, encode(ds)[:10_000]))
        if end == "reset":
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif end == "abort":
            peer.send(ABORT, bytes(4))
        elif end == "release":
            assert peer.release() == RELEASE_RP
    assert ends_soon(lambda: len(receiver.connections))
    assert kept_files(receiver) == arriving(receiver) == []
    assert echoes(receiver.port)


def test_a_silent_association_ends_at_the_network_time_out(start: StartReceiver) -> None:
    receiver = start(network_timeout_s=0.5)
    with RawPeer(receiver.port).associate() as peer:
        assert peer.read()[0] == ABORT
    assert ends_soon(lambda: len(receiver.connections))


def test_stop_does_not_wait_for_a_peer_that_is_silent_inside_a_pdu(start: StartReceiver) -> None:
    receiver = start()
    with RawPeer(receiver.port).associate() as peer:
        peer.send(P_DATA, bytes(100), length=10_000)
        time.sleep(0.2)
        started = time.monotonic()
        receiver.stop(grace_s=0.5)
        assert time.monotonic() - started < 3
    assert receiver.connections == []


def test_stock_pynetdicom_cannot_end_an_association_that_is_silent_inside_a_pdu(
    stock: ThreadedAssociationServer,
) -> None:
    with RawPeer(port_of(stock)).associate() as peer:
        peer.send(P_DATA, bytes(100), length=10_000)
        time.sleep(0.2)
        stopping = threading.Thread(target=stock.active_associations[0].abort, daemon=True)
        stopping.start()
        stopping.join(2)
        assert stopping.is_alive()
    stopping.join(5)


def test_stop_lets_an_object_in_flight_finish(start: StartReceiver) -> None:
    receiver = start()
    ds = build_dx()
    sent = encode(ds)
    with RawPeer(receiver.port).associate() as peer:
        peer.send_values((1, COMMAND | LAST, store_command(DX, ds.SOPInstanceUID)))
        peer.send_values((1, 0, sent[:10_000]))
        stopping = threading.Thread(target=receiver.stop, args=(10,))
        stopping.start()
        time.sleep(1.5)
        peer.send_data_set(sent[10_000:])
        assert status_of(peer.read_response()) == 0
        stopping.join(10)
        assert not stopping.is_alive()
    assert len(list((receiver.archive.spool.folder / ds.StudyInstanceUID).iterdir())) == 1


def test_associations_leave_no_threads_and_no_descriptors(receiver: Receiver) -> None:
    process = psutil.Process()
    assert all(echoes(receiver.port) for _ in range(5))
    assert ends_soon(lambda: len(receiver.connections))
    threads, descriptors = process.num_threads(), process.num_fds()
    for number in range(60):
        with RawPeer(receiver.port) as peer:
            if number % 3:
                peer.associate()
            if number % 2:
                peer.socket.sendall(b"\4\0\0")
    assert ends_soon(lambda: len(receiver.connections))
    assert ends_soon(lambda: max(0, process.num_threads() - threads))
    assert process.num_fds() <= descriptors


# Who may send


@pytest.mark.parametrize(
    ("calling", "called", "rejection"),
    [("NOBODY", "FRACTUREAI", (1, 1, 3)), ("orthanc", "FRACTUREAI", (1, 1, 3)), ("ORTHANC", "OTHER", (1, 1, 7))],
)
def test_unknown_titles_are_rejected_with_their_reason(
    receiver: Receiver, calling: str, called: str, rejection: tuple[int, int, int]
) -> None:
    with RawPeer(receiver.port) as peer:
        kind, body = peer.request(calling=calling, called=called)
        assert (kind, *body[1:]) == (ASSOCIATE_RJ, *rejection)


def test_a_known_title_from_another_address_is_rejected_with_that_reason(start: StartReceiver) -> None:
    elsewhere = (ipaddress.ip_network("192.0.2.0/24"),)
    receiver = start(senders=(Sender(ae_title="ORTHANC", networks=elsewhere), Sender(ae_title="OTHER")))
    with RawPeer(receiver.port) as peer:
        kind, body = peer.request()
        assert (kind, *body[1:]) == (ASSOCIATE_RJ, 1, 1, 3)
    with RawPeer(receiver.port) as peer:
        assert peer.request(calling="OTHER")[0] == ASSOCIATE_AC


def test_where_no_sender_has_the_address_the_connection_closes_without_an_answer(start: StartReceiver) -> None:
    receiver = start(senders=(Sender(ae_title="ORTHANC", networks=(ipaddress.ip_network("192.0.2.0/24"),)),))
    with RawPeer(receiver.port) as peer:
        with contextlib.suppress(ConnectionError):
            assert peer.request() == (0, b"")
        assert peer.wait_for_end(1)


@pytest.mark.parametrize("limit", ["maximum_associations", "maximum_associations_per_address"])
def test_one_association_too_many_is_rejected_for_now_and_disturbs_no_other(start: StartReceiver, limit: str) -> None:
    receiver = start(**{limit: 2})
    with RawPeer(receiver.port).associate() as first, RawPeer(receiver.port).associate():
        with RawPeer(receiver.port) as third:
            kind, body = third.request()
            assert (kind, *body[1:]) == (ASSOCIATE_RJ, 2, 3, 2)
        first.send_values((3, COMMAND | LAST, echo_command()))
        assert status_of(first.read_response()) == 0
        assert first.release() == RELEASE_RP
        assert ends_soon(lambda: len(receiver.connections) - 1)
        assert echoes(receiver.port)


def test_sixty_simultaneous_connects_are_set_up_within_a_second(start: StartReceiver) -> None:
    receiver = start(maximum_associations=64, maximum_associations_per_address=64)
    together = threading.Barrier(60)
    peers, taken = [], []

    def connect() -> None:
        together.wait()
        started = time.monotonic()
        peers.append(RawPeer(receiver.port).associate())
        taken.append(time.monotonic() - started)

    threads = [threading.Thread(target=connect) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for peer in peers:
        peer.socket.close()
    assert len(taken) == 60
    assert max(taken) < 1


# TLS


@pytest.fixture
def ssl_context(tmp_path: Path) -> ssl.SSLContext:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            openssl,
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=127.0.0.1",
            "-days",
            "2",
            "-keyout",
            str(key),
            "-out",
            str(certificate),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def secured(peer: RawPeer) -> RawPeer:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    peer.socket = context.wrap_socket(peer.socket)
    return peer


def test_over_tls_objects_are_kept_as_sent(start: StartReceiver, ssl_context: ssl.SSLContext) -> None:
    receiver = start(ssl_context=ssl_context)
    ds = build_dx()
    with secured(RawPeer(receiver.port)).associate() as peer:
        assert status_of(peer.store(encode(ds), sop_instance=ds.SOPInstanceUID)) == 0
    assert len(kept_files(receiver)) == 1


def test_a_silent_client_on_a_tls_port_stops_nobody(start: StartReceiver, ssl_context: ssl.SSLContext) -> None:
    receiver = start(ssl_context=ssl_context)
    with RawPeer(receiver.port), RawPeer(receiver.port) as plain, secured(RawPeer(receiver.port)) as peer:
        assert peer.request()[0] == ASSOCIATE_AC
        plain.send(ASSOCIATE_RQ, bytes(200))
        assert plain.wait_for_end(3)


def test_stock_pynetdicom_accepts_nobody_beside_a_silent_client(ssl_context: ssl.SSLContext) -> None:
    ae = AE("FRACTUREAI")
    ae.add_supported_context(Verification)
    server = ae.start_server(("127.0.0.1", 0), block=False, ssl_context=ssl_context)
    with RawPeer(port_of(server)), RawPeer(port_of(server), timeout_s=2) as second, pytest.raises(TimeoutError):
        secured(second)
    server.shutdown()
