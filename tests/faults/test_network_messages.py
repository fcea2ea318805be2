"""Messages in fragments: what may be sent in pieces, and what ends the association (PS3.7, PS3.8 annex E)."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
from builders import build_dx
from pynetdicom import evt
from pynetdicom.transport import ThreadedAssociationServer
from raw_peer import (
    ABORT,
    COMMAND,
    DX,
    LAST,
    RawPeer,
    command,
    even,
    status_of,
    store_command,
)
from receiving import (
    arriving,
    data_set_of,
    echoes,
    encode,
    ends_soon,
    kept_files,
    port_of,
    unread,
)

from dicom_node.receive.reception import Reception
from dicom_node.receive.status import StoreStatus
from dicom_node.receive.storage_scp import Receiver

StartReceiver = Callable[..., Receiver]


@pytest.mark.fault(9)
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


@pytest.mark.fault(9)
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


@pytest.mark.fault(10)
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


@contextlib.contextmanager
def pouring(port: int) -> Iterator[tuple[RawPeer, int]]:
    """Send 40 objects of a megabyte, without reading answers, until nothing more is taken for two seconds.

    Yields the peer and how many bytes were taken, by the server or by the kernel in between.
    """
    data_set, sent = encode(build_dx(PixelData=bytes(1_000_000), Rows=1000, Columns=500)), 0
    with RawPeer(port, timeout_s=2).associate() as peer:
        with contextlib.suppress(TimeoutError):
            for _ in range(40):
                peer.send_values((1, COMMAND | LAST, store_command()))
                peer.send_data_set(data_set)
                sent += len(data_set)
        yield peer, sent


@pytest.mark.fault(10)
def test_while_an_answer_is_due_nothing_more_is_read(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow disk, and requests that do not wait for it: they stay with the sender, beyond what the kernel holds."""
    disk, finish = threading.Event(), Reception.finish
    monkeypatch.setattr(Reception, "finish", lambda self: disk.wait(60) and finish(self))
    try:
        with pouring(receiver.port) as (peer, sent):
            assert sent < 25_000_000
            time.sleep(3)  # as long as the kernel may take to hand over what it holds
            (association,) = receiver.connections
            assert sent - unread(peer, association) < 5_000_000
    finally:
        disk.set()


@pytest.mark.fault(10)
def test_stock_pynetdicom_reads_on_while_an_answer_is_due(stock: ThreadedAssociationServer) -> None:
    """The negative control: it takes all 40 MB."""
    disk = threading.Event()
    stock.ae.network_timeout = stock.ae.dimse_timeout = 60
    stock.bind(evt.EVT_C_STORE, lambda _: 0x0000 if disk.wait(60) else 0xA700)
    try:
        with pouring(port_of(stock)) as (peer, sent):
            assert sent > 40_000_000
            assert ends_soon(lambda: unread(peer, stock.active_associations[0]), within_s=30)
    finally:
        disk.set()


@pytest.mark.fault(23)
@pytest.mark.parametrize("piece", [1, 7, 1000, 16000, 130_000])
def test_the_size_of_the_pieces_does_not_change_the_bytes(receiver: Receiver, piece: int) -> None:
    ds = build_dx(PixelData=bytes(range(256)) * 8, Rows=32, Columns=32)
    sent = encode(ds)
    with RawPeer(receiver.port).associate() as peer:
        request = store_command(DX, ds.SOPInstanceUID)
        for part in (request[:10], request[10:11]):
            peer.send_values((1, COMMAND, part))
        peer.send_values((1, COMMAND | LAST, request[11:]))
        peer.send_data_set(sent, piece=piece)
        assert status_of(peer.read_response()) == StoreStatus.SUCCESS
    assert data_set_of(kept_files(receiver)[0]) == sent


@pytest.mark.fault(23)
def test_command_and_data_set_may_come_in_one_pdu(receiver: Receiver) -> None:
    ds = build_dx(PixelData=bytes(2048), Rows=32, Columns=32)
    sent = encode(ds)
    with RawPeer(receiver.port).associate() as peer:
        command = store_command(DX, ds.SOPInstanceUID)
        peer.send_values((1, COMMAND | LAST, command), (1, 0, sent[:100]), (1, LAST, sent[100:]))
        assert status_of(peer.read_response()) == StoreStatus.SUCCESS
    assert data_set_of(kept_files(receiver)[0]) == sent


@pytest.mark.fault(22)
@pytest.mark.parametrize("maximum_length", [0, 64, 4096, 16_384, 131_072, 1 << 20])
def test_answers_fit_the_longest_pdu_that_the_peer_takes(receiver: Receiver, maximum_length: int) -> None:
    ds = build_dx()
    with RawPeer(receiver.port).associate(maximum_length=maximum_length) as peer:
        response = peer.store(encode(ds), sop_instance=ds.SOPInstanceUID)
        assert response[0x1000].rstrip(b"\0").decode() == ds.SOPInstanceUID
        assert status_of(response) == StoreStatus.SUCCESS
    assert data_set_of(kept_files(receiver)[0]) == encode(ds)


@pytest.mark.fault(4)
def test_a_message_that_drips_in_whole_pdus_is_aborted_and_a_slow_one_is_not(start: StartReceiver) -> None:
    """Fragments of ten bytes now and then do not hold an association; 20 kB/s, longer than the time-out, is taken."""
    receiver = start(dimse_timeout_s=1)
    ds = build_dx(PixelData=bytes(20_000), Rows=100, Columns=100)
    sent = encode(ds)
    with RawPeer(receiver.port, timeout_s=30).associate() as peer:
        peer.send_values((1, COMMAND | LAST, store_command(DX, ds.SOPInstanceUID)))
        for start_at in range(0, 40_000, 2000):
            peer.send_values((1, LAST if start_at == 38_000 else 0, sent[start_at : start_at + 2000]))
            time.sleep(0.1)
        assert status_of(peer.read_response()) == 0
        peer.send_values((1, COMMAND | LAST, store_command(DX, ds.SOPInstanceUID)))
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - started < 20:
                peer.send_values((1, 0, sent[:10]))
                time.sleep(0.1)
        assert 0.9 < time.monotonic() - started < 20
        assert peer.wait_for_end(5)
    assert ends_soon(lambda: len(receiver.connections))
    assert arriving(receiver) == []
