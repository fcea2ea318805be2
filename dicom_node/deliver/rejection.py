"""The rejection note as one destination gets it: it names what that destination has taken, and nothing else.

The note of a revision names all that is superseded, in every form and language. An archive may refuse a whole note for
one instance that it does not have (dcm4chee: A772), and then goes on showing all of them. What a destination has taken
is known when its note goes: it is fitted then, anew for each try, which gives the same note with the same UID.
"""

from collections.abc import Collection, Iterator

from pydicom import Dataset

from dicom_node.identity import derive_result_uid
from dicom_node.values import ResultKind


def fit_note(note: Dataset, taken: Collection[str]) -> bool:
    """Take out of a note what is not among the SOP Instance UIDs that its destination has taken.

    Evidence and content go on naming the same (PS3.3 C.17.6.2.1). A note that names less is another object: its UID is
    derived from the note and from what is left. Series and equipment stay, by which the node knows its own results.

    Returns
    -------
    bool
        Whether anything is left to reject.
    """
    named = list(_list_named(note))
    left = [uid for uid in named if uid in taken]
    if left == named:
        return True
    note.ContentSequence = [
        item
        for item in note.ContentSequence
        if "ReferencedSOPSequence" not in item or _uid_of(item.ReferencedSOPSequence[0]) in taken
    ]
    for study in note.CurrentRequestedProcedureEvidenceSequence:
        for series in study.ReferencedSeriesSequence:
            series.ReferencedSOPSequence = [one for one in series.ReferencedSOPSequence if _uid_of(one) in taken]
        study.ReferencedSeriesSequence = [one for one in study.ReferencedSeriesSequence if one.ReferencedSOPSequence]
    note.SOPInstanceUID = derive_result_uid(ResultKind.REJECTION_NOTE, str(note.SOPInstanceUID), *sorted(left))
    note.file_meta.MediaStorageSOPInstanceUID = note.SOPInstanceUID
    return bool(left)


def _list_named(note: Dataset) -> Iterator[str]:
    for item in note.get("ContentSequence", ()):
        for reference in item.get("ReferencedSOPSequence", ()):
            yield _uid_of(reference)


def _uid_of(reference: Dataset) -> str:
    return str(reference.ReferencedSOPInstanceUID)
