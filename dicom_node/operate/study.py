"""One study, as its page and `dicom-node study` show it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_node.errors import is_uid
from dicom_node.operate.identities import Identity, read_identity
from dicom_node.operate.timeline import Moment, build_timeline
from dicom_node.settings import Settings
from dicom_node.store import Finding, InstanceRole, ReceivedInstance, RevisionState, Store, StoredResult, WorklistEntry
from dicom_node.values import ResultKind


@dataclass(frozen=True, kw_only=True)
class ShownImage:
    """One image of the study."""

    number: int
    """An analysed image has that of the report."""
    sop_instance_uid: str
    finding: Finding | None
    has_file: bool
    overlay: str
    """SOP Instance UID of its Secondary Capture; empty where there is none."""


@dataclass(frozen=True, kw_only=True)
class ShownStudy:
    """A study with all that there is to see of it but the patient."""

    entry: WorklistEntry
    received: tuple[ReceivedInstance, ...]
    results: tuple[StoredResult, ...]
    """Of its newest version."""
    images: tuple[ShownImage, ...]
    timeline: tuple[Moment, ...]
    others: tuple[str, ...]
    """Destinations that its results were never to go to."""

    @property
    def reports(self) -> list[StoredResult]:
        """The reports, one for each language and patient."""
        return [one for one in self.results if one.kind == ResultKind.ENCAPSULATED_PDF]

    @property
    def can_retry(self) -> bool:
        """Tell whether something has failed or is parked."""
        return self.entry.state == RevisionState.FAILED or any(one.parked for one in self.entry.destinations)


def find_entry(store: Store, study_instance_uid: str) -> WorklistEntry | None:
    """Return a study as it stands; None where nothing of it was received, or what is asked for is no UID."""
    return store.find_study(study_instance_uid) if is_uid(study_instance_uid) else None


def look_at_study(settings: Settings, store: Store, study_instance_uid: str) -> ShownStudy | None:
    """Gather what there is to see of a study; None as of `find_entry`."""
    entry = find_entry(store, study_instance_uid)
    if entry is None:
        return None
    received = store.instances_of(study_instance_uid)
    results = store.results_of(study_instance_uid, entry.digest)
    has_due = {one.destination for one in entry.destinations}
    return ShownStudy(
        entry=entry,
        received=tuple(received),
        results=tuple(results),
        images=_list_images(entry, received, results),
        timeline=tuple(build_timeline(received, store.events_of(study_instance_uid))),
        others=tuple(one.name for one in settings.destinations if one.name not in has_due) if results else (),
    )


def identify(received: Sequence[ReceivedInstance], spool_dir: Path) -> list[Identity]:
    """Read whom each image says it is of: one study should name one patient, and who looks sees where it does not."""
    paths = [spool_dir / one.path for one in received if one.removed_at is None]
    return list(dict.fromkeys(found for found in map(read_identity, paths) if found is not None))


def _list_images(
    entry: WorklistEntry, received: Sequence[ReceivedInstance], results: Sequence[StoredResult]
) -> tuple[ShownImage, ...]:
    findings = {one.sop_instance_uid: one for one in entry.findings}
    overlays = {
        one.source_sop_instance_uid: one.sop_instance_uid
        for one in results
        if one.source_sop_instance_uid and one.kind == ResultKind.SECONDARY_CAPTURE
    }
    # As the report numbers them: the analysed ones first, in the order of their overlays.
    order = {uid: position for position, uid in enumerate(dict.fromkeys([*overlays, *findings]))}
    shown = [one for one in received if one.role == InstanceRole.IMAGE or one.sop_instance_uid in findings]
    shown.sort(key=lambda one: order.get(one.sop_instance_uid, len(order)))
    return tuple(
        ShownImage(
            number=number,
            sop_instance_uid=one.sop_instance_uid,
            finding=findings.get(one.sop_instance_uid),
            has_file=one.removed_at is None and one.role == InstanceRole.IMAGE,
            overlay=overlays.get(one.sop_instance_uid, ""),
        )
        for number, one in enumerate(shown, start=1)
    )
