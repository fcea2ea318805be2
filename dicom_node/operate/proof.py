"""What `dicom-node status` and `dicom-node retention` say about proof of delivery."""

from collections.abc import Iterator

from dicom_node.settings import Settings
from dicom_node.store import DeliveryState, ObjectStatus, RevisionStatus, UnprovenFiles
from dicom_node.values import ResultKind

_NO_PROOF = 'commitment = "never" and verify = "never"'
_SET = f"set {_NO_PROOF} under its [[destinations]]"


def list_not_proven(settings: Settings, one: RevisionStatus) -> Iterator[str]:
    """Say of each result object that a destination does not provably have how far it is, line by line."""
    believed = settings.believed_destinations
    for each in one.objects:
        if not _is_proven(each, is_believed=each.destination in believed):
            because = f": {each.detail}" if each.detail else ""
            yield f"{each.destination}: not proven: {each.sop_instance_uid}, {each.kind}, {each.state}{because}"


def describe_kept_files(settings: Settings, kept: UnprovenFiles) -> list[str]:
    """Say how many studies keep their files for want of proof by a destination, and what to set."""
    name = kept.destination
    studies = "1 study" if kept.studies == 1 else f"{kept.studies} studies"
    says = f"{name}: the files of {studies} are kept: it has answered Success and not proven that it has the results"
    if name not in {one.name for one in settings.destinations}:
        return [says, f"it is no longer configured; to believe it, configure it again with {_NO_PROOF}"]
    return [says, f"to have them proven, let it answer C-FIND or storage commitment, and wait; to believe it, {_SET}"]


def _is_proven(each: ObjectStatus, *, is_believed: bool) -> bool:
    if each.state is DeliveryState.LEFT_OUT:
        return True  # with the other forms, which are in this list themselves
    if each.state is not DeliveryState.DELIVERED:
        return False
    has_proof = each.committed_at is not None or each.verified_at is not None
    return has_proof or is_believed or each.kind == ResultKind.REJECTION_NOTE
