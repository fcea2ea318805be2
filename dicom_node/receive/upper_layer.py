"""The DICOM upper layer of one connection (PS3.8 chapter 9): pynetdicom's state machine, fed within limits.

What is replaced: how bytes are read (whole PDUs of bounded length within a deadline, into one buffer), and how the
threads wait (for something to happen, instead of asking every millisecond).
"""

import contextlib
import os
import queue
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock, current_thread
from typing import Any, Self, cast

from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import InvalidEventError
from pynetdicom.pdu import A_ABORT_RQ
from pynetdicom.timer import Timer
from pynetdicom.transport import AssociationSocket

UNRECOGNISED_PDU, UNEXPECTED_PDU, INVALID_PARAMETER_VALUE = 1, 2, 6
"""Reasons of an A-ABORT by the service provider (PS3.8 Table 9-26)."""
LARGEST_REQUEST = 256 * 1024
"""Bytes of the longest A-ASSOCIATE-RQ that is read: 128 contexts with 25 transfer syntaxes of 64 characters fit."""
_P_DATA_TF = 4
_HEADER = struct.Struct(">BxI")
_PDV_HEADER = struct.Struct(">IB")
_SLACK = 1024
"""Some peers count headers differently and send a little more than they were offered."""
_LONGEST_WAIT_S = 0.5
_AWAITING_CLOSE = "Sta13"
"""The state after the last word was said (PS3.8 Table 9-4)."""


@dataclass(frozen=True, kw_only=True)
class PDULimits:
    """How much a peer may make us read, and how long that may take."""

    maximum_pdu_bytes: int
    deadline_s: float


class MonotonicTimer(Timer):
    """pynetdicom's timer by a clock that nobody sets: an hour's step of the wall clock ends no association."""

    @property
    def remaining(self) -> float:
        """Seconds left; 1 where the timer never expires."""
        if self.timeout is None:
            return 1
        if self._start_time is None:
            return self.timeout
        end = time.monotonic() if self._end_time is None else self._end_time
        return self.timeout - (end - self._start_time)

    def start(self) -> None:
        """Start, or start again."""
        self._start_time = time.monotonic()
        self._end_time = None

    def stop(self) -> None:
        """Stop."""
        self._end_time = time.monotonic()


class BoundedSocket(AssociationSocket):
    """A connection that is read a whole PDU at a time, before a deadline."""

    assoc: Association

    def fill(self, view: memoryview, deadline: float) -> bool:
        """Fill `view` from the connection; False where the peer closed it, TimeoutError at the deadline."""
        connection = self.socket
        if connection is None:
            return False
        filled = 0
        while filled < len(view):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            allowed = connection.gettimeout()
            if allowed is None or not left <= allowed <= left + 0.5:
                connection.settimeout(left)
            count = connection.recv_into(view[filled:])
            if count == 0:
                return False
            filled += count
        return True

    @property
    def ready(self) -> bool:
        """Wait until there is something to read, or something else to do; tell whether it is something to read."""
        if self.socket is None or not self._is_connected:
            return False
        if isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
            return True
        upper_layer: UpperLayer = self.assoc.dul  # type: ignore[assignment]  # as the association was built
        if upper_layer.state_machine.current_state == _AWAITING_CLOSE:
            self._discard()
            return False
        return upper_layer.wait_for(self.socket)

    def _discard(self) -> None:
        """Drop what still comes until the peer closes: closing with bytes unread would destroy our last PDU on its way.

        It is not looked at: a peer that was aborted in the middle of something may send a lot of it.
        """
        connection, rest = cast("socket.socket", self.socket), bytearray(65_536)
        deadline = time.monotonic() + _LONGEST_WAIT_S
        with contextlib.suppress(OSError):
            while (left := deadline - time.monotonic()) > 0:
                connection.settimeout(left)
                if not connection.recv_into(rest):
                    break


class _UserQueue(queue.Queue[Any]):
    """Primitives for the association's thread, which is told when there is one."""

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self._tell = tell

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self._tell()


class DataTransfer:
    """A P-DATA-TF PDU that lies in the connection's buffer: read it before the next one comes."""

    def __init__(self, body: memoryview) -> None:
        """Split the body into presentation data values (PS3.8 9.3.5.1); ValueError where their lengths are wrong."""
        self.presentation_data_value_list: list[tuple[int, memoryview]] = []
        """Pairs of presentation context ID and value, message control header included (PS3.8 E.2)."""
        while body:
            length, context_id = _PDV_HEADER.unpack_from(body) if len(body) >= _PDV_HEADER.size else (0, 0)
            if not 2 <= length <= len(body) - 4:
                message = "a presentation data value does not fit its PDU"
                raise ValueError(message)
            self.presentation_data_value_list.append((context_id, body[5 : 4 + length]))
            body = body[4 + length :]

    def to_primitive(self) -> Self:
        """Return what the state machine hands on: this is P-DATA-TF and P-DATA in one."""
        return self


class UpperLayer(DULServiceProvider):
    """The thread of one connection. Reads a PDU only when the one before it has been dealt with."""

    def __init__(self, assoc: Association, limits: PDULimits) -> None:
        super().__init__(assoc)
        self.daemon = True
        self._limits = limits
        self._run_loop_delay = 0
        self._idle_timer, self.artim_timer = MonotonicTimer(60), MonotonicTimer(30)
        self.to_user_queue = _UserQueue(lambda: assoc.dimse.msg_queue.put((None, None)))
        self._header = memoryview(bytearray(_HEADER.size))
        self._buffer = memoryview(b"")
        self._abort_reason = UNEXPECTED_PDU
        self._is_serving = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        self._wake_lock = Lock()
        self._is_over = False
        self._poll = select.poll()
        self._poll.register(self._wake_read, select.POLLIN)
        self._polled: socket.socket | None = None

    # Waiting

    def wait_for(self, connection: socket.socket) -> bool:
        """Wait until the connection can be read or this thread is woken; tell whether it can be read."""
        if not self.event_queue.empty():
            return False
        if connection is not self._polled:
            self._poll.register(connection, select.POLLIN)
            self._polled = connection
        found = [descriptor for descriptor, _ in self._poll.poll(_LONGEST_WAIT_S * 1000)]
        if self._wake_read in found:
            os.read(self._wake_read, 4096)
        return any(descriptor != self._wake_read for descriptor in found)

    def wake(self) -> None:
        """End the wait of this thread."""
        with self._wake_lock:
            if current_thread() is not self and not self._is_over:
                os.write(self._wake_write, b"\0")

    def send_pdu(self, primitive: Any) -> None:
        """Queue a primitive for the peer."""
        super().send_pdu(primitive)
        self.wake()

    def kill_dul(self) -> None:
        """Let the thread end."""
        super().kill_dul()
        self.wake()

    def stop_dul(self) -> bool:
        """Let the thread end if the connection is over; False where it is not."""
        if self.state_machine.current_state != "Sta1":
            return False
        self.kill_dul()
        self.join()
        return True

    def run_reactor(self) -> None:
        """Run until the connection is over, whatever ends it."""
        try:
            super().run_reactor()
        except InvalidEventError:
            # The peer broke the connection in a way that the state machine does not foresee.
            self.assoc.disconnect()  # type: ignore[attr-defined]  # as the association was built
        finally:
            self.assoc.dimse.discard()  # type: ignore[attr-defined]  # as the association was built
            # The association's thread may be waiting for a request that will not come.
            self.to_user_queue.put(None)  # type: ignore[arg-type]  # what receive_pdu says at its time-out
            with self._wake_lock:
                self._is_over = True
                os.close(self._wake_read)
                os.close(self._wake_write)

    # Reading

    def _read_pdu_data(self) -> None:
        """Read one PDU and say what it was, in the state machine's events (PS3.8 Table 9-7)."""
        try:
            event = self._read_pdu()
        except OSError:
            # A deadline that passed, or a connection that broke: nothing more can be read from it.
            event = "Evt17"
        except _InvalidPDUError as error:
            self._abort_reason = error.reason
            event = "Evt19"
        self.event_queue.put(event)

    def _read_pdu(self) -> str:
        connection: BoundedSocket = self.socket  # type: ignore[assignment]  # as the association was built
        deadline = time.monotonic() + self._limits.deadline_s
        if not connection.fill(self._header, deadline):
            return "Evt17"
        pdu_type, length = _HEADER.unpack(self._header)
        if not 1 <= pdu_type <= 7:
            raise _InvalidPDUError(UNRECOGNISED_PDU)
        if length > self._longest(pdu_type):
            raise _InvalidPDUError(INVALID_PARAMETER_VALUE)
        if pdu_type == _P_DATA_TF:
            return self._read_data(connection, length, deadline)
        body = bytearray(length)
        if not connection.fill(memoryview(body), deadline):
            return "Evt17"
        return self._read_other(bytes(self._header) + body)

    def _longest(self, pdu_type: int) -> int:
        if pdu_type == _P_DATA_TF:
            return self._limits.maximum_pdu_bytes + _SLACK
        return LARGEST_REQUEST

    def _read_data(self, connection: BoundedSocket, length: int, deadline: float) -> str:
        if len(self._buffer) < length:
            self._buffer = memoryview(bytearray(self._limits.maximum_pdu_bytes + _SLACK))
        body = self._buffer[:length]
        if not connection.fill(body, deadline):
            return "Evt17"
        try:
            self._recv_pdu.put(DataTransfer(body))  # type: ignore[arg-type]  # has what the state machine asks for
        except ValueError as error:
            raise _InvalidPDUError(INVALID_PARAMETER_VALUE) from error
        return "Evt10"

    def _read_other(self, content: bytes) -> str:
        try:
            pdu, event = self._decode_pdu(bytearray(content))
        except Exception as error:  # pynetdicom raises what it happens to stumble over
            raise _InvalidPDUError(INVALID_PARAMETER_VALUE) from error
        self._recv_pdu.put(pdu)
        return event

    def _send(self, pdu: Any) -> None:
        if isinstance(pdu, A_ABORT_RQ) and pdu.source == 2:  # by the service provider: say why
            pdu.reason_diagnostic = self._abort_reason
        super()._send(pdu)

    # Idle

    def serve(self, request: Callable[[], None]) -> None:
        """Answer a request in this thread: nothing more is read from the peer until it has its answer."""
        self._is_serving = True
        try:
            request()
        finally:
            self._idle_timer.restart()
            self._is_serving = False

    def idle_timer_expired(self) -> bool:
        """Tell whether the peer has been silent for the network time-out; a slow disk is not its fault."""
        return not self._is_serving and super().idle_timer_expired()

    @property
    def idle_s(self) -> float:
        """Seconds since something came from the peer or was answered; 0 while an object is arriving."""
        if self._is_serving or self.assoc.dimse.is_receiving:  # type: ignore[attr-defined]  # as above
            return 0
        return (self._idle_timer.timeout or 0) - self._idle_timer.remaining


class _InvalidPDUError(Exception):
    def __init__(self, reason: int) -> None:
        super().__init__(reason)
        self.reason = reason
