"""Storage and Verification SCU: send results, read the answer for each of them."""

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at run time

from dicom_node.association import request_association
from dicom_node.errors import FILE_DAMAGED, AssociationError, describe_unforeseen
from dicom_node.settings import Destination
from dicom_node.store import DeliveryState
from dicom_node.upper_layer.requestor import RequestedAssociation
from inference.phrases import Phrase

_LOGGER = logging.getLogger(__name__)
_UNDEFINED_LENGTH = 0xFFFFFFFF
_NOTE_KNOWN, _NOTE_REFUSED = 0xA770, range(0xA770, 0xA780)
"""What dcm4chee answers a rejection note, A770 to A77F: it would say the same for ever, about what the note names.

The first of them says that it has the note already: the answer to an earlier attempt was lost.
"""


@dataclass(frozen=True, kw_only=True)
class ResultFile:
    """A result object that is to be sent."""

    sop_instance_uid: str
    sop_class_uid: str
    path: Path
    may_be_left_out: bool = False
    """Whether it is a further form of an answer that the destination has otherwise."""
    is_rejection_note: bool = False
    ds: Dataset | None = None
    """What is sent in place of the file."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What one attempt to send one object came to."""

    sop_instance_uid: str
    state: DeliveryState
    """PENDING: try again."""
    detail: str


def send_results(
    destination: Destination,
    ae_title: str,
    files: Sequence[ResultFile],
    *,
    begin: Callable[[], None] = lambda: None,
) -> list[Delivery]:
    """Send result objects over one association; one answer for each file, in order.

    `begin` is called when there is an association, before the first object goes out.

    Raises
    ------
    AssociationError
        No association could be had: refused, rejected, aborted or timed out.
    """
    contexts = propose_results(file.sop_class_uid for file in files)
    with request_association(destination, ae_title, contexts) as assoc:
        begin()
        refusals = {context.abstract_syntax: context.result for context in assoc.rejected_contexts}
        return [_send(assoc, file, refusals.get(UID(file.sop_class_uid))) for file in files]


def propose_results(sop_class_uids: Iterable[str]) -> list[PresentationContext]:
    """Build what is proposed to a destination that is sent results of these SOP classes."""
    # Verification too: an archive that accepts none of the SOP classes would otherwise look like one that is away.
    contexts = [build_context(Verification)]
    contexts += [
        build_context(uid, [ExplicitVRLittleEndian, ImplicitVRLittleEndian]) for uid in dict.fromkeys(sop_class_uids)
    ]
    return contexts


def verify_destination(destination: Destination, ae_title: str) -> None:
    """Send a C-ECHO.

    Raises
    ------
    AssociationError
        The destination does not answer with Success.
    """
    with request_association(destination, ae_title, [build_context(Verification)]) as assoc:
        status = assoc.send_c_echo()
        if "Status" not in status or status.Status != 0x0000:
            why = Phrase("C-ECHO was not answered with Success")
            raise AssociationError(Phrase("{name}: {why}", name=destination.name, why=why))


def find_accepted(destination: Destination, ae_title: str, sop_classes: Collection[UID]) -> frozenset[UID]:
    """Ask a destination which of these SOP classes it accepts.

    Raises
    ------
    AssociationError
        No association could be had.
    """
    with request_association(destination, ae_title, propose_results(sop_classes)) as assoc:
        accepted = {context.abstract_syntax for context in assoc.accepted_contexts}
    return frozenset(uid for uid in sop_classes if uid in accepted)


def classify_status(status: int | None, *, of_rejection_note: bool = False) -> tuple[DeliveryState, str]:
    """Tell what an answer to C-STORE asks for (PS3.4 Table B.2-1, PS3.7 Annex C); None: there was no answer."""
    if status is None:
        return DeliveryState.PENDING, Phrase("no answer to C-STORE")
    said = Phrase("C-STORE status {status}", status=f"0x{status:04X}")
    if of_rejection_note and status in _NOTE_REFUSED:
        return DeliveryState.SENT if status == _NOTE_KNOWN else DeliveryState.PARKED, said
    if status in {0x0000, 0x0111} or status & 0xF000 == 0xB000 or status == 0x0001:
        # 0x0111, Duplicate SOP Instance: an earlier attempt arrived and only its answer was lost.
        return DeliveryState.SENT, "" if status == 0x0000 else said
    if status & 0xFF00 == 0xA700 or status in {0x0110, 0x0213}:
        # Out of resources, processing failure, resource limitation: the same object may be taken later.
        return DeliveryState.PENDING, said
    return DeliveryState.PARKED, said


def _describe_refusal(result: int) -> str:
    if result == 4:
        return Phrase(
            "the destination accepts no transfer syntax that is offered for this SOP class"
            " (presentation context result 4)"
        )
    return Phrase("the destination accepts not this SOP class (presentation context result {result})", result=result)


def _read(path: Path) -> Dataset:
    """Read a result; ValueError where its file ends within an element, which pydicom overlooks."""
    ds = dcmread(path)
    # To go over a data set is to convert its elements.
    if any(_is_cut_off(ds.get_item(tag)) for tag in ds.keys()):  # noqa: SIM118
        raise ValueError("the file is cut off")
    return ds


def _is_cut_off(element: DataElement | RawDataElement) -> bool:
    return isinstance(element, RawDataElement) and len(element.value or b"") != element.length != _UNDEFINED_LENGTH


def _send(assoc: RequestedAssociation, file: ResultFile, refusal: int | None) -> Delivery:
    if refusal is not None:
        state, detail = DeliveryState.PARKED, _describe_refusal(refusal)
        if file.may_be_left_out:
            state = DeliveryState.LEFT_OUT
            detail = Phrase("{name}: {why}", name=UID(file.sop_class_uid).name, why=detail)
        return Delivery(sop_instance_uid=file.sop_instance_uid, state=state, detail=detail)
    try:
        ds = _read(file.path) if file.ds is None else file.ds
    except Exception as error:  # noqa: BLE001  # damaged bytes fail in many ways; the others go, and are not sent again
        _LOGGER.error("%s cannot be read: %s", file.sop_instance_uid, describe_unforeseen(error))  # noqa: TRY400  # no texts of exceptions in logs
        return Delivery(sop_instance_uid=file.sop_instance_uid, state=DeliveryState.PENDING, detail=FILE_DAMAGED)
    try:
        answer = assoc.send_c_store(ds).get("Status")
    except RuntimeError:  # pynetdicom's way to say that the association is gone
        answer = None
    state, detail = classify_status(answer, of_rejection_note=file.is_rejection_note)
    if answer is None and assoc.dul.trouble:
        trouble = Phrase("the destination {trouble}", trouble=assoc.dul.trouble)
        detail = Phrase("{name}: {why}", name=detail, why=trouble)
    return Delivery(sop_instance_uid=file.sop_instance_uid, state=state, detail=detail)
