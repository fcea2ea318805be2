"""The requestor's side of an association: connected, answered and ended in bounded time, whatever the peer does."""

import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pynetdicom import AE
from pynetdicom._globals import MODE_REQUESTOR
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import T_CONNECT, AddressInformation

from dicom_node.errors import describe_failure
from dicom_node.upper_layer.connection import AWAITING_CLOSE, BoundedSocket, DataTransfer, PDULimits
from dicom_node.upper_layer.service import BoundedUpperLayer
from inference.phrases import Phrase

LARGEST_MESSAGE = 16 * 1024 * 1024
"""Bytes of the longest message that is read: a match of C-FIND, a report of storage commitment."""
MOST_WAITING = 64
"""Messages that may wait to be looked at; more are not read before."""
_SENSELESS = Phrase("sent a message that makes no sense")
_HANDSHAKE = "TLS handshake"
_FAREWELL_S = 1.0
"""How long what is on its way to the peer, such as an A-ABORT, may take at the end."""


class RequestingSocket(BoundedSocket):
    """A connection that this node makes."""

    def __init__(self, assoc: Association, remote: AddressInformation, tls: tuple[ssl.SSLContext, str] | None) -> None:
        anywhere = ("", 0) if remote.address_family == socket.AF_INET else ("::0", 0)
        super().__init__(assoc, address=AddressInformation.from_tuple(anywhere))
        self.tls_args = tls

    def connect(self, primitive: T_CONNECT) -> None:
        """Connect, with TLS where it is asked for, all of it within the association's connection time-out."""
        try:
            self.socket = self._connect(primitive.address_info)
        except Exception as error:  # noqa: BLE001 - such as a `tls_name` that is no name: somebody waits without limit
            self._keeper.note(_describe_failure(error))
            if self.socket is not None:
                self.socket.close()
            self.socket = None
            primitive.result = "Evt17"
        else:
            self._is_connected = True
            primitive.result = "Evt2"
        self.provider_queue.put(primitive)
        self._ready.set()

    def _connect(self, address: AddressInformation) -> socket.socket:
        connection = self.socket
        if connection is None:
            raise ConnectionError("closed before it was open")
        deadline = time.monotonic() + (self.assoc.connection_timeout or 0)
        connection.settimeout(self.assoc.connection_timeout)
        connection.connect(address.as_tuple)
        # Command and data set are two writes: with Nagle's algorithm and the peer's delayed ACK an object takes 44 ms.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.assoc.requestor.address_info = AddressInformation.from_tuple(connection.getsockname())
        if self.tls_args is None:
            return connection
        context, name = self.tls_args
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            return context.wrap_socket(connection, server_hostname=name)
        except TimeoutError:
            raise TimeoutError(_HANDSHAKE) from None


def _describe_failure(error: Exception) -> str:
    """Say why there is no connection, as something that the peer did."""
    if isinstance(error, ConnectionRefusedError):
        return Phrase("refused the connection: nothing listens there")
    if isinstance(error, TimeoutError):
        if error.args == (_HANDSHAKE,):
            return Phrase("did not complete the TLS handshake in time")
        return Phrase("cannot be reached in time")
    if isinstance(error, ssl.SSLError):
        why = getattr(error, "verify_message", "") or error.reason or Phrase("it was cut off")
        return Phrase("failed the TLS handshake: {why}", why=why)
    return Phrase("cannot be reached: {why}", why=describe_failure(error) or type(error).__name__)


class Responses(DIMSEServiceProvider):
    """The messages that come through a requested association."""

    def __init__(self, assoc: Association) -> None:
        super().__init__(assoc)
        self._received = 0
        self._reporting: set[int] = set()
        """Threads that answer reports."""

    @property
    def _upper_layer(self) -> BoundedUpperLayer:
        return self.dul  # type: ignore[return-value]  # as the association was built

    @property
    def are_too_many(self) -> bool:
        """Tell whether no more are to be read for now."""
        return self.msg_queue.qsize() + len(self._reporting) >= MOST_WAITING

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Count the present thread among those that answer reports: pynetdicom starts one for each report."""
        self._reporting.add(threading.get_ident())
        try:
            yield
        finally:
            self._reporting.discard(threading.get_ident())
            self._upper_layer.wake()  # there is room for one more

    def get_msg(self, block: bool = False) -> Any:
        """Wait for the next message, the DIMSE time-out at most; (None, None) where none comes.

        Two races of pynetdicom 3.0 between a requestor and its reactor thread are closed. The reactor also polls for
        messages, without blocking, and can take a C-STORE response away from `send_c_store` under load: nothing but
        responses is expected here, so they are left to the blocking reader. And the one mark that wakes a blocking
        reader when the peer aborts is lost to whoever asks after it: the reader looks for itself.
        """
        deadline = time.monotonic() + (self.dimse_timeout or 0.0)
        while block and time.monotonic() < deadline:
            try:
                message = self.msg_queue.get(timeout=0.1)
            except queue.Empty:
                if not self.dul.is_alive():
                    break
            else:
                self._upper_layer.wake()  # there is room for one more
                return message
        return None, None

    def receive_primitive(self, primitive: P_DATA | DataTransfer) -> None:
        """Take the fragments of one PDU; abort the association where they make no message, or one without end."""
        values = [(context_id, bytes(value)) for context_id, value in primitive.presentation_data_value_list]
        self._received += sum(len(value) for _, value in values)
        if self._received > LARGEST_MESSAGE:
            self._refuse(Phrase("sent a message without end"))
            return
        data = P_DATA()
        data.presentation_data_value_list = [[*pair] for pair in values]  # type: ignore[misc]  # lists are asked for
        try:
            super().receive_primitive(data)
        except Exception:  # noqa: BLE001 - pynetdicom raises what it happens to stumble over
            self._refuse(_SENSELESS)
        if self.message is None:
            self._received = 0

    def _refuse(self, trouble: str) -> None:
        self._upper_layer.note(trouble)
        # Invalid PDU (PS3.8 Table 9-10): the state machine sends the A-ABORT.
        self.dul.event_queue.put("Evt19")


class RequestorUpperLayer(BoundedUpperLayer):
    """The thread of a connection that this node has made."""

    def wait_for(self, connection: socket.socket | None) -> bool:
        """Wait until the connection can be read or this thread is woken; tell whether it can be read."""
        responses: Responses = self.assoc.dimse  # type: ignore[assignment]  # as the association was built
        return super().wait_for(None if responses.are_too_many else connection)

    def finish(self) -> None:
        """Close the connection, not before a last word has had time to arrive."""
        connection = self.socket
        if isinstance(connection, BoundedSocket) and connection.socket is not None:
            if self.state_machine.current_state == AWAITING_CLOSE:
                connection.discard()
            connection.close()


class RequestedAssociation(Association):
    """An association that this node asks for."""

    dul: RequestorUpperLayer
    dimse: Responses
    _waits = False
    """Whether the reactor thread stands at its checkpoint."""

    def __init__(self, ae: AE, limits: PDULimits) -> None:
        super().__init__(ae, MODE_REQUESTOR)
        self.name = "RequestorThread"
        self.dul = RequestorUpperLayer(self, limits)
        self.dimse = Responses(self)
        # Once more, now that the timers they set are those of this upper layer.
        self.acse_timeout, self.network_timeout = ae.acse_timeout, ae.network_timeout
        self.requestor.ae_title = ae.ae_title
        self.requestor.maximum_length = limits.maximum_pdu_bytes
        self.requestor.implementation_class_uid = ae.implementation_class_uid
        self.requestor.implementation_version_name = ae.implementation_version_name

    @property
    def _is_paused(self) -> bool:
        """Tell whether the reactor thread waits; what sends a request or a release loops until it does.

        pynetdicom 3.0 serves an N-EVENT-REPORT in a thread of its own, which notes at its end that the reactor goes on.
        Where that stood at its checkpoint by then, the loop never ended: only the reactor itself is believed. Its last
        word is often that it goes on: one that has been told to end is not waited for.
        """
        return self._waits or self._kill

    @_is_paused.setter
    def _is_paused(self, waits: bool) -> None:
        if threading.current_thread() is self:
            self._waits = waits

    def kill(self) -> None:
        """End the threads of the association; where the peer holds one of them up, break the connection."""
        self._reactor_checkpoint.set()
        self._kill = True
        self.is_established = False
        end = time.monotonic() + _FAREWELL_S
        while self.dul.is_alive() and not self.dul.stop_dul():
            if time.monotonic() > end:
                if self.dul.is_inside_pdu:
                    self.dul.note(Phrase("left a PDU incomplete"))
                self.dul.break_off()
            time.sleep(0.01)

    def _serve_request(self, msg: Any, context_id: int) -> None:
        with self.dimse.reporting():
            super()._serve_request(msg, context_id)

    def _c_store_scp(self, req: C_STORE) -> None:  # noqa: ARG002 - pynetdicom's signature
        """End an association on which an object comes, or an answer about one, where the answer to a C-MOVE is due.

        Storage is never proposed on it. pynetdicom 3.0 would go on as long as they come, and ask nobody.
        """
        self.dul.note(_SENSELESS)
        self.abort()

    def end(self) -> None:
        """Release the association if it is open, and leave neither thread nor connection."""
        if self.is_established and self.is_alive():
            self.release()
        self.kill()
