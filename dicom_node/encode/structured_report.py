"""Encode what was said about a study as a Comprehensive 3D SR by the template Measurement Report (PS3.16 TID 1500).

As IHE AI Results (AIR) has it: a group of measurements and evaluations for each box, with its outline on the source
image (TID 1410), and for each image without any (TID 1501). What was not analysed has a group, too.
"""

from collections.abc import Iterator

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    ImageRegion,
    LanguageOfContentItemAndDescendants,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import Comprehensive3DSRStorage

from dicom_node.encode import provenance
from dicom_node.encode.evidence import build_evidence, describe_result
from dicom_node.encode.identification import read_text
from dicom_node.encode.provenance import Origin
from dicom_node.encode.report import wording
from dicom_node.encode.versions import build_predecessor_documents
from dicom_node.header import code
from dicom_node.identity import DISCLAIMER, MANUFACTURER, MANUFACTURER_MODEL_NAME, derive_result_uid
from dicom_node.values import AnalysedInstance, Instance, ResultKind
from inference.overlay import describe_operating_point
from inference.phrases import format_label
from inference.probabilities import format_probability
from inference.types import Decision, RadiographAnalysis, Roi, Task

_KIND = ResultKind.STRUCTURED_REPORT
_ENGLISH = CodedConcept("en", "RFC5646", "English")
FRACTURE = Code("125605004", "SCT", "Fracture of bone")
ANSWERS = {
    Decision.FRACTURE: codes.SCT.Suspected,
    Decision.NO_FRACTURE: Code("260415000", "SCT", "Not detected"),
    Decision.UNCERTAIN: codes.SCT.Undetermined,
    Decision.NOT_ANALYSED: codes.SCT.NotPerformed,
}
"""The value of the evaluation "fracture of bone" for each decision."""
_SITES: dict[str, tuple[Code, ...]] = {
    "HAND": (codes.SCT.Hand,),
    "FOREARM": (codes.SCT.Forearm,),
    "ELBOW": (codes.SCT.ElbowJoint,),
    "HUMERUS": (codes.SCT.Humerus,),
    "SHOULDER": (codes.SCT.Shoulder,),
    "HIP": (codes.SCT.Hip,),
    "FEMUR": (codes.SCT.Femur,),
    "KNEE": (codes.SCT.Knee,),
    "LEG": (codes.SCT.LowerLeg,),
    "ANKLE_FOOT": (codes.SCT.AnkleJoint, codes.SCT.Foot),
}
"""Where a region of the shipped model lies; a region of another model is named in the comment alone."""
_SIDES = {"L": codes.SCT.Left, "R": codes.SCT.Right}
_Group = MeasurementsAndQualitativeEvaluations | PlanarROIMeasurementsAndQualitativeEvaluations


def encode_structured_report(origin: Origin) -> Dataset | None:
    """Encode the report; None where the study has no image that it could be about."""
    sources = [one for one in origin.analysis.study.instances if _can_be_named(one)]
    if not sources:
        return None
    ds = Comprehensive3DSR(
        evidence=[build_evidence(origin, one) for one in sources],
        content=_build_content(origin),
        series_instance_uid=origin.derive_uid(_KIND, "series"),
        series_number=1,
        sop_instance_uid=origin.derive_uid(_KIND),
        instance_number=1,
        is_complete=True,
        is_final=True,
    )
    describe_result(ds, origin, origin.header, _KIND, "Fracture AI structured report. Research use only")
    provenance.add_content_time(ds, origin)
    if predecessors := build_predecessor_documents(origin.analysis.study, Comprehensive3DSRStorage):
        ds.PredecessorDocumentsSequence = [predecessors]
    provenance.add_sop_common(ds, origin, origin.header, provenance.list_spoken(origin))
    return ds


def outline_box(roi: Roi) -> NDArray[np.float64]:
    """Outline the pixels of a box as a closed polygon: shape (5, 2), column and row.

    The outer corner of the image's first pixel is (0, 0), and that of the last one (columns, rows), both in content
    items (PS3.3 C.18.6.1.1) and in graphic annotations (C.10.5.1.2): a box of one pixel is one wide.
    """
    left, top, right, bottom = roi.x, roi.y, roi.x + roi.width, roi.y + roi.height
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom], [left, top]], np.float64)


def _can_be_named(instance: Instance) -> bool:
    return wording.is_image(instance) and bool(read_text(instance.header, "SeriesInstanceUID"))


def _build_content(origin: Origin) -> MeasurementReport:
    device = DeviceObserverIdentifyingAttributes(
        uid=derive_result_uid("node", origin.ae_title),
        name=origin.ae_title,
        manufacturer_name=MANUFACTURER,
        model_name=MANUFACTURER_MODEL_NAME,
    )
    observer = ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    return MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=codes.SCT.PlainRadiography,
        imaging_measurements=[*_list_analysed(origin), *_list_left_out(origin)],
        title=codes.DCM.ImagingMeasurementReport,
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(_ENGLISH),
    )


def _list_analysed(origin: Origin) -> Iterator[_Group]:
    """Make a group for each box, and one for each radiograph without any.

    A radiograph with boxes has no further group of its own: OHIF shows nothing at all of a report of which one group
    lies nowhere on an image.
    """
    for image in origin.analysis.images:
        name = wording.describe_image(image.instance.header)
        if image.analysis.rois:
            yield from _outline(origin, image, name)
        else:
            algorithm = _identify_algorithm(image.analysis)
            yield _make_group(origin, image.instance, name, image.analysis, algorithm=algorithm, sites=_site(image))


def _outline(origin: Origin, image: AnalysedInstance, name: str) -> Iterator[_Group]:
    """Make a group for each box (PS3.16 TID 1410) that says of it what is said of the radiograph."""
    analysis, instance = image.analysis, image.instance
    source = SourceImageForRegion(instance.sop_class_uid, instance.sop_instance_uid)
    for number, roi in enumerate(analysis.rois, start=1):
        group = PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=_track(origin, f"{name}, box {number}", instance.sop_instance_uid, str(number)),
            referenced_region=ImageRegion("POLYLINE", outline_box(roi), source),
            finding_type=FRACTURE,
            algorithm_id=_identify_algorithm(analysis),
            finding_sites=_site(image),
            measurements=_measure(analysis),
            qualitative_evaluations=[QualitativeEvaluation(FRACTURE, ANSWERS[analysis.decision])],
        )
        _remark(group, analysis)
        yield group


def _list_left_out(origin: Origin) -> Iterator[_Group]:
    """Make a group for each image that was not given to the models, or never came."""
    for part in origin.analysis.excluded:
        if _can_be_named(part.instance):
            analysis = RadiographAnalysis(decision=Decision.NOT_ANALYSED, reason=part.reason)
            yield _make_group(origin, part.instance, wording.describe_image(part.instance.header), analysis)
    for missing in wording.list_missing(origin.analysis):
        analysis = RadiographAnalysis(decision=Decision.NOT_ANALYSED, reason=wording.NEVER_CAME)
        yield _make_group(origin, None, wording.name_listed(missing), analysis, key=missing.sop_instance_uid)


def _make_group(
    origin: Origin,
    instance: Instance | None,
    name: str,
    analysis: RadiographAnalysis,
    *,
    key: str = "",
    algorithm: AlgorithmIdentification | None = None,
    sites: list[FindingSite] | None = None,
) -> MeasurementsAndQualitativeEvaluations:
    """Make the group of an image (PS3.16 TID 1501): the answer, its probability, and in words what belongs to it."""
    sources = [SourceImageForMeasurementGroup(instance.sop_class_uid, instance.sop_instance_uid)] if instance else None
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_track(origin, name, instance.sop_instance_uid if instance else key),
        finding_type=FRACTURE,
        algorithm_id=algorithm,
        finding_sites=sites,
        measurements=_measure(analysis),
        qualitative_evaluations=[QualitativeEvaluation(FRACTURE, ANSWERS[analysis.decision])],
        source_images=sources,
    )
    _remark(group, analysis)
    return group


def _measure(analysis: RadiographAnalysis) -> list[Measurement] | None:
    """Give the probability that the radiograph shows a fracture."""
    if analysis.fracture is None:
        return None
    return [Measurement(codes.DCM.Probability, analysis.fracture.probability, codes.UCUM.NoUnits)]


def _remark(group: _Group, analysis: RadiographAnalysis) -> None:
    comment = TextContentItem(codes.DCM.Comment, _comment(analysis), RelationshipTypeValues.CONTAINS)
    group[0].ContentSequence.append(comment)


def _comment(analysis: RadiographAnalysis) -> str:
    region = analysis.region
    said = [wording.explain(analysis)]
    if region is not None:
        said.append(f"Region: {format_label(region.region)} {format_probability(region.confidence)}.")
    if analysis.fracture is not None:
        said.append(f"{wording.describe_uncertainty(analysis)}.")
    if point := describe_operating_point(analysis):
        said.append(f"{point.capitalize()}.")
    return " ".join(filter(None, (*said, *analysis.flags, DISCLAIMER)))


def _track(origin: Origin, name: str, *parts: str) -> TrackingIdentifier:
    return TrackingIdentifier(uid=origin.derive_uid(_KIND, "tracking", *parts), identifier=name)


def _identify_algorithm(analysis: RadiographAnalysis) -> AlgorithmIdentification | None:
    """Identify the model that answered: that of the fracture, else the last one that spoke (PS3.16 TID 4019)."""
    if not analysis.models:
        return None
    fracture = [model for model in analysis.models if model.task is Task.FRACTURE]
    model = (fracture or analysis.models)[-1]
    return AlgorithmIdentification(
        name=model.name or "unnamed",
        version=model.version or "unknown",
        parameters=[f"SHA-256 {model.digest}"],
        family=codes.DCM.ArtificialIntelligence,
    )


def _site(image: AnalysedInstance) -> list[FindingSite] | None:
    """Say where the region lies, on the side that the header names."""
    region = image.analysis.region
    header = image.instance.header
    side = _SIDES.get(code(header, "ImageLaterality") or code(header, "Laterality"))
    sites = _SITES.get(region.region, ()) if region else ()
    return [FindingSite(anatomic_location=site, laterality=side) for site in sites] or None
