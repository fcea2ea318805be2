"""One TCP connection, read within limits: whole PDUs before a deadline, by a clock that nobody sets."""

import contextlib
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from typing import Protocol, Self, cast

from pynetdicom.association import Association
from pynetdicom.timer import Timer
from pynetdicom.transport import AssociationSocket

from inference.phrases import Phrase

LONGEST_WAIT_S = 0.5
"""How long a thread waits before it looks around."""
DATA_TRANSFER, AWAITING_CLOSE = "Sta6", "Sta13"
"""The states of an established association, and after the last word was said (PS3.8 Tables 9-3, 9-5)."""
SLOWEST_BYTES_PER_S = 4_000
"""A peer that takes what it is sent more slowly than this is as one that takes nothing."""
_PDV_HEADER = struct.Struct(">IB")


@dataclass(frozen=True, kw_only=True)
class PDULimits:
    """How much a peer may make us read, and how long that may take."""

    maximum_pdu_bytes: int
    deadline_s: float
    """From the first byte of a PDU to its last. A PDU that is sent has this and the time of its bytes."""


class ConnectionKeeper(Protocol):
    """What a connection asks of the upper layer that it belongs to."""

    limits: PDULimits

    def wait_for(self, connection: socket.socket | None) -> bool:
        """Wait until the connection can be read or there is something else to do; tell whether it can be read."""

    def note(self, trouble: str) -> None:
        """Remember what the peer did to the connection."""


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
    """A connection that is read and written a whole PDU at a time, before a deadline."""

    assoc: Association
    _ahead = b""
    """The first byte of a PDU, where it was read to see whether one comes."""

    @property
    def _keeper(self) -> ConnectionKeeper:
        return cast("ConnectionKeeper", self.assoc.dul)

    def fill(self, view: memoryview, deadline: float) -> bool:
        """Fill `view` from the connection; False where the peer closed it, TimeoutError at the deadline."""
        connection = self.socket
        if connection is None:
            return False
        filled = len(self._ahead)
        view[:filled], self._ahead = self._ahead, b""
        while filled < len(view):
            _allow_until(connection, deadline)
            count = connection.recv_into(view[filled:])
            if count == 0:
                return False
            filled += count
        return True

    def send(self, bytestream: bytes) -> None:
        """Send all of it before a deadline; where that fails, the connection is over (Evt17, PS3.8 Table 9-7)."""
        connection, rest = self.socket, memoryview(bytestream)
        deadline = time.monotonic() + self._keeper.limits.deadline_s + len(rest) // SLOWEST_BYTES_PER_S
        try:
            while rest:
                if connection is None:
                    raise BrokenPipeError
                _allow_until(connection, deadline)
                rest = rest[connection.send(rest) :]
        except OSError as error:
            late = isinstance(error, TimeoutError)
            self._keeper.note(Phrase("does not take what it is sent") if late else describe_break(error))
            self.event_queue.put("Evt17")

    @property
    def ready(self) -> bool:
        """Wait until there is something to read, or something else to do; tell whether it is something to read."""
        connection = self.socket if self._is_connected else None
        if connection is None:
            self._keeper.wait_for(None)
            return False
        if self.assoc.dul.state_machine.current_state == AWAITING_CLOSE:
            self.discard()
            return False
        return self._keeper.wait_for(connection) and self._begins(connection)

    def _begins(self, connection: socket.socket) -> bool:
        """Tell whether a PDU begins: what TLS says on its own account, such as a session ticket, is none."""
        if isinstance(connection, ssl.SSLSocket):
            connection.settimeout(0)
            try:
                self._ahead = connection.recv(1)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return False
            except OSError:  # whoever reads on finds the same
                return True
        return True

    def break_off(self) -> None:
        """End the connection; a thread that reads from it or writes to it finds that out."""
        if self.socket is not None:
            with contextlib.suppress(OSError):  # it is broken already
                # Past TLS, which a thread may be using.
                socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def discard(self) -> None:
        """Drop what still comes until the peer closes: closing with bytes unread would destroy our last PDU on its way.

        It is not looked at: a peer that was aborted in the middle of something may send a lot of it.
        """
        connection, rest = cast("socket.socket", self.socket), bytearray(65_536)
        deadline = time.monotonic() + LONGEST_WAIT_S
        with contextlib.suppress(OSError):
            while (left := deadline - time.monotonic()) > 0:
                connection.settimeout(left)
                if not connection.recv_into(rest):
                    break


def _allow_until(connection: socket.socket, deadline: float) -> None:
    """Let the next call wait until the deadline, or little longer: each change of this is a system call."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    allowed = connection.gettimeout()
    if allowed is None or not left <= allowed <= left + 0.5:
        connection.settimeout(left)


def describe_break(error: OSError) -> str:
    """Say what ended a connection, as something that the peer did."""
    said = getattr(error, "reason", None) or error.strerror or type(error).__name__
    return Phrase("broke the connection: {why}", why=said)


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
