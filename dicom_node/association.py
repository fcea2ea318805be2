"""Associations that this node requests."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy

from pynetdicom import AE, _config
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AddressInformation

from dicom_node.errors import AssociationError, RejectedError, describe_failure
from dicom_node.settings import Archive
from dicom_node.tls import tls_args
from dicom_node.upper_layer.connection import PDULimits
from dicom_node.upper_layer.host_names import look_up
from dicom_node.upper_layer.requestor import RequestedAssociation, RequestingSocket
from inference.phrases import Phrase

# Both would write data sets, and with them names, into the log.
_config.LOG_REQUEST_IDENTIFIERS = False
_config.LOG_RESPONSE_IDENTIFIERS = False

MAXIMUM_PDU_BYTES = 131_072
"""Of a PDU that this node takes where it has requested the association."""
_ACCEPTED, _PERMANENT = 0, 1
"""Results of an A-ASSOCIATE-AC and -RJ (PS3.8 Table 9-21)."""


@contextmanager
def request_association(
    archive: Archive, ae_title: str, contexts: Sequence[PresentationContext]
) -> Iterator[RequestedAssociation]:
    """Associate with `archive` in the name of `ae_title`; released on leaving.

    What the archive does to an association that is open ends it; `assoc.dul.trouble` says what it was.

    Raises
    ------
    AssociationError
        None could be had: refused, rejected, aborted or timed out. RejectedError where it was rejected for good.
    """
    assoc = _build(archive, ae_title, contexts)
    try:
        _request(assoc, archive)
        assoc.start()
        yield assoc
    finally:
        assoc.end()


def _build(archive: Archive, ae_title: str, contexts: Sequence[PresentationContext]) -> RequestedAssociation:
    ae = AE(ae_title=ae_title)
    ae.acse_timeout = archive.response_timeout_s
    ae.dimse_timeout = archive.response_timeout_s
    ae.network_timeout = archive.response_timeout_s
    tls = tls_args(archive)
    limits = PDULimits(maximum_pdu_bytes=MAXIMUM_PDU_BYTES, deadline_s=archive.response_timeout_s)
    assoc = RequestedAssociation(ae, limits)
    deadline = time.monotonic() + archive.connection_timeout_s
    try:
        address = look_up(archive.host, archive.connection_timeout_s)
        assoc.acceptor.address_info = AddressInformation.from_addr_port(address, archive.port)
        assoc.set_socket(RequestingSocket(assoc, assoc.acceptor.address_info, tls))
    except (OSError, ValueError) as error:  # a name that cannot be resolved, or is none
        late = isinstance(error, TimeoutError)
        reason: str = Phrase("its name is not resolved in time") if late else describe_failure(error)
        why = Phrase("{host} cannot be reached: {why}", host=archive.host, why=reason)
        raise AssociationError(_told(archive, why)) from error
    assoc.connection_timeout = max(deadline - time.monotonic(), 0.001)
    assoc.acceptor.ae_title = archive.ae_title
    proposed = deepcopy(list(contexts))
    for number, context in enumerate(proposed):
        context.context_id = 2 * number + 1
    assoc.requestor.requested_contexts = proposed
    return assoc


def _request(assoc: RequestedAssociation, archive: Archive) -> None:
    try:
        assoc.request()
    except Exception as error:  # pynetdicom raises what it happens to stumble over in an answer
        why: str = Phrase("its answer to the association request makes no sense")
        raise AssociationError(_told(archive, why)) from error
    if assoc.is_established:
        return
    _look_for_rejection(assoc)
    answer = assoc.acceptor.primitive
    if assoc.is_rejected and answer is not None and answer.result == _PERMANENT:
        reason = Phrase(answer.reason_str.lower())  # as dicom_node.languages.labels has them
        raise RejectedError(_told(archive, Phrase("rejected the association for good: {reason}", reason=reason)))
    assoc.kill()
    # What goes wrong over TLS before a word of DICOM was heard has mostly to do with TLS.
    why = _why_not(assoc, archive)
    if archive.tls is not None and not assoc.dul.has_heard:
        why = Phrase("{why}, over TLS (do both sides trust each other's certificate?)", why=why)
    raise AssociationError(_told(archive, why))


def _look_for_rejection(assoc: RequestedAssociation) -> None:
    """Find the rejection after which the connection was closed before pynetdicom looked whether it was ever made."""
    answer: object = assoc.dul.peek_next_pdu()
    if isinstance(answer, A_ASSOCIATE) and answer.result != _ACCEPTED:
        assoc.is_rejected, assoc.acceptor.primitive = True, answer


def _told(archive: Archive, why: str) -> str:
    return Phrase("{name}: {why}", name=archive.name, why=why)


def _why_not(assoc: RequestedAssociation, archive: Archive) -> str:
    answer = assoc.acceptor.primitive
    if assoc.is_rejected:
        return Phrase("rejected the association for now")
    if answer is not None and answer.result == _ACCEPTED:
        return Phrase("accepts nothing of what is proposed to it")
    if assoc.dul.trouble:
        return assoc.dul.trouble
    if assoc.is_aborted:
        return Phrase("aborted the association")
    return Phrase("did not answer the association request within {limit:g} s", limit=archive.response_timeout_s)
