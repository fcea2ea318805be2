"""Many connections at one moment: what the kernel keeps for the node until it has looked."""

import contextlib
import selectors
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from raw_peer import RawPeer
from receiver_process import ReceiverProcess

pytestmark = pytest.mark.fault(69)

BURST = 60
FIRST_RETRY_S = 1
"""After this the kernel of the one who connects says again what was not answered (RFC 6298 2.1)."""


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[ReceiverProcess]:
    receiver = ReceiverProcess(tmp_path, limits="maximum_associations = 128\nmaximum_associations_per_address = 64")
    yield receiver
    assert receiver.stop() == 0


def retries(connection: socket.socket) -> int:
    """Count the segments that were sent again, the first included: `tcpi_total_retrans` of Linux' `struct tcp_info`."""
    return int(struct.unpack_from("I", connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 100)[0])


def count_taken_at_once(port: int) -> int:
    """Connect as often as a burst does to a port at which nobody accepts; count what the kernel answers at once."""
    started = time.monotonic()
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as waiting:
        for _ in range(BURST):
            connection = stack.enter_context(socket.socket())
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", port))
            waiting.register(connection, selectors.EVENT_WRITE)
        taken: list[socket.socket] = []
        while len(taken) < BURST and (left := started + FIRST_RETRY_S / 2 - time.monotonic()) > 0:
            for key, _ in waiting.select(left):
                waiting.unregister(key.fileobj)
                taken.append(key.fileobj)  # type: ignore[arg-type]  # it was registered as a socket
        return sum(retries(connection) == 0 for connection in taken)


def test_sixty_connections_wait_for_a_node_that_is_busy_and_none_must_be_tried_again(receiver: ReceiverProcess) -> None:
    """The node's queue holds all of a burst while nothing accepts; one of 5, as pynetdicom's, makes most try again."""
    receiver.process.send_signal(signal.SIGSTOP)
    try:
        assert count_taken_at_once(receiver.port) == BURST
    finally:
        receiver.process.send_signal(signal.SIGCONT)
    with socket.create_server(("127.0.0.1", 0), backlog=5) as stock:
        assert count_taken_at_once(stock.getsockname()[1]) < 10


def test_sixty_simultaneous_connects_are_all_set_up_without_a_retry(receiver: ReceiverProcess) -> None:
    """Each gets its association, and none of them had to be asked for twice: what waits for that takes 1, 3, 7 s."""
    together = threading.Barrier(BURST)
    peers: list[RawPeer] = []

    def connect() -> None:
        together.wait()
        peers.append(RawPeer(receiver.port, timeout_s=60).associate())

    threads = [threading.Thread(target=connect) for _ in range(BURST)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tried_again = [retries(peer.socket) for peer in peers]
    for peer in peers:
        peer.socket.close()
    assert tried_again == [0] * BURST
