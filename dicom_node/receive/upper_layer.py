"""The upper layer of a connection that a peer has made: requests are served in its thread, one after the other."""

import queue
import struct
from collections.abc import Callable
from typing import Any, cast

from pynetdicom.association import Association

from dicom_node.upper_layer.connection import DATA_TRANSFER, BoundedSocket, DataTransfer, PDULimits
from dicom_node.upper_layer.service import BoundedUpperLayer

_P_DATA_TF = 4
_P_DATA_HEADER = struct.Struct(">BxIIB")


class _UserQueue(queue.Queue[Any]):
    """Primitives for the association's thread, which is told when there is one."""

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self._tell = tell

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self._tell()


class UpperLayer(BoundedUpperLayer):
    """The thread of one connection. Reads a PDU only when the one before it has been dealt with."""

    def __init__(self, assoc: Association, limits: PDULimits) -> None:
        super().__init__(assoc, limits)
        self.to_user_queue = _UserQueue(lambda: assoc.dimse.msg_queue.put((None, None)))
        self._is_serving = False

    def finish(self) -> None:
        """Forget the message that is arriving; note what came before it."""
        self.assoc.dimse.discard()  # type: ignore[attr-defined]  # as the association was built
        self.assoc.dimse.note_transfers()  # type: ignore[attr-defined]  # likewise

    def take_data(self, transfer: DataTransfer) -> str | None:
        """Hand a P-DATA-TF on; return the event that it is, None where it has been dealt with."""
        if self.state_machine.current_state == DATA_TRANSFER:
            # What the state machine would do (DT-2), without the way through its queues: the state stays the same.
            self.assoc.dimse.receive_primitive(transfer)  # type: ignore[arg-type]  # P-DATA, in views
            return None
        return super().take_data(transfer)

    # Sending

    def send_value(self, context_id: int, value: bytes) -> None:
        """Send a presentation data value at once (DT-1): for this thread, while it serves a request."""
        connection = cast("BoundedSocket", self.socket)
        connection.send(_P_DATA_HEADER.pack(_P_DATA_TF, len(value) + 5, len(value) + 1, context_id) + value)

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
