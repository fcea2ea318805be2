"""What the report says about a study, in words."""

from collections.abc import Sequence

from pydicom import Dataset
from pydicom.uid import UID

from dicom_node.encode.identification import read_name, read_text, read_valid
from dicom_node.encode.provenance import Origin
from dicom_node.encode.versions import name_versions
from dicom_node.header import code, numbers
from dicom_node.values import AnalysedInstance, Instance, ListedImage, StudyAnalysis
from inference.overlay import HEADLINES
from inference.types import Decision, RadiographAnalysis

NEVER_CAME = "The archive lists it, but it never came."
_MOST_NAMED = 3
"""So many images that never came are named beside the answer; all of them are in the list of what was not analysed."""


def describe_patient_and_study(origin: Origin) -> list[tuple[str, str]]:
    """Name what identifies patient and study: pairs of label and value, in reading order."""
    header = origin.header
    issuer = read_valid(header, "IssuerOfPatientID")
    identifier = read_valid(header, "PatientID")
    return [
        ("Patient", " / ".join(read_name(header, "PatientName"))),
        ("Patient ID", f"{identifier} ({issuer})" if issuer else identifier),
        ("Birth date", _write_date(read_valid(header, "PatientBirthDate"))),
        ("Sex", read_valid(header, "PatientSex")),
        ("Study", read_text(header, "StudyDescription")),
        ("Study date", _write_date(read_valid(header, "StudyDate"))),
        ("Accession number", read_valid(header, "AccessionNumber")),
        ("Study ID", read_valid(header, "StudyID")),
        ("Referring physician", " / ".join(read_name(header, "ReferringPhysicianName"))),
        ("Analysed", origin.created_at.strftime("%Y-%m-%d %H:%M %z")),
    ]


def describe_image(header: Dataset) -> str:
    """Name an instance as a viewer shows it: series and image number, view, side."""
    series, number = (_write_number(header, keyword) for keyword in ("SeriesNumber", "InstanceNumber"))
    side = {"L": "left", "R": "right", "B": "both"}.get(code(header, "ImageLaterality") or code(header, "Laterality"))
    details = [code(header, "Modality"), code(header, "ViewPosition"), side]
    return ", ".join([f"Series {series}", f"image {number}", *(detail for detail in details if detail)])


def summarise_study(analysis: StudyAnalysis) -> tuple[Decision, str]:
    """Say the answer for the whole study in one line, with the decision that leads it."""
    decisions = [image.analysis.decision for image in list_analysed(analysis)]
    total = f"{len(decisions)} analysed image{'s' if len(decisions) != 1 else ''}"
    for decision in (Decision.FRACTURE, Decision.UNCERTAIN):
        if count := decisions.count(decision):
            return decision, f"{HEADLINES[decision]} in {count} of {total}"
    if decisions:
        return Decision.NO_FRACTURE, f"{HEADLINES[Decision.NO_FRACTURE]} in {total}"
    return Decision.NOT_ANALYSED, f"{HEADLINES[Decision.NOT_ANALYSED]}: no image of this study could be analysed"


def count_images(analysis: StudyAnalysis) -> str:
    """Say how many images of the study were analysed, and whether any never came; what has no rows is no image."""
    others = len(analysis.images) + len(analysis.excluded) - _count_received_images(analysis)
    expected = _count_received_images(analysis) + len(list_missing(analysis))
    line = f"Analysed {len(list_analysed(analysis))} of {expected} images{_describe_expectation(analysis)}."
    if others:
        line += f" {others} other object{'s' if others != 1 else ''} in the study."
    if analysis.study.standing:
        line += f" For images that came earlier see {name_versions(analysis.study.standing)}."
    return line


def count_not_analysed(analysis: StudyAnalysis) -> int:
    """Count the images that were not analysed, those that never came included."""
    return _count_received_images(analysis) - len(list_analysed(analysis)) + len(list_missing(analysis))


def describe_uncertainty(analysis: RadiographAnalysis) -> str:
    """Say between which probabilities the answer is left open; nothing where no fracture model spoke."""
    if analysis.fracture is None:
        return ""
    points = analysis.fracture
    return f"No fracture below {points.sensitive_threshold:.2f}, fracture from {points.specific_threshold:.2f}"


def explain(analysis: RadiographAnalysis) -> str:
    """Write the reason of a decision as a sentence; empty where there is none."""
    return f"{analysis.reason[0].upper()}{analysis.reason[1:].rstrip('.')}." if analysis.reason else ""


def list_missing(analysis: StudyAnalysis) -> tuple[ListedImage, ...]:
    """List the images that the archive lists and that never came."""
    return analysis.study.expectation.missing if analysis.study.expectation else ()


def _describe_expectation(analysis: StudyAnalysis) -> str:
    expectation = analysis.study.expectation
    if expectation is None:
        return " received"
    if expectation.listed is None:
        return " received; the archive could not be asked how many there are"
    if not expectation.listed:
        return " received; the archive lists none of them"
    missing = expectation.missing
    if not missing:
        return " received" if analysis.study.standing else "; the archive lists no other radiograph"
    if len(missing) > _MOST_NAMED:
        return f"; {len(missing)} never came, they are named below"
    return f"; never came: {', '.join(name_listed(image) for image in missing)}"


def _count_received_images(analysis: StudyAnalysis) -> int:
    received = [image.instance for image in analysis.images] + [part.instance for part in analysis.excluded]
    return sum(is_image(instance) for instance in received)


def is_image(instance: Instance) -> bool:
    """Tell whether an instance has rows; one that cannot be read is taken for what its SOP class says."""
    return "Rows" in instance.header or (bool(instance.defect) and "Image" in UID(instance.sop_class_uid).name)


def list_analysed(analysis: StudyAnalysis) -> list[AnalysedInstance]:
    """List the images for which a fracture model spoke."""
    return [image for image in analysis.images if image.analysis.decision is not Decision.NOT_ANALYSED]


def list_not_analysed(analysis: StudyAnalysis) -> list[tuple[str, str]]:
    """List what was not analysed: pairs of image and reason."""
    unsaid = "no reason was given"
    failed = [image for image in analysis.images if image.analysis.decision is Decision.NOT_ANALYSED]
    parts: Sequence[tuple[Dataset, str]] = [
        *((image.instance.header, image.analysis.reason) for image in failed),
        *((excluded.instance.header, excluded.reason) for excluded in analysis.excluded),
    ]
    never_came = [(f"{name_listed(one).capitalize()}, {one.modality}", NEVER_CAME) for one in list_missing(analysis)]
    return [(describe_image(header), reason or unsaid) for header, reason in parts] + never_came


def name_listed(image: ListedImage) -> str:
    """Name an image that never came by its series and image number."""
    series, number = ("?" if value is None else value for value in (image.series_number, image.instance_number))
    return f"series {series}, image {number}"


def _write_date(date: str) -> str:
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if date else ""


def _write_number(header: Dataset, keyword: str) -> str:
    values = numbers(header, keyword)
    return f"{values[0]:g}" if values else "?"
