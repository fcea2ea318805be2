"""The upper layer of one connection: pynetdicom's state machine, fed within limits.

What is replaced: how bytes are read (whole PDUs of bounded length within a deadline, into one buffer), and how the
thread waits (for something to happen, instead of asking every millisecond).
"""

import contextlib
import os
import select
import socket
import ssl
import struct
import time
from threading import Lock, current_thread
from typing import Any, cast

from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import InvalidEventError
from pynetdicom.pdu import A_ABORT_RQ

from dicom_node.upper_layer.connection import (
    LONGEST_WAIT_S,
    BoundedSocket,
    DataTransfer,
    MonotonicTimer,
    PDULimits,
    describe_break,
)
from inference.phrases import Phrase

UNRECOGNISED_PDU, UNEXPECTED_PDU, INVALID_PARAMETER_VALUE = 1, 2, 6
"""Reasons of an A-ABORT by the service provider (PS3.8 Table 9-26)."""
LARGEST_NEGOTIATION = 256 * 1024
"""Bytes of the longest A-ASSOCIATE-RQ or -AC that is read: 128 contexts with 25 transfer syntaxes of 64 characters fit.

So does every other PDU but P-DATA-TF: those have 4 bytes.
"""
_P_DATA_TF = 4
_SENSELESS = Phrase("sent a PDU that makes no sense")
_HEADER = struct.Struct(">BxI")
_SLACK = 1024
"""Some peers count headers differently and send a little more than they were offered."""


class BoundedUpperLayer(DULServiceProvider):
    """The thread of one connection."""

    def __init__(self, assoc: Association, limits: PDULimits) -> None:
        super().__init__(assoc)
        self.daemon = True
        self.limits = limits
        self.trouble = ""
        """What the peer did to the connection, to be read after its name; empty: nothing, or nothing that is known."""
        self.is_inside_pdu = False
        """Whether a PDU has begun to arrive and is not complete."""
        self.has_heard = False
        """Whether the peer has begun to send a PDU."""
        self._run_loop_delay = 0
        self._idle_timer, self.artim_timer = MonotonicTimer(60), MonotonicTimer(30)
        self._header = memoryview(bytearray(_HEADER.size))
        self._buffer = memoryview(b"")
        self._abort_reason = UNEXPECTED_PDU
        self._wake_lock = Lock()
        self._can_be_woken = False
        self._polled: socket.socket | None = None

    def start(self) -> None:
        """Start the thread."""
        self._wake_read, self._wake_write = os.pipe()
        for end in (self._wake_read, self._wake_write):
            os.set_blocking(end, False)
        self._poll = select.poll()
        self._poll.register(self._wake_read, select.POLLIN)
        self._can_be_woken = True
        try:
            super().start()
        except RuntimeError:  # there is no room for one more
            self._stop_waking()
            raise

    # Waiting

    def wait_for(self, connection: socket.socket | None) -> bool:
        """Wait until the connection can be read or this thread is woken; tell whether it can be read."""
        if not self.event_queue.empty():
            return False
        if isinstance(connection, ssl.SSLSocket) and connection.pending():
            return True
        self._watch(connection)
        found = [descriptor for descriptor, _ in self._poll.poll(LONGEST_WAIT_S * 1000)]
        if self._wake_read in found:
            os.read(self._wake_read, 4096)
        return any(descriptor != self._wake_read for descriptor in found)

    def _watch(self, connection: socket.socket | None) -> None:
        if connection is self._polled:
            return
        if self._polled is not None and self._polled.fileno() >= 0:
            self._poll.unregister(self._polled)
        if connection is not None:
            self._poll.register(connection, select.POLLIN)
        self._polled = connection

    def wake(self) -> None:
        """End the wait of this thread."""
        with self._wake_lock:
            if current_thread() is not self and self._can_be_woken:
                with contextlib.suppress(BlockingIOError):  # it has been woken often enough
                    os.write(self._wake_write, b"\0")

    def _stop_waking(self) -> None:
        with self._wake_lock:
            self._can_be_woken = False
            os.close(self._wake_read)
            os.close(self._wake_write)

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
            self.break_off()
        finally:
            self.finish()
            # The association's thread may be waiting for something that will not come.
            self.to_user_queue.put(None)  # what receive_pdu says at its time-out
            self._stop_waking()

    def finish(self) -> None:
        """Do what is to be done when the connection is over."""

    def break_off(self) -> None:
        """Break the connection; the threads that read from it find that out and end."""
        if self.socket is not None:
            cast("BoundedSocket", self.socket).break_off()

    def note(self, trouble: str) -> None:
        """Remember what the peer did to the connection; the rest follows from the first."""
        self.trouble = self.trouble or trouble

    # Reading

    def _read_pdu_data(self) -> None:
        """Read one PDU and say what it was, in the state machine's events (PS3.8 Table 9-7)."""
        event: str | None
        try:
            event = self._read_pdu()
            while event is None and self._may_read_on():
                event = self._read_pdu()
        except OSError as error:
            # A deadline that passed, or a connection that broke: nothing more can be read from it.
            late = isinstance(error, TimeoutError)
            stalled = Phrase("left a PDU incomplete for {limit:g} s", limit=self.limits.deadline_s)
            self.note(stalled if late else describe_break(error))
            event = "Evt17"
        except _InvalidPDUError as error:
            self.note(error.args[0])
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
        connection = cast("BoundedSocket", self.socket)
        deadline = time.monotonic() + self.limits.deadline_s
        self.is_inside_pdu = True
        if not connection.fill(self._header, deadline):
            return self._lose(Phrase("closed the connection"))
        self.has_heard = True
        pdu_type, length = _HEADER.unpack(self._header)
        if not 1 <= pdu_type <= 7:
            raise _InvalidPDUError(UNRECOGNISED_PDU, Phrase("sent a PDU of unknown type {type}", type=pdu_type))
        if length > self._longest(pdu_type):
            trouble = Phrase("sent a PDU of {length} bytes, which is too long", length=length)
            raise _InvalidPDUError(INVALID_PARAMETER_VALUE, trouble)
        body = self._make_room(length) if pdu_type == _P_DATA_TF else memoryview(bytearray(length))
        if not connection.fill(body, deadline):
            return self._lose(Phrase("closed the connection in the middle of a PDU"))
        self.is_inside_pdu = False
        if pdu_type == _P_DATA_TF:
            return self._read_data(body)
        return self._read_other(bytes(self._header) + body)

    def _lose(self, trouble: str) -> str:
        self.note(trouble)
        return "Evt17"

    def _longest(self, pdu_type: int) -> int:
        if pdu_type == _P_DATA_TF:
            return self.limits.maximum_pdu_bytes + _SLACK
        return LARGEST_NEGOTIATION

    def _make_room(self, length: int) -> memoryview:
        if len(self._buffer) < length:
            self._buffer = memoryview(bytearray(self.limits.maximum_pdu_bytes + _SLACK))
        return self._buffer[:length]

    def _read_data(self, body: memoryview) -> str | None:
        try:
            transfer = DataTransfer(body)
        except ValueError as error:
            raise _InvalidPDUError(INVALID_PARAMETER_VALUE, _SENSELESS) from error
        return self.take_data(transfer)

    def take_data(self, transfer: DataTransfer) -> str | None:
        """Hand a P-DATA-TF on; return the event that it is, None where it has been dealt with."""
        self._recv_pdu.put(transfer)  # type: ignore[arg-type]  # has what the state machine asks for
        return "Evt10"

    def _read_other(self, content: bytes) -> str:
        try:
            pdu, event = self._decode_pdu(bytearray(content))
            # All will be done again where an exception would end a thread: values that are not allowed, and a context
            # that proposes or accepts nothing.
            primitive = pdu.to_primitive()
            for context in getattr(primitive, "presentation_context_definition_list", []):
                context.transfer_syntax[0]
            for context in getattr(primitive, "presentation_context_definition_results_list", []):
                if context.result == 0:
                    context.transfer_syntax[0]
        except Exception as error:  # pynetdicom raises what it happens to stumble over
            raise _InvalidPDUError(INVALID_PARAMETER_VALUE, _SENSELESS) from error
        self._recv_pdu.put(pdu)
        return event

    # Sending

    def _send(self, pdu: Any) -> None:
        if isinstance(pdu, A_ABORT_RQ) and pdu.source == 2:  # by the service provider: say why
            pdu.reason_diagnostic = self._abort_reason
        super()._send(pdu)


class _InvalidPDUError(Exception):
    def __init__(self, reason: int, trouble: str) -> None:
        super().__init__(trouble)
        self.reason = reason
