"""Query SCU: find out whether a result is in the right study of the right patient (PS3.4 annex C)."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom.association import Association

from dicom_node.c_find import PATIENT_ROOT_FIND, STUDY_ROOT_FIND, EndlessAnswerError, find
from dicom_node.errors import DeliveryError
from dicom_node.header import identifier, texts
from inference.phrases import Phrase

_PASSING = {0xFE00, 0x0110, 0x0213, *range(0xA700, 0xA800)}
"""Answers that may be others soon: cancelled, a failure in processing, resources that are lacking."""
_WILDCARDS = frozenset("*?\\")


class Place(StrEnum):
    """Where an archive has a result."""

    RIGHT = "in the right study of the right patient"
    WRONG = "in this study, but not of this patient"
    NOWHERE = "not in this study"


@dataclass(frozen=True, kw_only=True)
class Sought:
    """A result that an archive is asked about."""

    sop_instance_uid: str
    series_instance_uid: str
    patient_id: str | bytes
    """As its header has it; bytes where its character set does not decode them."""


class FindError(DeliveryError):
    """C-FIND failed: the archive says nothing about where the results are."""

    def __init__(self, said: str, *, may_pass: bool = False) -> None:
        super().__init__(said)
        self.may_pass = may_pass
        """Whether asking again may help."""


class SilenceError(FindError):
    """The archive did not answer."""

    def __init__(self) -> None:
        super().__init__(Phrase("no answer to C-FIND (may this node query there?)"))


def locate(assoc: Association, study_instance_uid: str, sought: Sequence[Sought]) -> dict[str, Place]:
    """Ask where results are, by SOP Instance UID.

    Two questions for each series, at IMAGE level: what is in it, and what of that belongs to the patient. For the
    second one the patient is part of the key, in the Patient Root model; where an archive has only the Study Root, its
    study must have this PatientID and no other.

    Raises
    ------
    FindError
        An answer was not complete.
    """
    places: dict[str, Place] = {}
    for series, patient_id in dict.fromkeys((one.series_instance_uid, one.patient_id) for one in sought):
        keys = {"StudyInstanceUID": study_instance_uid, "SeriesInstanceUID": series}
        there = _find_instances(assoc, STUDY_ROOT_FIND, keys)
        his = _of_patient(assoc, keys, patient_id, there) if there else frozenset()
        for one in sought:
            if (one.series_instance_uid, one.patient_id) == (series, patient_id):
                found = Place.RIGHT if one.sop_instance_uid in his else Place.WRONG
                places[one.sop_instance_uid] = found if one.sop_instance_uid in there else Place.NOWHERE
    return places


def _of_patient(
    assoc: Association, keys: dict[str, str], patient_id: str | bytes, there: frozenset[str]
) -> frozenset[str]:
    offered = {context.abstract_syntax for context in assoc.accepted_contexts}
    if PATIENT_ROOT_FIND in offered and _can_be_key(patient_id):
        return _find_instances(assoc, PATIENT_ROOT_FIND, {"PatientID": str(patient_id), **keys})
    study = {"StudyInstanceUID": keys["StudyInstanceUID"], "PatientID": ""}
    patients = [identifier(match, "PatientID") for match in _find(assoc, STUDY_ROOT_FIND, "STUDY", study)]
    return there if patients and all(one == patient_id for one in patients) else frozenset()


def _can_be_key(patient_id: str | bytes) -> bool:
    """Tell whether an identifier, as a key, matches itself alone (PS3.4 C.2.2.2.1)."""
    return isinstance(patient_id, str) and bool(patient_id) and not _WILDCARDS & {*patient_id}


def _find_instances(assoc: Association, model: UID, keys: dict[str, str]) -> frozenset[str]:
    matches = _find(assoc, model, "IMAGE", {**keys, "SOPInstanceUID": ""})
    return frozenset(uid.strip(" \0") for match in matches for uid in texts(match, "SOPInstanceUID"))


def _find(assoc: Association, model: UID, level: str, keys: dict[str, str]) -> list[Dataset]:
    try:
        answer = find(assoc, model, level, keys)
    except EndlessAnswerError as error:
        raise FindError(Phrase("C-FIND {trouble}", trouble=error.args[0])) from error
    if answer.status is None:
        raise SilenceError
    if answer.status != 0x0000:
        said = Phrase("C-FIND status {status}", status=f"0x{answer.status:04X}")
        raise FindError(said, may_pass=answer.status in _PASSING)
    return answer.matches  # one that does not decode is none of ours, which all do
