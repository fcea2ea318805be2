"""An association that a peer has asked for, from its connection to its end; `listener` counts them."""

import errno
import ssl
import threading
from typing import TYPE_CHECKING, cast

from pynetdicom import AE, evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.transport import RequestHandler

from dicom_node.receive.admission import comes_from_here
from dicom_node.receive.messages import Messages
from dicom_node.receive.scarcity import SCARCE
from dicom_node.receive.upper_layer import UpperLayer
from dicom_node.tls import PeerCertificate, read_peer_certificate
from dicom_node.upper_layer.connection import BoundedSocket

if TYPE_CHECKING:
    from dicom_node.receive.listener import Listener


class AcceptedAssociation(Association):
    """An association that a peer has asked for."""

    _server: "Listener"
    dul: UpperLayer
    dimse: Messages

    def __init__(self, ae: AE, server: "Listener") -> None:
        super().__init__(ae, MODE_ACCEPTOR)
        self._server = server
        self.host = ""
        self.is_from_here = False
        """Whether the peer is a process of this machine, such as the node's own worker, which looks after this one."""
        self.certificate: PeerCertificate | None = None
        self.dul = UpperLayer(self, server.limits)
        self.dimse = Messages(self, server.archive)
        # Once more, now that the timers they set are those of this upper layer.
        self.acse_timeout, self.network_timeout = ae.acse_timeout, ae.network_timeout

    def start(self) -> None:
        """Start the thread of the association; where there is none for it, reject it in the present one."""
        try:
            super().start()
        except RuntimeError as error:  # there is no room for one more
            self._turn_away(error)
            self._server.forget(self)

    def run_reactor(self) -> None:
        """Run until the association is over."""
        try:
            super().run_reactor()
        except (OSError, RuntimeError) as error:
            # Before its upper layer runs there is nothing in this program that could be wrong.
            if self.dul.ident is not None or getattr(error, "errno", errno.ENOMEM) not in SCARCE:
                raise
            self._turn_away(error)
        finally:
            self.disconnect()
            self._server.forget(self)

    def _turn_away(self, error: Exception) -> None:
        """Reject the association request that comes, and close: there is nothing left to serve it with."""
        connection = cast("BoundedSocket", self.dul.socket).socket
        if connection is not None:
            self._server.turn_away(connection, self.host, error)
            self._server.shutdown_request(connection)

    def disconnect(self) -> None:
        """Break the connection; the threads that read from it find that out and end."""
        self.dul.break_off()

    def _abort_blocking(self, block: bool = True) -> None:
        # The upper layer's thread cannot wait for itself.
        super()._abort_blocking(block and threading.current_thread() is not self.dul)


class ConnectionHandler(RequestHandler):
    """Turns an accepted connection into an association."""

    server: "Listener"

    def _create_association(self) -> AcceptedAssociation:
        assoc = AcceptedAssociation(self.ae, self.server)
        # pynetdicom finds the associations of a server by this name.
        assoc.name = "AcceptorThread"
        assoc.host = self.remote.address
        assoc.is_from_here = comes_from_here(self.request)
        if isinstance(self.request, ssl.SSLSocket):
            assoc.certificate = read_peer_certificate(self.request)
        assoc.set_socket(BoundedSocket(assoc, client_socket=self.request))
        assoc.acceptor.maximum_length = self.ae.maximum_pdu_size
        assoc.acceptor.ae_title = self.server.ae_title
        assoc.acceptor.address_info = self.local
        assoc.acceptor.implementation_class_uid = self.ae.implementation_class_uid
        assoc.acceptor.implementation_version_name = self.ae.implementation_version_name
        assoc.acceptor.supported_contexts = self.server.contexts
        assoc.requestor.address_info = self.remote
        assoc.bind(evt.EVT_REQUESTED, self.server.admit)
        assoc.bind(evt.EVT_REJECTED, self.server.note_wrong_number)
        self.server.remember(assoc)
        return assoc
