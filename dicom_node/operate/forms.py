"""Which forms of the results an archive accepts, as far as it is to get them."""

from pydicom.uid import (
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    SecondaryCaptureImageStorage,
)

from dicom_node.deliver import find_accepted
from dicom_node.operate.finding import Finding
from dicom_node.settings import DEFAULT_ENCODINGS, Destination, Encoding

_CLASSES = {
    Encoding.SECONDARY_CAPTURE: SecondaryCaptureImageStorage,
    Encoding.REPORT: EncapsulatedPDFStorage,
    Encoding.STRUCTURED_REPORT: Comprehensive3DSRStorage,
    Encoding.PRESENTATION_STATE: GrayscaleSoftcopyPresentationStateStorage,
    Encoding.KEY_OBJECTS: KeyObjectSelectionDocumentStorage,
}


def check_forms(destination: Destination, ae_title: str) -> Finding:
    """Check that an archive accepts what it is to get: captures and reports are parked where it does not.

    Raises
    ------
    AssociationError
        No association could be had.
    """
    accepted = find_accepted(destination, ae_title, [_CLASSES[form] for form in destination.results])
    subject = f"results {destination.name}"
    refused = [form for form in destination.results if _CLASSES[form] not in accepted]
    vital = [form for form in refused if form in DEFAULT_ENCODINGS]
    if vital:
        says = f"does not accept: {', '.join(vital)}; they will be parked"
        remedy = "let the archive accept them from this node, or take them out of its results"
        return Finding(subject=subject, ok=False, says=says, remedy=remedy)
    left_out = f"; not accepted, and left out: {', '.join(refused)}" if refused else ""
    taken = [form for form in destination.results if form not in refused]
    return Finding(subject=subject, ok=True, says=f"accepts: {', '.join(taken)}{left_out}")
