"""Which instances of a study are radiographs to analyse: a list of rules, each with its sentence.

An instance is left out for the reason of the first rule that speaks. Nothing is left out silently.
"""

from collections.abc import Callable

from pydicom import Dataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalMammographyXRayImageStorageForProcessing,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
)

from dicom_node.body_part import outside_scope
from dicom_node.header import code, identifier, number, texts
from dicom_node.identity import is_own_result
from dicom_node.secondary_capture import GREY_CLASSES, is_multi_frame, is_secondary, says_digitised
from dicom_node.values import ExcludedInstance, Instance, Selection, Study
from inference.phrases import Phrase

Rule = Callable[[Dataset], str | None]
"""Returns the reason to leave an instance out, one sentence without patient data; None when it has none."""

RADIOGRAPHS = frozenset({ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation, *GREY_CLASSES})
_MAMMOGRAMS = frozenset(
    {DigitalMammographyXRayImageStorageForPresentation, DigitalMammographyXRayImageStorageForProcessing}
)


def own_result(header: Dataset) -> str | None:
    """Leave out what this software made."""
    return Phrase("It is a result of this node.") if is_own_result(header) else None


def mammogram(header: Dataset) -> str | None:
    """Leave out mammograms, whatever SOP class carries them."""
    if _sop_class(header) in _MAMMOGRAMS or code(header, "Modality") == "MG":
        return Phrase("It is a mammogram, which is outside the scope of the models.")
    return None


def for_processing(header: Dataset) -> str | None:
    """Leave out raw detector data, which have no display transformation yet (PS3.3 C.8.11.1)."""
    if (
        _sop_class(header) == DigitalXRayImageStorageForProcessing
        or code(header, "PresentationIntentType") == "FOR PROCESSING"
    ):
        return Phrase("It is For Processing: raw detector data, not the picture that is read.")
    return None


def not_a_radiograph(header: Dataset) -> str | None:
    """Leave out every SOP class that is not CR, DX or Secondary Capture."""
    sop_class = _sop_class(header)
    if sop_class in RADIOGRAPHS:
        return None
    if sop_class.name == sop_class:
        return Phrase("It is not a radiograph.")
    return Phrase("It is not a radiograph: it is of the class {name}.", name=sop_class.name)


def not_a_digitised_film(header: Dataset) -> str | None:
    """Leave out Secondary Captures unless they say that they are radiographs in grey."""
    if _sop_class(header) not in GREY_CLASSES or says_digitised(header):
        return None
    return Phrase("It is a Secondary Capture that does not say it is a digitised radiograph.")


def localiser(header: Dataset) -> str | None:
    """Leave out localisers (PS3.3 C.7.6.1.1.2, value 3)."""
    return Phrase("It is a localiser.") if "LOCALIZER" in _image_type(header)[2:] else None


def secondary(header: Dataset) -> str | None:
    """Leave out images made from others after the examination."""
    return Phrase("It is a secondary image, made from another one.") if is_secondary(header) else None


def multi_frame(header: Dataset) -> str | None:
    """Leave out sequences of frames."""
    return Phrase("It has more than one frame.") if is_multi_frame(header) else None


def no_image(header: Dataset) -> str | None:
    """Leave out what has no rows or columns."""
    return None if number(header, "Rows") and number(header, "Columns") else Phrase("It has no image.")


def dental(header: Dataset) -> str | None:
    """Leave out intra-oral and panoramic radiographs."""
    return Phrase("It is a dental radiograph.") if code(header, "Modality") in {"IO", "PX"} else None


def outside_the_limbs(header: Dataset) -> str | None:
    """Leave out what the header calls a chest, a skull, a spine, …; an empty or unknown body part is analysed."""
    body_part = outside_scope(header)
    if body_part is None:
        return None
    return Phrase("It is outside the scope of the models: the header says {body_part}.", body_part=body_part)


RULES: tuple[Rule, ...] = (
    own_result,
    mammogram,
    for_processing,
    not_a_radiograph,
    not_a_digitised_film,
    localiser,
    secondary,
    multi_frame,
    no_image,
    dental,
    outside_the_limbs,
)

CONFLICTING_PATIENT_IDS = Phrase(
    "The instances of this study carry different Patient IDs, so none of them is analysed."
)


def select_radiographs(study: Study) -> Selection:
    """Tell the radiographs of `study` from the rest, in its order, each of the rest with its reason.

    A study whose instances name different patients is not analysed at all: a result would be filed under one of them.
    That is said of all of them, whatever else there is to say: the operator is told by it.
    """
    conflict = CONFLICTING_PATIENT_IDS if len({_patient_id(instance) for instance in study.instances}) > 1 else ""
    reasons = [instance.defect or conflict or _reason(instance.header) for instance in study.instances]
    pairs = list(zip(study.instances, reasons, strict=True))
    return Selection(
        radiographs=tuple(instance for instance, reason in pairs if not reason),
        excluded=tuple(ExcludedInstance(instance=instance, reason=reason) for instance, reason in pairs if reason),
    )


def exclude_all(selection: Selection, reason: str) -> Selection:
    """Leave out the radiographs of a selection too, for one reason; the others keep theirs."""
    left_out = tuple(ExcludedInstance(instance=instance, reason=reason) for instance in selection.radiographs)
    return Selection(radiographs=(), excluded=left_out + selection.excluded)


def _reason(header: Dataset) -> str | None:
    return next((reason for rule in RULES if (reason := rule(header))), None)


def _patient_id(instance: Instance) -> str | bytes:
    return identifier(instance.header, "PatientID").strip()


def _sop_class(header: Dataset) -> UID:
    return UID(next(iter(texts(header, "SOPClassUID")), ""))


def _image_type(header: Dataset) -> list[str]:
    return [text.strip().upper() for text in texts(header, "ImageType")]
