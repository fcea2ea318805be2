"""Whether the receiver answers: asked by the worker, for a process that hangs tells nobody, and its port stays open."""

import logging
import socket
import ssl
import time

from dicom_node.deliver import verify_destination
from dicom_node.errors import AssociationError, describe_unforeseen
from dicom_node.settings import Destination, Settings, TLSFiles
from dicom_node.silence import Silence
from dicom_node.tls import read_certificate

_LOGGER = logging.getLogger(__name__)

PATIENCE_S = 10.0
"""How long the receiver may take for an answer, on a busy machine too."""
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # nothing listens here: where to ask is meant


class ReceiverWatch:
    """A tick of the scheduler: ask the receiver, and mark on the disk since when it has not answered.

    The mark is a file of the data folder, for every process of the node, and for the next worker.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self) -> None:
        """Ask. Idempotent."""
        try:
            problem = self._ask()
            if Silence(self._settings.node.receiver_silence).note(answers=not problem):
                _LOGGER.warning("the receiver does not answer: %s", problem)
        except Exception as error:  # noqa: BLE001  # the edge of the scheduler: the next tick asks again
            _LOGGER.error("the receiver could not be asked: %s", describe_unforeseen(error))  # noqa: TRY400  # no texts in logs

    def _ask(self) -> str:
        try:
            ask_receiver(self._settings)
        except AssociationError as error:
            return str(error)
        return ""


def ask_receiver(settings: Settings, *, within_s: float | None = None) -> str:
    """Ask the receiver of this machine for a sign of life; return in words what was asked for.

    Without TLS it is a C-ECHO in the node's own name, which the receiver answers to processes of its own machine. With
    TLS it is what a handshake begins with: the receiver shows its certificate. The handshake is left before it is this
    side's turn, for the node's certificate need not be one that the node's own senders must show.

    Raises
    ------
    AssociationError
        It is not the node that answers, or nobody does.
    """
    node, within_s = settings.node, PATIENCE_S if within_s is None else within_s
    host = _EVERY_ADDRESS.get(node.host, node.host)
    if settings.tls is not None and settings.has_incoming_tls:
        _ask_for_certificate(host, node.port, settings.tls, within_s)
        return f"TLS with {settings.tls.certificate}"
    itself = Destination(
        name="receiver",
        ae_title=node.ae_title,
        host=host,
        port=node.port,
        connection_timeout_s=within_s,
        response_timeout_s=within_s,
    )
    verify_destination(itself, node.ae_title)
    return f"C-ECHO to {node.ae_title}"


def _ask_for_certificate(host: str, port: int, files: TLSFiles, within_s: float) -> None:
    try:
        expected = ssl.PEM_cert_to_DER_cert(read_certificate(files.certificate))
        shown = _see_certificate(host, port, within_s)
    except (OSError, ValueError) as error:
        raise AssociationError(f"receiver: {type(error).__name__}") from error
    if shown != expected:
        raise AssociationError("receiver: another certificate than that of [tls] is shown there")


def _see_certificate(host: str, port: int, within_s: float) -> bytes | None:
    """Return the certificate (DER) that is shown there; OSError where none is in time.

    TLS 1.3 alone is offered, which every receiver speaks: the server has shown all of its side before the client's
    certificate is asked for. What answers it is not sent, and the end of the connection is an ordinary one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # compared with the node's own, byte for byte
    said, heard = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(heard, said)
    deadline = time.monotonic() + within_s
    with socket.create_connection((host, port), timeout=within_s) as connection:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.sendall(said.read())
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            piece = connection.recv(65_536)
            if not piece:
                raise ConnectionError
            heard.write(piece)
        connection.shutdown(socket.SHUT_WR)
    return tls.getpeercert(binary_form=True)
