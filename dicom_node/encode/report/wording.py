"""What the report says about a study, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.uid import UID

from dicom_node.encode.identification import read_name, read_text, read_valid
from dicom_node.encode.provenance import Origin
from dicom_node.encode.versions import name_versions
from dicom_node.header import code, numbers
from dicom_node.languages import ENGLISH, Language
from dicom_node.values import AnalysedInstance, Instance, ListedImage, StudyAnalysis
from inference.overlay import HEADLINES
from inference.phrases import Phrase, format_label
from inference.probabilities import format_fracture_probability, format_operating_points, format_probability
from inference.types import Decision, FracturePrediction, RadiographAnalysis

NEVER_CAME = Phrase("The archive lists it, but it never came.")
_UNSAID = Phrase("no reason was given")
_SIDES = {"L": Phrase("left"), "R": Phrase("right"), "B": Phrase("both")}
_GRAVEST_FIRST = (Decision.FRACTURE, Decision.UNCERTAIN, Decision.NO_FRACTURE)
_MOST_NAMED = 3
"""So many images that never came are named beside the answer; all of them are in the list of what was not analysed."""


@dataclass(frozen=True, kw_only=True)
class StudyAnswer:
    """The answer for a study, in a language."""

    decision: Decision
    """The one that leads it."""
    headline: str
    about: str
    """Of how many images it is said, or why there is none."""

    @property
    def sentence(self) -> str:
        """All of it."""
        return f"{self.headline}{':' if self.decision is Decision.NOT_ANALYSED else ''} {self.about}"


def describe_patient_and_study(origin: Origin) -> list[tuple[str, str]]:
    """Name what identifies patient and study: pairs of label and value, in reading order."""
    header, say = origin.header, origin.language.say
    issuer = read_valid(header, "IssuerOfPatientID")
    identifier = read_valid(header, "PatientID")
    return [
        (say("Patient"), " / ".join(read_name(header, "PatientName"))),
        (say("Patient ID"), f"{identifier} ({issuer})" if issuer else identifier),
        (say("Birth date"), _write_date(read_valid(header, "PatientBirthDate"))),
        (say("Sex"), read_valid(header, "PatientSex")),
        (say("Study"), read_text(header, "StudyDescription")),
        (say("Study date"), _write_date(read_valid(header, "StudyDate"))),
        (say("Accession number"), read_valid(header, "AccessionNumber")),
        (say("Study ID"), read_valid(header, "StudyID")),
        (say("Referring physician"), " / ".join(read_name(header, "ReferringPhysicianName"))),
        (say("Analysed"), origin.created_at.strftime("%Y-%m-%d %H:%M %z")),
    ]


def describe_image(header: Dataset, language: Language = ENGLISH) -> str:
    """Name an instance as a viewer shows it: series and image number, view, side."""
    series, number = (_write_number(header, keyword) for keyword in ("SeriesNumber", "InstanceNumber"))
    side = _SIDES.get(code(header, "ImageLaterality") or code(header, "Laterality"), "")
    details = [code(header, "Modality"), code(header, "ViewPosition"), language.say(side)]
    return ", ".join([_name_image(series, number, language), *filter(None, details)])


def summarise_study(analysis: StudyAnalysis, language: Language = ENGLISH) -> StudyAnswer:
    """Say the answer for the whole study."""
    decisions = [image.analysis.decision for image in list_analysed(analysis)]
    gravest = next((one for one in _GRAVEST_FIRST if one in decisions), Decision.NOT_ANALYSED)
    if gravest is Decision.NOT_ANALYSED:
        about = language.say("no image of this study could be analysed")
    elif gravest is Decision.NO_FRACTURE:
        about = language.count("in {number} analysed image", "in {number} analysed images", len(decisions))
    else:
        about = language.count(
            "in {count} of {number} analysed image",
            "in {count} of {number} analysed images",
            len(decisions),
            count=decisions.count(gravest),
        )
    return StudyAnswer(decision=gravest, headline=language.say(HEADLINES[gravest]), about=about)


def count_images(analysis: StudyAnalysis, language: Language = ENGLISH) -> str:
    """Say how many images of the study were analysed, and whether any never came; what has no rows is no image."""
    others = len(analysis.images) + len(analysis.excluded) - _count_received_images(analysis)
    expected = _count_received_images(analysis) + len(list_missing(analysis))
    sentences = [_describe_expectation(analysis, language, analysed=len(list_analysed(analysis)), expected=expected)]
    if others:
        sentences.append(
            language.count("{number} other object in the study.", "{number} other objects in the study.", others)
        )
    if analysis.study.standing:
        earlier = name_versions(analysis.study.standing, language)
        sentences.append(language.say("For images that came earlier see {versions}.", versions=earlier))
    return " ".join(sentences)


def count_not_analysed(analysis: StudyAnalysis) -> int:
    """Count the images that were not analysed, those that never came included."""
    return _count_received_images(analysis) - len(list_analysed(analysis)) + len(list_missing(analysis))


def describe_uncertainty(analysis: RadiographAnalysis, language: Language = ENGLISH) -> str:
    """Say between which probabilities the answer is left open; nothing where no fracture model spoke."""
    if analysis.fracture is None:
        return ""
    sensitive, specific = map(language.number, format_operating_points(analysis.fracture))
    return language.say(
        "No fracture below {sensitive}, fracture from {specific}", sensitive=sensitive, specific=specific
    )


def say_probability(probability: float, language: Language = ENGLISH) -> str:
    """Write a probability, never as a certainty."""
    return language.number(format_probability(probability))


def say_fracture_probability(fracture: FracturePrediction, language: Language = ENGLISH) -> str:
    """Write the probability of a fracture so that the operating points beside it tell the same as the decision."""
    return language.number(format_fracture_probability(fracture))


def say_region(analysis: RadiographAnalysis, language: Language = ENGLISH) -> str:
    """Name the region with its probability."""
    if analysis.region is None:
        return language.say("unknown")
    return (
        f"{language.say(format_label(analysis.region.region))} {say_probability(analysis.region.confidence, language)}"
    )


def explain(analysis: RadiographAnalysis, language: Language = ENGLISH) -> str:
    """Write the reason of a decision as a sentence; empty where there is none."""
    return _write_sentence(analysis.reason, language)


def _write_sentence(remark: str, language: Language) -> str:
    said = language.say(remark).rstrip(".。")
    return language.say("{text}.", text=f"{said[0].upper()}{said[1:]}") if said else ""


def list_missing(analysis: StudyAnalysis) -> tuple[ListedImage, ...]:
    """List the images that the archive lists and that never came."""
    return analysis.study.expectation.missing if analysis.study.expectation else ()


def _describe_expectation(analysis: StudyAnalysis, language: Language, *, analysed: int, expected: int) -> str:
    """Say how many were analysed of how many, in the sentence that goes with what the archive said."""

    def say(text: str, **values: object) -> str:
        return language.say(text, analysed=analysed, expected=expected, **values)

    expectation = analysis.study.expectation
    if expectation is None or (expectation.listed and not expectation.missing and analysis.study.standing):
        return say("Analysed {analysed} of {expected} images received.")
    if expectation.listed is None:
        return say(
            "Analysed {analysed} of {expected} images received; the archive could not be asked how many there are."
        )
    if not expectation.listed:
        return say("Analysed {analysed} of {expected} images received; the archive lists none of them.")
    missing = expectation.missing
    if not missing:
        return say("Analysed {analysed} of {expected} images; the archive lists no other radiograph.")
    if len(missing) > _MOST_NAMED:
        return say(
            "Analysed {analysed} of {expected} images; {missing} never came, they are named below.",
            missing=len(missing),
        )
    named = ", ".join(name_listed(image, language) for image in missing)
    return say("Analysed {analysed} of {expected} images; never came: {named}.", named=named)


def _count_received_images(analysis: StudyAnalysis) -> int:
    received = [image.instance for image in analysis.images] + [part.instance for part in analysis.excluded]
    return sum(is_image(instance) for instance in received)


def is_image(instance: Instance) -> bool:
    """Tell whether an instance has rows; one that cannot be read is taken for what its SOP class says."""
    return "Rows" in instance.header or (bool(instance.defect) and "Image" in UID(instance.sop_class_uid).name)


def list_analysed(analysis: StudyAnalysis) -> list[AnalysedInstance]:
    """List the images for which a fracture model spoke."""
    return [image for image in analysis.images if image.analysis.decision is not Decision.NOT_ANALYSED]


def list_not_analysed(analysis: StudyAnalysis, language: Language = ENGLISH) -> list[tuple[str, str]]:
    """List what was not analysed: pairs of image and reason, with the remarks, such as a header that says otherwise."""
    failed = [image for image in analysis.images if image.analysis.decision is Decision.NOT_ANALYSED]
    parts: Sequence[tuple[Dataset, Sequence[str]]] = [
        *((one.instance.header, (one.analysis.reason or _UNSAID, *one.analysis.flags)) for one in failed),
        *((excluded.instance.header, (excluded.reason or _UNSAID,)) for excluded in analysis.excluded),
    ]
    never_came = [
        (f"{_name_image(*_number_listed(one), language)}, {one.modality}", language.say(NEVER_CAME))
        for one in list_missing(analysis)
    ]
    said = [
        (describe_image(header, language), " ".join(_write_sentence(remark, language) for remark in remarks))
        for header, remarks in parts
    ]
    return said + never_came


def name_listed(image: ListedImage, language: Language = ENGLISH) -> str:
    """Name an image that never came by its series and image number."""
    series, number = _number_listed(image)
    return language.say("series {series}, image {number}", series=series, number=number)


def _number_listed(image: ListedImage) -> tuple[str, str]:
    series, number = ("?" if value is None else str(value) for value in (image.series_number, image.instance_number))
    return series, number


def _name_image(series: str, number: str, language: Language) -> str:
    return language.say("Series {series}, image {number}", series=series, number=number)


def _write_date(date: str) -> str:
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if date else ""


def _write_number(header: Dataset, keyword: str) -> str:
    values = numbers(header, keyword)
    return f"{values[0]:.15g}" if values else "?"
