"""The listening side of pynetdicom, made safe to leave open: bounded reads, deadlines, no peer in another's way.

Stock pynetdicom 3.0.4 reads PDUs of any length without a deadline, before it knows the peer; counts idle connections
as associations; does the TLS handshake in its accept loop; and cannot shut down while a peer is silent inside a PDU.
"""

import logging
import socket
import ssl
import threading
from collections import Counter
from typing import Any, cast

from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.transport import ThreadedAssociationServer

from dicom_node.audit import AuditEvent
from dicom_node.receive.accepted import AcceptedAssociation, ConnectionHandler
from dicom_node.receive.admission import AssociationLimit, SenderList, comes_from_here
from dicom_node.receive.archive import Archive
from dicom_node.receive.presentation import choose_contexts
from dicom_node.receive.scarcity import SpareDescriptor, turn_away
from dicom_node.tls import PeerCertificate, ServerTLS
from dicom_node.upper_layer.connection import PDULimits

_LOGGER = logging.getLogger("dicom_node.receive")

BACKLOG = 128
NOT_A_SENDER = (1, 1, 3)
"""Rejected permanently, by the user: calling AE title not recognised (PS3.8 Table 9-21: result, source, reason)."""
TOO_MANY = (2, 3, 2)
"""Rejected for now, by the presentation service: local limit exceeded."""
_TLS_HANDSHAKE_S = 5
_WAITING_PER_ADDRESS = 64
"""Connections of one address that may be open without an association; the oldest makes room for the next."""


class Listener(ThreadedAssociationServer):
    """Accepts connections, and keeps count of what becomes of them."""

    request_queue_size = BACKLOG
    daemon_threads = True

    def __init__(
        self,
        ae: AE,
        address: tuple[str, int],
        *,
        archive: Archive,
        limits: PDULimits,
        senders: SenderList,
        association_limit: AssociationLimit,
        tls: ServerTLS | None = None,
    ) -> None:
        self.archive = archive
        self.limits = limits
        self._senders = senders
        self.association_limit = association_limit
        self._tls = tls
        self._handshakes: Counter[str] = Counter()
        self._open: dict[AcceptedAssociation, bool] = {}
        self._lock = threading.Lock()
        self._spare = SpareDescriptor()
        # pynetdicom takes a server off this list when it shuts down.
        ae._servers.append(self)  # noqa: SLF001 - AE.start_server would do it, and choose the class itself
        super().__init__(ae, address, ae.ae_title, ae.supported_contexts, request_handler=ConnectionHandler)

    # Connections

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection, and nothing more: whatever else this thread did, every other sender would wait for."""
        with self._spare.lent():
            connection, address = self._accept()
        return self._prepare(connection), address

    def _accept(self) -> tuple[socket.socket, Any]:
        return cast("socket.socket", self.socket).accept()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own; where there is none for it, turn it away in this one.

        Over TLS it is closed without a word: the handshake would take this thread too long.
        """
        try:
            super().process_request(request, client_address)
        except RuntimeError as error:
            if self._tls is None:
                self.turn_away(request, client_address[0], error)
            self.shutdown_request(request)
            self._note_end()

    def turn_away(self, connection: socket.socket, host: str, error: Exception) -> None:
        """Reject the association that a connection asks for, because there is nothing left to serve it with."""
        what = "an association is rejected for now" if turn_away(connection) else "a connection is closed"
        _LOGGER.error("%s, from %s: %s", what, host, getattr(error, "strerror", error))

    def server_close(self) -> None:
        """Stop listening."""
        super().server_close()
        self._spare.close()

    def _prepare(self, connection: socket.socket) -> socket.socket:
        connection.settimeout(self.limits.deadline_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connection

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Tell whether anybody may come from this address; where not, the connection closes without an answer."""
        host = client_address[0]
        if self._senders.may_connect(host) or self.archive.reporters.may_connect(host) or comes_from_here(request):
            return True
        _LOGGER.warning("connection from %s closed: no sender has this address", client_address[0])
        self.archive.trail.alert(AuditEvent.CONNECTION_REFUSED, host=host, reason="no sender has this address")
        self._note_end()
        return False

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection, in its own thread: TLS handshake first, where there is TLS."""
        try:
            if self._tls:
                request = self._secure(request, client_address[0], self._tls.context)
            self.finish_request(request, client_address)
        except ssl.SSLEOFError:  # somebody looked whether the port is open, and left
            self.shutdown_request(request)
            self._note_end()
        except (OSError, RuntimeError) as error:  # a handshake that failed
            _LOGGER.warning("connection from %s failed: %s", client_address[0], error)
            self.archive.trail.alert(AuditEvent.CONNECTION_REFUSED, host=client_address[0], reason=error)
            self.shutdown_request(request)
            self._note_end()

    def _secure(self, connection: socket.socket, host: str, context: ssl.SSLContext) -> ssl.SSLSocket:
        """Do the TLS handshake, the whole of it within its time, and only so many of an address at once."""
        with self._lock:
            self._handshakes[host] += 1
            too_many = self._handshakes[host] > _WAITING_PER_ADDRESS
        try:
            if too_many:
                raise ConnectionError("too many TLS handshakes at once")
            connection.settimeout(_TLS_HANDSHAKE_S)
            return context.wrap_socket(connection, server_side=True)
        finally:
            with self._lock:
                self._handshakes[host] -= 1
                if not self._handshakes[host]:
                    del self._handshakes[host]

    def service_actions(self) -> None:
        """Do without the garbage collection that pynetdicom forces here: it stops all associations for its time."""

    # Associations

    def remember(self, assoc: AcceptedAssociation) -> None:
        """Note a new connection; where too many of its address have no association, the oldest makes room."""
        with self._lock:
            self._open[assoc] = False
            waiting = [one for one, established in self._open.items() if not established and one.host == assoc.host]
        if len(waiting) > _WAITING_PER_ADDRESS:
            waiting[0].disconnect()

    def admit(self, event: evt.Event) -> None:
        """Reject an association request that comes from the wrong sender, or one too many."""
        assoc = cast("AcceptedAssociation", event.assoc)
        calling_ae_title = cast("A_ASSOCIATE", assoc.requestor.primitive).calling_ae_title
        may_send = self._senders.may_send(calling_ae_title, assoc.host, assoc.certificate)
        is_own = calling_ae_title == self.ae_title and assoc.is_from_here
        if not (may_send or is_own or self.archive.reporters.may_report(calling_ae_title, assoc.host)):
            rejection = NOT_A_SENDER
            reason = f"not a known sender, or not from this address{_name(assoc.certificate)}"
        elif not self.association_limit.enter(assoc.host):
            rejection = TOO_MANY
            reason = "too many associations"
        else:
            with self._lock:
                self._open[assoc] = True
            may_report = bool(self.archive.reporters.names(calling_ae_title))
            chosen = choose_contexts(self.contexts, may_send=may_send, may_report=may_report)
            assoc.acceptor.supported_contexts = chosen
            level = logging.DEBUG if is_own and not may_send else logging.INFO  # the worker asks every minute
            _LOGGER.log(level, "association with %r at %s", calling_ae_title, assoc.host)
            return
        self._note_rejection(assoc, reason)
        assoc.acse.send_reject(*rejection)
        assoc.kill()

    def note_wrong_number(self, event: evt.Event) -> None:
        """Note that pynetdicom has rejected an association, which it does where another AE title was called."""
        self._note_rejection(cast("AcceptedAssociation", event.assoc), "it called another AE title")

    def _note_rejection(self, assoc: AcceptedAssociation, reason: str) -> None:
        calling = cast("A_ASSOCIATE", assoc.requestor.primitive).calling_ae_title
        _LOGGER.warning("association rejected: %r at %s: %s", calling, assoc.host, reason)
        self.archive.trail.alert(
            AuditEvent.ASSOCIATION_REFUSED, calling_ae_title=calling, host=assoc.host, reason=reason
        )

    def forget(self, assoc: AcceptedAssociation) -> None:
        """Note the end of a connection."""
        with self._lock:
            established = self._open.pop(assoc, False)
        if established:
            self.association_limit.leave(assoc.host)
        self._note_end()

    def _note_end(self) -> None:
        """Do what is to be done when a connection is over."""

    @property
    def connections(self) -> list[AcceptedAssociation]:
        """Connections that are open, with an association or without."""
        with self._lock:
            return list(self._open)


def _name(certificate: PeerCertificate | None) -> str:
    """Name a certificate in a log line, so that whoever wants to let it in can copy it from there."""
    return f", or not with certificate {certificate.subject!r}, SHA-256 {certificate.sha256}" if certificate else ""
