"""The DICOM upper layer of one connection (PS3.8 chapter 9): pynetdicom's state machine, fed within limits.

What is replaced: how bytes are read (whole PDUs of bounded length within a deadline, into one buffer), and how the
threads wait (for something to happen, instead of asking every millisecond).
"""

import os
import queue
import select
import socket
import struct
import time
from collections.abc import Callable
from threading import Lock, current_thread
from typing import Any, cast

from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import InvalidEventError
from pynetdicom.pdu import A_ABORT_RQ

from dicom_node.receive.connection import (
    DATA_TRANSFER,
    LONGEST_WAIT_S,
    BoundedSocket,
    DataTransfer,
    MonotonicTimer,
    PDULimits,
)

UNRECOGNISED_PDU, UNEXPECTED_PDU, INVALID_PARAMETER_VALUE = 1, 2, 6
"""Reasons of an A-ABORT by the service provider (PS3.8 Table 9-26)."""
LARGEST_REQUEST = 256 * 1024
"""Bytes of the longest A-ASSOCIATE-RQ that is read: 128 contexts with 25 transfer syntaxes of 64 characters fit."""
_P_DATA_TF = 4
_HEADER = struct.Struct(">BxI")
_P_DATA_HEADER = struct.Struct(">BxIIB")
_SLACK = 1024
"""Some peers count headers differently and send a little more than they were offered."""


class _UserQueue(queue.Queue[Any]):
    """Primitives for the association's thread, which is told when there is one."""

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self._tell = tell

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self._tell()


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
        found = [descriptor for descriptor, _ in self._poll.poll(LONGEST_WAIT_S * 1000)]
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
            self.assoc.dimse.note_transfers()  # type: ignore[attr-defined]  # likewise
            # The association's thread may be waiting for a request that will not come.
            self.to_user_queue.put(None)  # what receive_pdu says at its time-out
            with self._wake_lock:
                self._is_over = True
                os.close(self._wake_read)
                os.close(self._wake_write)

    # Reading

    def _read_pdu_data(self) -> None:
        """Read one PDU and say what it was, in the state machine's events (PS3.8 Table 9-7)."""
        event: str | None
        try:
            event = self._read_pdu()
            while event is None and self._may_read_on():
                event = self._read_pdu()
        except OSError:
            # A deadline that passed, or a connection that broke: nothing more can be read from it.
            event = "Evt17"
        except _InvalidPDUError as error:
            self._abort_reason = error.reason
            event = "Evt19"
        if event is not None:
            self.event_queue.put(event)

    def _may_read_on(self) -> bool:
        """Wait for the next PDU, unless there is something to say to the peer or the thread is to end."""
        self._idle_timer.restart()
        if self._kill_thread or not self.to_provider_queue.empty() or not self.event_queue.empty():
            return False
        return self.socket is not None and self.socket.ready

    def _read_pdu(self) -> str | None:
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

    def _read_data(self, connection: BoundedSocket, length: int, deadline: float) -> str | None:
        if len(self._buffer) < length:
            self._buffer = memoryview(bytearray(self._limits.maximum_pdu_bytes + _SLACK))
        body = self._buffer[:length]
        if not connection.fill(body, deadline):
            return "Evt17"
        try:
            transfer = DataTransfer(body)
        except ValueError as error:
            raise _InvalidPDUError(INVALID_PARAMETER_VALUE) from error
        if self.state_machine.current_state == DATA_TRANSFER:
            # What the state machine would do (DT-2), without the way through its queues: the state stays the same.
            self.assoc.dimse.receive_primitive(transfer)  # type: ignore[arg-type]  # P-DATA, in views
            return None
        self._recv_pdu.put(transfer)  # type: ignore[arg-type]  # has what the state machine asks for
        return "Evt10"

    def _read_other(self, content: bytes) -> str:
        try:
            pdu, event = self._decode_pdu(bytearray(content))
            # Both will be done again where an exception would end a thread: values that are not allowed, and a context
            # that proposes nothing.
            primitive = pdu.to_primitive()
            for context in getattr(primitive, "presentation_context_definition_list", []):
                context.transfer_syntax[0]
        except Exception as error:  # pynetdicom raises what it happens to stumble over
            raise _InvalidPDUError(INVALID_PARAMETER_VALUE) from error
        self._recv_pdu.put(pdu)
        return event

    # Sending

    def send_value(self, context_id: int, value: bytes) -> None:
        """Send a presentation data value at once (DT-1): for this thread, while it serves a request."""
        connection = cast("BoundedSocket", self.socket)
        connection.send(_P_DATA_HEADER.pack(_P_DATA_TF, len(value) + 5, len(value) + 1, context_id) + value)

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
