"""Connections that never become an association, and how many there may be."""

import contextlib
import time
from collections.abc import Callable

import psutil
import pytest
from pynetdicom.transport import ThreadedAssociationServer
from raw_peer import ASSOCIATE_AC, COMMAND, LAST, P_DATA, RawPeer, echo_command, status_of, store_command
from receiving import arriving, echoes, ends_soon, kept_files, many, port_of

from dicom_node.receive import listener
from dicom_node.receive.storage_scp import Receiver

StartReceiver = Callable[..., Receiver]


@pytest.mark.fault(1)
def test_silent_connections_refuse_nobody(receiver: Receiver) -> None:
    with many(receiver.port, 200):
        assert echoes(receiver.port)


@pytest.mark.fault(1)
def test_stock_pynetdicom_refuses_senders_beside_silent_connections(stock: ThreadedAssociationServer) -> None:
    stock.ae.acse_timeout = 30
    with many(port_of(stock), 11):
        time.sleep(0.5)
        assert not echoes(port_of(stock))


@pytest.mark.fault(1)
def test_connections_that_say_nothing_are_closed(start: StartReceiver) -> None:
    receiver = start(acse_timeout_s=0.3)
    with many(receiver.port, 5) as peers:
        assert all(peer.wait_for_end(5) for peer in peers)
    assert ends_soon(lambda: len(receiver.connections))


@pytest.mark.fault(1)
@pytest.mark.parametrize("is_capped", [True, False])
def test_an_address_has_64_connections_without_an_association_and_the_oldest_makes_room(
    start: StartReceiver, monkeypatch: pytest.MonkeyPatch, is_capped: bool
) -> None:
    """The 65th closes the first, not one of another address, nor an association; without the limit none is closed."""
    if not is_capped:
        monkeypatch.setattr(listener, "_WAITING_PER_ADDRESS", 10**9)
    receiver = start(acse_timeout_s=60)
    with (
        RawPeer(receiver.port).associate() as established,
        RawPeer(receiver.port, source="127.0.0.2") as elsewhere,
        RawPeer(receiver.port) as oldest,
    ):
        assert ends_soon(lambda: len(receiver.connections) - 3)
        with many(receiver.port, 63) as others:
            assert ends_soon(lambda: len(receiver.connections) - 66)
            assert not oldest.wait_for_end(0.5)
            with RawPeer(receiver.port) as newest:
                assert oldest.wait_for_end(5 if is_capped else 1) is is_capped
                assert not any(peer.wait_for_end(0.01) for peer in (*others, newest, elsewhere))
                established.send_values((3, COMMAND | LAST, echo_command()))
                assert status_of(established.read_response()) == 0
                assert newest.request()[0] == ASSOCIATE_AC


@pytest.mark.fault(2)
def test_a_request_that_stops_after_one_byte_is_closed(start: StartReceiver) -> None:
    receiver = start(pdu_deadline_s=0.5, acse_timeout_s=1)
    with RawPeer(receiver.port) as peer:
        peer.socket.sendall(b"\1")
        assert peer.wait_for_end(5)


@pytest.mark.fault(2)
def test_stock_pynetdicom_waits_for_the_second_byte(stock: ThreadedAssociationServer) -> None:
    with RawPeer(port_of(stock)) as peer:
        peer.socket.sendall(b"\1")
        assert not peer.wait_for_end(2)


@pytest.mark.fault(3)
def test_an_object_that_stops_inside_a_pdu_ends_at_the_deadline_and_leaves_no_file(start: StartReceiver) -> None:
    receiver = start(pdu_deadline_s=1)
    with RawPeer(receiver.port).associate() as peer:
        peer.send_values((1, COMMAND | LAST, store_command()))
        peer.send_values((1, 0, bytes(1000)))
        peer.send(P_DATA, bytes(100), length=10_000)
        assert peer.wait_for_end(20)
    assert ends_soon(lambda: len(receiver.connections))
    assert kept_files(receiver) == arriving(receiver) == []


@pytest.mark.fault(4)
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


@pytest.mark.fault(4)
def test_stock_pynetdicom_waits_for_the_last_byte_of_a_pdu_that_drips(stock: ThreadedAssociationServer) -> None:
    with RawPeer(port_of(stock)).associate() as peer:
        peer.send(P_DATA, b"", length=10_000)
        for _ in range(30):
            peer.socket.sendall(b"\0")
            time.sleep(0.1)
        assert not peer.wait_for_end(0.5)


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
