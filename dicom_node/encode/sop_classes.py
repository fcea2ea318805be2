"""Of which SOP class each kind of result object is: what the node sends, in one place."""

from pydicom import uid

from dicom_node.settings import ResultSettings
from dicom_node.values import ResultKind

RESULT_SOP_CLASSES: dict[ResultKind, uid.UID] = {
    ResultKind.SECONDARY_CAPTURE: uid.SecondaryCaptureImageStorage,
    ResultKind.ENCAPSULATED_PDF: uid.EncapsulatedPDFStorage,
    ResultKind.REJECTION_NOTE: uid.KeyObjectSelectionDocumentStorage,
}


def kinds_made(results: ResultSettings) -> list[ResultKind]:
    """List the kinds of objects that the node makes under a configuration."""
    return [kind for kind in RESULT_SOP_CLASSES if kind is not ResultKind.REJECTION_NOTE or results.reject_superseded]
