"""Associations that end in the middle of something."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import build_dx
from pynetdicom.transport import ThreadedAssociationServer
from raw_peer import (
    ABORT,
    COMMAND,
    DX,
    LAST,
    P_DATA,
    RELEASE_RP,
    RawPeer,
    status_of,
    store_command,
)
from receiver_process import ReceiverProcess
from receiving import arriving, echoes, encode, ends_soon, kept_files, port_of
from running import wait_for

from dicom_node.receive.reception import Reception
from dicom_node.receive.storage_scp import Receiver

StartReceiver = Callable[..., Receiver]


@pytest.mark.fault(17, 18)
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
    assert receiver.archive.store.open_studies() == []
    assert receiver.archive.store.find_instance(ds.SOPInstanceUID) is None
    assert echoes(receiver.port)


@pytest.mark.fault(17, 18)
def test_what_is_not_discarded_would_stay(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: a file is there in the middle of an object, and it is the end that removes it."""
    monkeypatch.setattr(Reception, "discard", lambda _self: None)
    with RawPeer(receiver.port).associate() as peer:
        peer.send_values((1, COMMAND | LAST, store_command()))
        peer.send_values((1, 0, encode(build_dx())[:10_000]))
    assert ends_soon(lambda: len(receiver.connections))
    assert len(arriving(receiver)) == 1


def test_a_silent_association_ends_at_the_network_time_out(start: StartReceiver) -> None:
    receiver = start(network_timeout_s=0.5)
    with RawPeer(receiver.port).associate() as peer:
        assert peer.read()[0] == ABORT
    assert ends_soon(lambda: len(receiver.connections))


@pytest.mark.fault(66)
def test_stop_does_not_wait_for_a_peer_that_is_silent_inside_a_pdu(start: StartReceiver) -> None:
    receiver = start()
    with RawPeer(receiver.port).associate() as peer:
        peer.send(P_DATA, bytes(100), length=10_000)
        time.sleep(0.2)
        started = time.monotonic()
        receiver.stop(grace_s=0.5)
        assert time.monotonic() - started < 3
    assert receiver.connections == []


@pytest.mark.fault(3, 66)
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


@pytest.mark.fault(65)
def test_stop_lets_an_object_in_flight_finish(start: StartReceiver) -> None:
    receiver = start()
    ds = build_dx()
    sent = encode(ds)
    with RawPeer(receiver.port).associate() as peer:
        peer.send_values((1, COMMAND | LAST, store_command(DX, ds.SOPInstanceUID)))
        peer.send_values((1, 0, sent[:10_000]))
        stopping = threading.Thread(target=receiver.stop, args=(10,))
        stopping.start()
        wait_for("nothing new is accepted", lambda: not is_open(receiver.port))
        time.sleep(1.5)
        peer.send_data_set(sent[10_000:])
        assert status_of(peer.read_response()) == 0
        stopping.join(10)
        assert not stopping.is_alive()
    assert len(list((receiver.archive.spool.folder / ds.StudyInstanceUID).iterdir())) == 1


@pytest.mark.fault(65)
def test_a_receiver_stops_accepting_at_sigterm_while_an_object_in_flight_finishes(tmp_path: Path) -> None:
    receiver = ReceiverProcess(tmp_path)
    ds = build_dx()
    sent = encode(ds)
    with RawPeer(receiver.port).associate() as peer:
        peer.send_values((1, COMMAND | LAST, store_command(DX, ds.SOPInstanceUID)))
        peer.send_values((1, 0, sent[:10_000]))
        assert is_open(receiver.port)
        receiver.process.terminate()
        wait_for("nothing new is accepted", lambda: not is_open(receiver.port), within_s=2)
        assert receiver.process.poll() is None
        peer.send_data_set(sent[10_000:])
        assert status_of(peer.read_response()) == 0
    assert receiver.process.wait(60) == 0


def is_open(port: int) -> bool:
    """Tell whether a connection is taken, though it may be closed unheard."""
    with contextlib.suppress(ConnectionError), RawPeer(port):
        return True
    return False


@pytest.mark.fault(24)
@pytest.mark.parametrize("step_s", [3600, -3600])
def test_a_step_of_the_clock_ends_no_association_and_loses_no_object(
    start: StartReceiver, monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    receiver = start(network_timeout_s=20, dimse_timeout_s=20)
    ds, clock = build_dx(), time.time
    sent = encode(ds)
    with RawPeer(receiver.port, timeout_s=30).associate() as peer:
        peer.send_values((1, COMMAND | LAST, store_command(DX, ds.SOPInstanceUID)))
        peer.send_values((1, 0, sent[:10_000]))
        monkeypatch.setattr(time, "time", lambda: clock() + step_s)
        time.sleep(1.5)
        peer.send_data_set(sent[10_000:])
        assert status_of(peer.read_response()) == 0
        assert peer.release() == RELEASE_RP


@pytest.mark.fault(24)
def test_a_step_of_the_clock_ends_the_associations_of_stock_pynetdicom(
    stock: ThreadedAssociationServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock.ae.network_timeout = 60
    clock = time.time
    with RawPeer(port_of(stock), timeout_s=20).associate() as peer:
        monkeypatch.setattr(time, "time", lambda: clock() + 3600)
        assert peer.read()[0] == ABORT
