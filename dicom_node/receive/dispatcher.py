"""Several receiver processes behind one port.

One process accepts connections and hands each to the child with the fewest; it does nothing else, so nothing that a
peer sends can stop it. With SO_REUSEPORT the kernel would choose blindly, and what waits in the queue of a child that
dies would be lost.
"""

import logging
import os
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from dicom_node.errors import describe_unforeseen
from dicom_node.receive.admission import comes_from_here
from dicom_node.receive.scarcity import SpareDescriptor

_LOGGER = logging.getLogger("dicom_node.receive")

READY, ENDED, CONNECTION = b"r", b"-", b"c"
"""What is said on a channel: by a child, that it serves, or that a connection is over; to a child, that one comes."""
_LOOK_AROUND_S = 0.1
_SLOWEST_RESTART_S = 30.0


@dataclass
class _Child:
    index: int
    process: int
    channel: socket.socket
    connections: int = 0
    is_ready: bool = False


class Dispatcher:
    """Accepts connections on one socket, for children that are restarted when they die."""

    def __init__(
        self,
        listening: socket.socket,
        processes: int,
        serve: Callable[[int, bool, socket.socket], None],
        may_connect: Callable[[str, bool], bool],
        clean_up: Callable[[], object],
    ) -> None:
        """Take a listening socket.

        `serve(index, again, channel)` runs in a child until SIGTERM, `again` if it takes a dead one's place;
        `may_connect(host, is_from_here)` says whether a connection is worth handing on; `clean_up()` is called when
        a child has died.
        """
        self._listening = listening
        self._serve = serve
        self._may_connect = may_connect
        self._clean_up = clean_up
        self._selector = selectors.DefaultSelector()
        self._children: list[_Child] = []
        self._failures = [0] * processes
        self._start_at: dict[int, float] = dict.fromkeys(range(processes), 0.0)
        self._is_announced = False
        self._spare = SpareDescriptor()

    def run(self, stop: threading.Event, announce: Callable[[], None], grace_s: float) -> None:
        """Dispatch until `stop` is set, then let the children drain. `announce` is called once all are ready."""
        self._listening.setblocking(False)
        while not stop.is_set():
            self._start_children()
            self._accept_only_when_served()
            for key, _ in self._selector.select(_LOOK_AROUND_S):
                if key.data is None:
                    self._accept()
                else:
                    self._listen_to(key.data)
            self._replace_the_dead()
            if not self._is_announced and sum(child.is_ready for child in self._children) == len(self._failures):
                self._is_announced = True
                announce()
        self._listening.close()
        self._stop_children(grace_s)

    # Connections

    def _accept_only_when_served(self) -> None:
        """Leave connections in the kernel's queue while no child is there to take them."""
        is_served = any(child.is_ready for child in self._children)
        is_accepting = self._listening in self._selector.get_map()
        if is_served and not is_accepting:
            self._selector.register(self._listening, selectors.EVENT_READ, None)
        elif is_accepting and not is_served:
            self._selector.unregister(self._listening)

    def _accept(self) -> None:
        try:
            with self._spare.lent():
                connection, address = self._listening.accept()
        except BlockingIOError:
            return  # the peer has thought better of it
        except OSError as error:
            _LOGGER.error("a connection was not accepted: %s", error.strerror)  # noqa: TRY400  # one sentence
            time.sleep(_LOOK_AROUND_S)  # out of descriptors: one may be free soon
            return
        with connection:
            if not self._may_connect(address[0], comes_from_here(connection)):
                _LOGGER.warning("connection from %s closed: no sender has this address", address[0])
                return
            for child in sorted(self._children, key=lambda one: one.connections):
                if child.is_ready and self._hand_over(connection, child):
                    return

    def _hand_over(self, connection: socket.socket, child: _Child) -> bool:
        try:
            socket.send_fds(child.channel, [CONNECTION], [connection.fileno()])
        except OSError:
            return False  # it is dying, or its channel is full: the next one takes it
        child.connections += 1
        return True

    # Children

    def _start_children(self) -> None:
        for index in [index for index, at in self._start_at.items() if time.monotonic() >= at]:
            del self._start_at[index]
            self._start_child(index)

    def _start_child(self, index: int) -> None:
        ours, theirs = socket.socketpair()
        process = os.fork()
        if process == 0:
            self._be_child(index, ours, theirs)
        theirs.close()
        ours.setblocking(False)
        child = _Child(index, process, ours)
        self._children.append(child)
        self._selector.register(ours, selectors.EVENT_READ, child)

    def _be_child(self, index: int, ours: socket.socket, theirs: socket.socket) -> None:
        code = 1
        try:
            self._selector.close()
            self._listening.close()
            self._spare.close()
            for other in (ours, *(child.channel for child in self._children)):
                other.close()
            self._serve(index, self._is_announced, theirs)
            code = 0
        except Exception as error:  # noqa: BLE001  # the edge of a process, which ends with it
            _LOGGER.error("receiver process %d failed: %s", index, describe_unforeseen(error))  # noqa: TRY400  # no texts of exceptions in logs
        finally:
            os._exit(code)

    def _listen_to(self, child: _Child) -> None:
        try:
            said = child.channel.recv(4096)
        except OSError:
            said = b""
        if READY in said:
            child.is_ready = True
            self._failures[child.index] = 0
        child.connections -= said.count(ENDED)
        if not said:
            # It is dead, or finishes what it has in hand; it takes nothing new.
            child.is_ready = False
            self._selector.unregister(child.channel)

    def _replace_the_dead(self) -> None:
        """Take leave of children that have ended, and let others take their places."""
        for child in list(self._children):
            ended, status = os.waitpid(child.process, os.WNOHANG)
            if not ended:
                continue
            self._children.remove(child)
            if child.channel in self._selector.get_map():
                self._selector.unregister(child.channel)
            child.channel.close()
            self._clean_up()
            delay_s = min(0.1 * 2.0 ** self._failures[child.index], _SLOWEST_RESTART_S)
            self._failures[child.index] += 1
            self._start_at[child.index] = time.monotonic() + delay_s
            code = os.waitstatus_to_exitcode(status)
            _LOGGER.error("receiver process %d ended with %d; next start in %.1f s", child.index, code, delay_s)

    def _stop_children(self, grace_s: float) -> None:
        for child in self._children:
            os.kill(child.process, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while self._children:
            for child in list(self._children):
                if os.waitpid(child.process, os.WNOHANG)[0]:
                    child.channel.close()
                    self._children.remove(child)
                elif time.monotonic() > deadline:
                    _LOGGER.warning("receiver process %d did not stop within its grace period; killed", child.index)
                    os.kill(child.process, signal.SIGKILL)
            time.sleep(0.02)
