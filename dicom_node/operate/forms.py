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
from dicom_node.settings import Destination, Encoding

_CLASSES = {
    Encoding.SECONDARY_CAPTURE: SecondaryCaptureImageStorage,
    Encoding.REPORT: EncapsulatedPDFStorage,
    Encoding.STRUCTURED_REPORT: Comprehensive3DSRStorage,
    Encoding.PRESENTATION_STATE: GrayscaleSoftcopyPresentationStateStorage,
    Encoding.KEY_OBJECTS: KeyObjectSelectionDocumentStorage,
}


def check_forms(destination: Destination, ae_title: str) -> Finding:
    """Check that an archive accepts what it is to get: captures are parked where it does not, and the rest left out.

    Raises
    ------
    AssociationError
        No association could be had.
    """
    accepted = find_accepted(destination, ae_title, [_CLASSES[form] for form in destination.results])
    subject = f"results {destination.name}"
    refused = [form for form in destination.results if _CLASSES[form] not in accepted]
    if Encoding.SECONDARY_CAPTURE in refused:
        says = f"does not accept: {', '.join(refused)}; captures will be parked"
        remedy = "let the archive accept Secondary Captures from this node"
        return Finding(subject=subject, ok=False, says=says, remedy=remedy)
    left_out = f"; not accepted, and left out: {', '.join(refused)}" if refused else ""
    taken = [form for form in destination.results if form not in refused]
    return Finding(subject=subject, ok=True, says=f"accepts: {', '.join(taken)}{left_out}")
