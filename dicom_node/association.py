"""Associations that this node requests, without the races of pynetdicom's requestor."""

import queue
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from dicom_node.errors import AssociationError, RejectedError
from dicom_node.settings import Archive
from dicom_node.tls import tls_args

# Both would write data sets, and with them names, into the log.
_config.LOG_REQUEST_IDENTIFIERS = False
_config.LOG_RESPONSE_IDENTIFIERS = False

MAXIMUM_PDU_BYTES = 131_072
"""Of a PDU that this node takes where it has requested the association."""
_PERMANENT = 1
"""Result of an A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""


@contextmanager
def request_association(
    archive: Archive, ae_title: str, contexts: Sequence[PresentationContext]
) -> Iterator[Association]:
    """Associate with `archive` in the name of `ae_title`; released on leaving.

    Raises
    ------
    AssociationError
        None could be had: refused, rejected, aborted or timed out. RejectedError where it was rejected for good.
    """
    ae = AE(ae_title=ae_title)
    ae.connection_timeout = archive.connection_timeout_s
    ae.acse_timeout = archive.response_timeout_s
    ae.dimse_timeout = archive.response_timeout_s
    ae.network_timeout = archive.response_timeout_s
    ae.maximum_pdu_size = MAXIMUM_PDU_BYTES
    try:
        assoc = ae.associate(
            archive.host,
            archive.port,
            contexts=list(contexts),
            ae_title=archive.ae_title,
            evt_handlers=[(evt.EVT_CONN_OPEN, _send_at_once)],
            tls_args=tls_args(archive),
        )
    except OSError as error:  # a name that cannot be resolved is not caught further down
        raise AssociationError(f"{archive.name}: {archive.host} cannot be reached: {error.strerror}") from error
    if assoc.is_rejected and assoc.acceptor.primitive is not None and assoc.acceptor.primitive.result == _PERMANENT:
        reason = assoc.acceptor.primitive.reason_str.lower()
        raise RejectedError(f"{archive.name}: rejected the association for good: {reason}")
    if not assoc.is_established:
        over_tls = ", over TLS (do both sides trust each other's certificate?)" if archive.tls else ""
        raise AssociationError(f"{archive.name}: {_why_not(assoc)}{over_tls}")
    _keep_responses(assoc)
    try:
        yield assoc
    finally:
        if assoc.is_established:
            assoc.release()


def _why_not(assoc: Association) -> str:
    if assoc.is_rejected:
        return "rejected the association for now"
    if assoc.is_aborted:
        return "aborted the association, or nothing listens there"
    return "no association (host, port and AE title right?)"


def _send_at_once(event: evt.Event) -> None:
    # Command and data set are two writes: with Nagle's algorithm and the peer's delayed ACK each object takes 44 ms.
    connection = event.assoc.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _keep_responses(assoc: Association) -> None:
    """Close two races of pynetdicom 3.0 between a requestor and its reactor thread.

    The reactor also polls for messages, without blocking, and can take a C-STORE response away from `send_c_store`
    under load: nothing but responses is expected here, so they are left to the blocking reader. And the one mark that
    wakes a blocking reader when the peer aborts is lost to whoever asks after it: the reader looks for itself.
    """
    messages = assoc.dimse.msg_queue
    timeout_s = assoc.dimse.dimse_timeout or 0.0

    def get_msg(block: bool = False) -> Any:
        deadline = time.monotonic() + timeout_s
        while block and time.monotonic() < deadline:
            try:
                return messages.get(timeout=0.1)
            except queue.Empty:
                if not assoc.dul.is_alive():
                    break
        return None, None

    assoc.dimse.get_msg = get_msg  # type: ignore[method-assign]  # the one place where the races can be closed
