"""PDUs that no peer may send (PS3.8 9.2)."""

import contextlib
import struct
from collections.abc import Callable

import psutil
import pytest
from builders import build_dx
from pynetdicom import evt
from pynetdicom.transport import ThreadedAssociationServer
from raw_peer import (
    ABORT,
    ASSOCIATE_RQ,
    COMMAND,
    DX,
    IMPLICIT,
    LAST,
    P_DATA,
    VERIFICATION,
    RawPeer,
    item,
    status_of,
    store_command,
)
from receiving import arriving, echoes, encode, ends_soon, kept_files, port_of, unread

from dicom_node.receive.storage_scp import Receiver
from dicom_node.receive.upper_layer import UpperLayer
from dicom_node.settings import ReceiveSettings

MEGABYTE = bytes(1_000_000)


@pytest.mark.fault(5)
@pytest.mark.parametrize("established", [False, True])
def test_a_pdu_that_claims_four_gigabytes_is_refused_at_its_header(receiver: Receiver, established: bool) -> None:
    with RawPeer(receiver.port) as peer:
        if established:
            peer.associate()
        before = psutil.Process().memory_info().rss
        peer.send(P_DATA if established else ASSOCIATE_RQ, b"", length=0xFFFFFFF0)
        with contextlib.suppress(ConnectionError):
            for _ in range(60):
                peer.socket.sendall(MEGABYTE)
        kind, body = peer.read()
        assert kind == ABORT
        assert peer.wait_for_end()
        assert psutil.Process().memory_info().rss - before < 10_000_000
    if established:
        assert tuple(body[2:]) == (2, 6)


@pytest.mark.fault(5)
def test_stock_pynetdicom_reads_on(stock: ThreadedAssociationServer) -> None:
    """The negative control: it goes on to wait for all four gigabytes."""
    with RawPeer(port_of(stock)) as peer:
        peer.send(ASSOCIATE_RQ, b"", length=0xFFFFFFF0)
        for _ in range(60):
            peer.socket.sendall(MEGABYTE)
        assert ends_soon(lambda: unread(peer, stock.active_associations[0]), within_s=30)


def stream(peer: RawPeer, content: bytes) -> None:
    """Send a data set as one P-DATA-TF PDU, without copying it."""
    length = len(content) + 6
    with contextlib.suppress(ConnectionError):
        peer.send(P_DATA, struct.pack(">IBB", length - 4, 1, LAST), length=length)
        peer.socket.sendall(content)


@pytest.mark.fault(6)
def test_an_object_in_a_data_pdu_longer_than_agreed_is_aborted_and_nothing_is_kept(receiver: Receiver) -> None:
    """50 MB, a valid object: what is refused is the PDU, and its bytes are not kept in memory either."""
    ds = build_dx(PixelData=bytes(50_000_000), Rows=5000, Columns=5000)
    whole = encode(ds)
    with RawPeer(receiver.port).associate() as peer:
        peer.send_values((1, COMMAND | LAST, store_command(DX, ds.SOPInstanceUID)))
        before = psutil.Process().memory_info().rss
        stream(peer, whole)
        kind, body = peer.read()
        assert (kind, *body[2:]) == (ABORT, 2, 6)
        assert psutil.Process().memory_info().rss - before < 10_000_000
        assert peer.wait_for_end()
    assert ends_soon(lambda: len(receiver.connections))
    assert kept_files(receiver) == arriving(receiver) == []


@pytest.mark.fault(6)
@pytest.mark.parametrize("is_checked", [True, False])
def test_a_data_pdu_longer_than_agreed_is_refused_at_its_header(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, is_checked: bool
) -> None:
    """One byte more than is read is answered before any of it has come; without the check nothing is said."""
    if not is_checked:
        monkeypatch.setattr(UpperLayer, "_longest", lambda *_: 1 << 32)
    longest = ReceiveSettings().maximum_pdu_bytes + 1024
    with RawPeer(receiver.port).associate() as peer:
        peer.send(P_DATA, b"", length=longest + 1)
        if is_checked:
            kind, body = peer.read()
            assert (kind, *body[2:]) == (ABORT, 2, 6)
        else:
            assert not peer.wait_for_end(1)
    with RawPeer(receiver.port).associate() as peer:
        peer.send(P_DATA, b"", length=longest)
        assert not peer.wait_for_end(1)


@pytest.mark.fault(6)
def test_stock_pynetdicom_takes_a_data_pdu_of_any_length(stock: ThreadedAssociationServer) -> None:
    stock.ae.network_timeout = 30
    stock.bind(evt.EVT_C_STORE, lambda _: 0x0000)
    ds = build_dx(PixelData=bytes(5_000_000), Rows=2500, Columns=1000)
    with RawPeer(port_of(stock)).associate() as peer:
        peer.send_values((1, COMMAND | LAST, store_command(DX, ds.SOPInstanceUID)))
        stream(peer, encode(ds))
        assert status_of(peer.read_response()) == 0x0000


@pytest.mark.fault(7, 8)
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
