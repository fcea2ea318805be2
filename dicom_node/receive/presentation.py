"""Which SOP classes and transfer syntaxes associations are accepted for."""

from pydicom import uid
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made from a table at import

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
    """Build what is accepted: Verification and all storage SOP classes of this node."""
    return [
        build_context(Verification, [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian]),
        *(build_context(sop_class, list(TRANSFER_SYNTAXES)) for sop_class in STORAGE_CLASSES),
    ]
