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

LONGEST_WAIT_S = 0.5
"""How long a thread waits before it looks around."""
DATA_TRANSFER, AWAITING_CLOSE = "Sta6", "Sta13"
"""The states of an established association, and after the last word was said (PS3.8 Tables 9-3, 9-5)."""
_PDV_HEADER = struct.Struct(">IB")


class Waiter(Protocol):
    """What waits for a connection among other things."""

    def wait_for(self, connection: socket.socket) -> bool:
        """Wait until the connection can be read or there is something else to do; tell whether it can be read."""


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
        if self.assoc.dul.state_machine.current_state == AWAITING_CLOSE:
            self._discard()
            return False
        return cast("Waiter", self.assoc.dul).wait_for(self.socket)

    def _discard(self) -> None:
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
