"""Which SOP classes and transfer syntaxes associations are accepted for."""

from collections.abc import Iterable

from pydicom import uid
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made from a table at import

from dicom_node.storage_commitment import PUSH_MODEL

RADIOGRAPHS = (
    uid.ComputedRadiographyImageStorage,
    uid.DigitalXRayImageStorageForPresentation,
    uid.DigitalXRayImageStorageForProcessing,
)
SECONDARY_CAPTURES = (
    # Converters of computed radiographs and film digitisers send Secondary Captures.
    uid.SecondaryCaptureImageStorage,
    uid.MultiFrameSingleBitSecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
)
OTHERS = (
    # An archive that forwards whole studies counts the forward as failed when one of its objects is refused.
    uid.GrayscaleSoftcopyPresentationStateStorage,
    uid.KeyObjectSelectionDocumentStorage,
    uid.BasicTextSRStorage,
    uid.EnhancedSRStorage,
    uid.ComprehensiveSRStorage,
    uid.Comprehensive3DSRStorage,
    uid.EncapsulatedPDFStorage,
)
STORAGE_CLASSES = (*RADIOGRAPHS, *SECONDARY_CAPTURES, *OTHERS)
RESULT_CLASSES = frozenset((*SECONDARY_CAPTURES, *OTHERS))
"""SOP classes that results of this software may have: not those of radiographs."""

TRANSFER_SYNTAXES = (
    # In order of preference: the first of these that the peer offers is the one that is used (PS3.8 7.1.1.14).
    # Not among them: Deflated (a small object can inflate without bound), Big Endian (retired), video.
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
    uid.RLELossless,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLSNearLossless,
    uid.JPEG2000,
)


def build_contexts() -> list[PresentationContext]:
    """Build what is accepted: Verification, all storage SOP classes of this node, and storage commitment's reports."""
    # The archive is the SCP of storage commitment also where it asks for the association (PS3.4 J.3.3).
    reports = build_context(PUSH_MODEL, [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
    reports.scu_role, reports.scp_role = False, True
    return [
        reports,
        build_context(Verification, [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian]),
        *(build_context(sop_class, list(TRANSFER_SYNTAXES)) for sop_class in STORAGE_CLASSES),
    ]


def choose_contexts(
    contexts: Iterable[PresentationContext], *, may_send: bool, may_report: bool
) -> list[PresentationContext]:
    """Choose what a peer may use: storage for senders, storage commitment for archives that may be asked for it."""
    allowed = {PUSH_MODEL: may_report, Verification: True}
    return [context for context in contexts if allowed.get(context.abstract_syntax, may_send)]
