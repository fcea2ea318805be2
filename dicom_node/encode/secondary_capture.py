"""Encode the overlay on a radiograph as a Secondary Capture Image (PS3.3 A.8.1).

The picture has the source's rows and columns, so that its spacing, aspect and orientation are the source's own.
"""

from collections.abc import Sequence

from highdicom.sc import SCImage
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pydicom.valuerep import format_number_as_ds

from dicom_node.encode import provenance
from dicom_node.encode.identification import add_patient_module, add_study_modules, read_text, read_valid
from dicom_node.encode.provenance import Origin
from dicom_node.encode.versions import describe_version, list_predecessors
from dicom_node.header import code, numbers
from dicom_node.identity import DISCLAIMER, MANUFACTURER
from dicom_node.values import AnalysedInstance, ResultKind
from inference.overlay import HEADLINES
from inference.phrases import format_label
from inference.probabilities import format_fracture_probability, format_probability
from inference.types import RadiographAnalysis, UInt8Array

_KIND = ResultKind.SECONDARY_CAPTURE


def encode_secondary_capture(origin: Origin, image: AnalysedInstance, overlay: UInt8Array, *, number: int) -> Dataset:
    """Encode `overlay`, shape (rows, columns, 3) RGB, as instance `number` of the revision's overlay series."""
    header = image.instance.header
    uid = origin.derive_uid(_KIND, image.instance.sop_instance_uid)
    ds = build_capture(origin, header, overlay, sop_instance_uid=uid, number=number)
    _add_general_image(ds, origin, image)
    _add_general_reference(ds, origin, image)
    _add_geometry(ds, header)
    provenance.add_sop_common(ds, origin, header, image.analysis.models)
    provenance.add_common_instance_reference(ds, [image.instance])
    return ds


def build_capture(
    origin: Origin, header: Dataset, pixels: UInt8Array, *, sop_instance_uid: UID, number: int
) -> Dataset:
    """Build what all pictures of the series have: pixels, shape (rows, columns, 3) RGB, patient, study, series."""
    ds = SCImage(
        pixel_array=pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),  # replaced below; the constructor takes no unknown orientation
        study_instance_uid=origin.analysis.study.study_instance_uid,
        series_instance_uid=origin.derive_uid(_KIND, "series"),
        series_number=1,
        sop_instance_uid=sop_instance_uid,
        instance_number=number,
        manufacturer=MANUFACTURER,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    add_patient_module(ds, header)
    add_study_modules(ds, header, origin.analysis.study.study_instance_uid)
    _add_series(ds, origin)
    provenance.add_equipment(ds, origin)
    provenance.add_content_time(ds, origin)
    ds.DateOfSecondaryCapture, ds.TimeOfSecondaryCapture = ds.ContentDate, ds.ContentTime
    ds.ImageType = ["DERIVED", "SECONDARY"]
    ds.BurnedInAnnotation, ds.RecognizableVisualFeatures = "YES", "NO"
    return ds


def _add_series(ds: Dataset, origin: Origin) -> None:
    """Add the General Series Module (PS3.3 C.7.3.1); the body part only where all sources of the series agree."""
    provenance.add_general_series(ds, origin, _KIND, "Fracture AI overlay. Research use only")
    ds.Modality = "OT"
    parts = {read_valid(image.instance.header, "BodyPartExamined") for image in origin.analysis.images}
    if len(parts) == 1 and "" not in parts:
        ds.BodyPartExamined = parts.pop()


def _add_general_image(ds: Dataset, origin: Origin, image: AnalysedInstance) -> None:
    """Add the General Image Module (PS3.3 C.7.6.1)."""
    header = image.instance.header
    ds.PatientOrientation = _read_orientation(header)
    add_side(ds, read_side(header))
    ds.ImageComments = f"{summarise(image.analysis)}.{describe_later_version(origin)} {DISCLAIMER}"
    _add_lossy_compression(ds, header)


def _add_lossy_compression(ds: Dataset, header: Dataset) -> None:
    """Say that the source went through lossy compression: what is derived from it did too (PS3.3 C.7.6.1.1.5)."""
    if code(header, "LossyImageCompression") != "01":
        return
    ds.LossyImageCompression = "01"
    if ratios := numbers(header, "LossyImageCompressionRatio"):
        ds.LossyImageCompressionRatio = [format_number_as_ds(ratio) for ratio in ratios]
    if methods := read_text(header, "LossyImageCompressionMethod").split():
        ds.LossyImageCompressionMethod = [method[:16] for method in methods]


def _add_general_reference(ds: Dataset, origin: Origin, image: AnalysedInstance) -> None:
    """Add the General Reference Module (PS3.3 C.12.4): this picture is its source, pixel for pixel, with marks.

    Predecessor documents are for documents. A superseded picture is an image that is significantly related; CID 7201
    has no purpose for it, so that the text says what it is.
    """
    models = ", ".join(f"{model.name} {model.version}" for model in image.analysis.models) or "no model"
    said = f"{DISCLAIMER}{describe_later_version(origin)} Grad-CAM and legend drawn on the source image; {models}."
    ds.DerivationDescription = said[:1024]
    if predecessors := list_predecessors(
        origin.analysis.study, image.instance.sop_instance_uid, SecondaryCaptureImageStorage, origin.language
    ):
        ds.ReferencedImageSequence = predecessors
    source = provenance.refer_to(image.instance, codes.DCM.SourceImageForImageProcessingOperation)
    source.SpatialLocationsPreserved = "YES"
    ds.SourceImageSequence = [source]


def _add_geometry(ds: Dataset, header: Dataset) -> None:
    """Copy spacing and aspect: the pixels are the source's (PS3.3 10.7, C.7.6.3.1.7)."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        if is_pair(spacing := numbers(header, keyword)):
            setattr(ds, keyword, [format_number_as_ds(value) for value in spacing])
            if keyword == "PixelSpacing" and (kind := read_valid(header, "PixelSpacingCalibrationType")):
                ds.PixelSpacingCalibrationType = kind
                ds.PixelSpacingCalibrationDescription = read_text(header, "PixelSpacingCalibrationDescription")[:64]
    ratio = numbers(header, "PixelAspectRatio")
    if is_pair(ratio) and all(value.is_integer() for value in ratio) and ratio[0] != ratio[1]:
        ds.PixelAspectRatio = [int(value) for value in ratio]


def describe_later_version(origin: Origin) -> str:
    """Say which version it is, as one more sentence; nothing of the first one."""
    study = origin.analysis.study
    return f" {describe_version(study)}." if study.version > 1 else ""


def summarise(analysis: RadiographAnalysis) -> str:
    """Say in one line what the pipeline says, in the words of the overlay."""
    said: list[str] = [HEADLINES[analysis.decision]]
    if analysis.fracture is not None:
        said.append(f"fracture probability {format_fracture_probability(analysis.fracture)}")
    if (named := analysis.fracture_type) is not None:
        said.append(f"most probable type {format_label(named.label)} {format_probability(named.confidence)}")
    if analysis.region is not None:
        confidence = format_probability(analysis.region.confidence)
        said.append(f"region {format_label(analysis.region.region)} {confidence}")
    return "; ".join(said)


def read_side(header: Dataset) -> str:
    """Return which side of the body a source shows, R, L, U (unpaired) or B (both); empty where it does not say."""
    side = code(header, "ImageLaterality") or code(header, "Laterality")
    return side if side in {"R", "L", "U", "B"} else ""


def add_side(ds: Dataset, side: str) -> None:
    """Say which side of the body a picture shows."""
    if side:
        ds.ImageLaterality = side
    else:
        ds.Laterality = ""  # type 2C: paired or not, nothing says which side


def is_pair(values: Sequence[float]) -> bool:
    """Tell whether a header's values are two that mean something, as spacing and aspect must be."""
    return len(values) == 2 and min(values) > 0


def _read_orientation(header: Dataset) -> list[str]:
    """Return PatientOrientation (PS3.3 C.7.6.1.1.1) where it is a valid pair, else nothing (type 2C)."""
    pair = read_text(header, "PatientOrientation").split()
    return pair if len(pair) == 2 and all(set(way) <= set("APRLHF") and len(way) <= 3 for way in pair) else []
