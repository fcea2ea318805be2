"""Encode which images of a study have a finding as a Key Object Selection Document (PS3.3 A.35.4)."""

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom import Dataset
from pydicom.sr.codedict import codes

from dicom_node.encode import provenance
from dicom_node.encode.evidence import build_evidence, describe_result
from dicom_node.encode.identification import read_text
from dicom_node.encode.provenance import Origin
from dicom_node.encode.report import wording
from dicom_node.encode.secondary_capture import describe_later_version
from dicom_node.identity import DISCLAIMER
from dicom_node.values import AnalysedInstance, ResultKind
from inference.overlay import HEADLINES
from inference.probabilities import format_fracture_probability
from inference.types import Decision

_KIND = ResultKind.KEY_OBJECTS
_FINDINGS = (Decision.FRACTURE, Decision.UNCERTAIN)


def encode_key_objects(origin: Origin) -> Dataset | None:
    """Encode the selection of the images with a suspected or an uncertain fracture; None where there are none."""
    found = [
        image
        for image in origin.analysis.images
        if image.analysis.decision in _FINDINGS and read_text(image.instance.header, "SeriesInstanceUID")
    ]
    if not found:
        return None
    evidence = [build_evidence(origin, image.instance) for image in found]
    said = " ".join(_describe(image) for image in found)
    description = f"{said}{describe_later_version(origin)} {DISCLAIMER}"
    ds = KeyObjectSelectionDocument(
        evidence=evidence,
        content=KeyObjectSelection(codes.DCM.OfInterest, evidence, description=description),
        series_instance_uid=origin.derive_uid(_KIND, "series"),
        series_number=1,
        sop_instance_uid=origin.derive_uid(_KIND),
        instance_number=1,
    )
    describe_result(ds, origin, origin.header, _KIND, "Fracture AI key images. Research use only")
    provenance.add_content_time(ds, origin)
    provenance.add_sop_common(ds, origin, origin.header, provenance.list_spoken(origin))
    return ds


def _describe(image: AnalysedInstance) -> str:
    analysis = image.analysis
    probability = f" {format_fracture_probability(analysis.fracture)}" if analysis.fracture else ""
    return f"{wording.describe_image(image.instance.header)}: {HEADLINES[analysis.decision]}{probability}."
