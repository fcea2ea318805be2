"""Storage and Verification SCU: send results, read the answer for each of them."""

import queue
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at run time

from dicom_node.errors import AssociationError
from dicom_node.settings import Destination
from dicom_node.store import DeliveryState

# Both would write data sets, and with them names, into the log.
_config.LOG_REQUEST_IDENTIFIERS = False
_config.LOG_RESPONSE_IDENTIFIERS = False


@dataclass(frozen=True, kw_only=True)
class ResultFile:
    """A result object that is to be sent."""

    sop_instance_uid: str
    sop_class_uid: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What one attempt to send one object came to."""

    sop_instance_uid: str
    state: DeliveryState
    """PENDING: try again."""
    detail: str


def send_results(destination: Destination, ae_title: str, files: Sequence[ResultFile]) -> list[Delivery]:
    """Send result objects over one association; one answer for each file, in order.

    Raises
    ------
    AssociationError
        No association could be had: refused, rejected, aborted or timed out.
    """
    # Verification too: an archive that accepts none of the SOP classes would otherwise look like one that is away.
    contexts = [build_context(Verification)]
    contexts += [
        build_context(uid, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        for uid in dict.fromkeys(file.sop_class_uid for file in files)
    ]
    with _associate(destination, ae_title, contexts) as assoc:
        accepted = {context.abstract_syntax for context in assoc.accepted_contexts}
        return [_send(assoc, file, accepted=file.sop_class_uid in accepted) for file in files]


def verify_destination(destination: Destination, ae_title: str) -> None:
    """Send a C-ECHO.

    Raises
    ------
    AssociationError
        The destination does not answer with Success.
    """
    with _associate(destination, ae_title, [build_context(Verification)]) as assoc:
        status = assoc.send_c_echo()
        if "Status" not in status or status.Status != 0x0000:
            raise AssociationError(f"{destination.name}: C-ECHO was not answered with Success")


def classify_status(status: int | None) -> tuple[DeliveryState, str]:
    """Tell what an answer to C-STORE asks for (PS3.4 Table B.2-1, PS3.7 Annex C); None: there was no answer."""
    if status is None:
        return DeliveryState.PENDING, "no answer to C-STORE"
    said = f"C-STORE status 0x{status:04X}"
    if status in {0x0000, 0x0111} or status & 0xF000 == 0xB000 or status == 0x0001:
        # 0x0111, Duplicate SOP Instance: an earlier attempt arrived and only its answer was lost.
        return DeliveryState.SENT, "" if status == 0x0000 else said
    if status & 0xFF00 == 0xA700 or status in {0x0110, 0x0213}:
        # Out of resources, processing failure, resource limitation: the same object may be taken later.
        return DeliveryState.PENDING, said
    return DeliveryState.REFUSED, said


def _send(assoc: Association, file: ResultFile, *, accepted: bool) -> Delivery:
    if not accepted:
        detail = "the destination does not accept this SOP class"
        return Delivery(sop_instance_uid=file.sop_instance_uid, state=DeliveryState.REFUSED, detail=detail)
    try:
        answer = assoc.send_c_store(dcmread(file.path)).get("Status")
    except RuntimeError:  # pynetdicom's way to say that the association is gone
        answer = None
    state, detail = classify_status(answer)
    return Delivery(sop_instance_uid=file.sop_instance_uid, state=state, detail=detail)


@contextmanager
def _associate(
    destination: Destination, ae_title: str, contexts: Sequence[PresentationContext]
) -> Iterator[Association]:
    ae = AE(ae_title=ae_title)
    ae.connection_timeout = destination.connection_timeout_s
    ae.acse_timeout = destination.response_timeout_s
    ae.dimse_timeout = destination.response_timeout_s
    ae.network_timeout = destination.response_timeout_s
    ae.maximum_pdu_size = 131_072
    try:
        assoc = ae.associate(
            destination.host,
            destination.port,
            contexts=list(contexts),
            ae_title=destination.ae_title,
            evt_handlers=[(evt.EVT_CONN_OPEN, _send_at_once)],
        )
    except OSError as error:  # a name that cannot be resolved is not caught further down
        raise AssociationError(f"{destination.name}: {destination.host} cannot be reached: {error.strerror}") from error
    if not assoc.is_established:
        raise AssociationError(f"{destination.name}: {_why_not(assoc)}")
    _keep_responses(assoc)
    try:
        yield assoc
    finally:
        if assoc.is_established:
            assoc.release()


def _why_not(assoc: Association) -> str:
    if assoc.is_rejected:
        return "rejected the association (does it know this node's AE title?)"
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
