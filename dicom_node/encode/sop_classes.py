"""What the node makes and sends, in one place: kinds of result objects, their SOP classes, and who gets which."""

from collections.abc import Collection

from pydicom import uid

from dicom_node.settings import Encoding, Settings
from dicom_node.store import Profile
from dicom_node.values import ResultKind

RESULT_SOP_CLASSES: dict[ResultKind, uid.UID] = {
    ResultKind.SUMMARY: uid.SecondaryCaptureImageStorage,
    ResultKind.SECONDARY_CAPTURE: uid.SecondaryCaptureImageStorage,
    ResultKind.ENCAPSULATED_PDF: uid.EncapsulatedPDFStorage,
    ResultKind.STRUCTURED_REPORT: uid.Comprehensive3DSRStorage,
    ResultKind.PRESENTATION_STATE: uid.GrayscaleSoftcopyPresentationStateStorage,
    ResultKind.KEY_OBJECTS: uid.KeyObjectSelectionDocumentStorage,
    ResultKind.REJECTION_NOTE: uid.KeyObjectSelectionDocumentStorage,
}

_ENCODINGS = {
    ResultKind.SUMMARY: Encoding.SECONDARY_CAPTURE,
    ResultKind.SECONDARY_CAPTURE: Encoding.SECONDARY_CAPTURE,
    ResultKind.ENCAPSULATED_PDF: Encoding.REPORT,
    ResultKind.STRUCTURED_REPORT: Encoding.STRUCTURED_REPORT,
    ResultKind.PRESENTATION_STATE: Encoding.PRESENTATION_STATE,
    ResultKind.KEY_OBJECTS: Encoding.KEY_OBJECTS,
}
"""What an object is part of; a rejection note goes to every destination."""


def list_kinds(encodings: Collection[Encoding]) -> frozenset[ResultKind]:
    """List the kinds of objects that a destination gets; captures always, and what rejects them."""
    wanted = {*encodings, Encoding.SECONDARY_CAPTURE}
    return frozenset(kind for kind in ResultKind if kind not in _ENCODINGS or _ENCODINGS[kind] in wanted)


def list_profiles(settings: Settings) -> dict[str, Profile]:
    """List what each destination gets, by its name."""
    return {
        one.name: Profile(kinds=list_kinds(one.results), language=one.language or settings.results.language)
        for one in settings.destinations
    }


def kinds_made(settings: Settings) -> list[ResultKind]:
    """List the kinds of objects that the node makes under a configuration."""
    wanted = {kind for profile in list_profiles(settings).values() for kind in profile.kinds}
    if not settings.results.reject_superseded:
        wanted.discard(ResultKind.REJECTION_NOTE)
    return [kind for kind in RESULT_SOP_CLASSES if kind in wanted]
