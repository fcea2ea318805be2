"""PDUs that no peer may send (PS3.8 9.2)."""

import contextlib
import struct
import time
from collections.abc import Callable

import psutil
import pytest
from pynetdicom.transport import ThreadedAssociationServer
from raw_peer import (
    ABORT,
    ASSOCIATE_RQ,
    COMMAND,
    IMPLICIT,
    LAST,
    P_DATA,
    VERIFICATION,
    RawPeer,
    item,
    store_command,
)
from receiving import arriving, echoes, ends_soon, kept_files, port_of

from dicom_node.receive.storage_scp import Receiver


@pytest.mark.fault(5)
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


@pytest.mark.fault(5)
def test_stock_pynetdicom_reads_on(stock: ThreadedAssociationServer) -> None:
    before = psutil.Process().memory_info().rss
    with RawPeer(port_of(stock)) as peer:
        peer.send(ASSOCIATE_RQ, b"", length=0xFFFFFFF0)
        for _ in range(60):
            peer.socket.sendall(bytes(1_000_000))
        time.sleep(0.3)
        assert psutil.Process().memory_info().rss - before > 30_000_000


@pytest.mark.fault(6)
def test_a_data_pdu_longer_than_agreed_is_refused_and_nothing_is_kept(receiver: Receiver) -> None:
    with RawPeer(receiver.port).associate() as peer:
        peer.send_values((1, COMMAND | LAST, store_command()))
        with contextlib.suppress(ConnectionError):
            peer.send_values((1, LAST, bytes(5_000_000)))
        peer.wait_for_end(2)
    assert ends_soon(lambda: len(receiver.connections))
    assert kept_files(receiver) == arriving(receiver) == []


@pytest.mark.fault(6)
def test_stock_pynetdicom_takes_a_data_pdu_of_any_length(stock: ThreadedAssociationServer) -> None:
    stock.ae.network_timeout = 30
    with RawPeer(port_of(stock)).associate() as peer:
        peer.send_values((1, COMMAND | LAST, store_command()))
        peer.send_values((1, LAST, bytes(5_000_000)))
        assert 0x0900 in peer.read_response()


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
