"""Retention: the files of a study go some days after every destination has proven to have its results, never before.

Proof is storage commitment or C-FIND; a form that a destination does not accept is proven with the others. Where a
destination cannot give the proof, files are kept, unless the operator asks it for none: then its Success is believed.

Rows stay: they say what was received, analysed, found and delivered, and that an instance which comes again is known. A
study waits for as long as anything of it is open, parked or unproven, or one of its instances is among the conflicts.
"""

import logging
import shutil
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dicom_node.audit import AuditEvent, AuditTrail
from dicom_node.durable import make_private_folder
from dicom_node.settings import NodeSettings, RetentionSettings
from dicom_node.store import RemovableStudy, Store, UnprovenFiles

_LOGGER = logging.getLogger(__name__)

_DAY_S = 86_400
UNTOUCHED_S = 3600
"""How long a folder of the spool is empty before it is removed: a receiver that knows it may still put a file there."""


@dataclass(frozen=True, kw_only=True)
class DiskUse:
    """What a node has on its disk, in bytes."""

    received: int
    results: int
    conflicts: int
    """Files in `spool/.conflicts`: they wait for an operator."""
    state: int
    """The databases inside the data folder."""
    free: int


class Retention:
    """Removes what is no longer needed. Idempotent; times are Unix times in seconds."""

    def __init__(
        self, settings: RetentionSettings, node: NodeSettings, store: Store, *, believed: Collection[str] = ()
    ) -> None:
        """`believed` are the names of the destinations whose Success is proof enough."""
        self._settings = settings
        self._node = node
        self._trail = AuditTrail(node.audit_dir, node.ae_title)
        self._store = store
        self._believed = believed

    def removable(self, now: float) -> list[RemovableStudy]:
        """List the studies whose files would go."""
        if not self._settings.files_days:
            return []
        conflicting = self._store.studies_of(_conflicts(self._node.spool_dir))
        studies = self._store.removable_studies(self._files_before(now), believed=self._believed)
        return [study for study in studies if study.study_instance_uid not in conflicting]

    def remove_files(self, now: float) -> int:
        """Remove the files of every study that may go; return of how many studies.

        One whose files cannot be removed, which the log says, stands in the way of no other.
        """
        removed = sum(self._try_to_remove(study.study_instance_uid, now) for study in self.removable(now))
        if removed:
            _LOGGER.info("retention: the files of %d studies were removed", removed)
        remove_empty_folders(self._node.spool_dir, now - UNTOUCHED_S)
        return removed

    def unproven(self) -> list[UnprovenFiles]:
        """Count the studies whose files are kept for want of proof, by destination."""
        return self._store.unproven_files(believed=self._believed) if self._settings.files_days else []

    def records_before(self, now: float) -> float | None:
        """Say until when events and ended workflows are forgotten; None: none is."""
        return now - self._settings.records_days * _DAY_S if self._settings.records_days else None

    def _files_before(self, now: float) -> float:
        return now - self._settings.files_days * _DAY_S

    def _try_to_remove(self, study_instance_uid: str, now: float) -> bool:
        try:
            return self._remove(study_instance_uid, now)
        except OSError as error:
            _LOGGER.error("retention: files of study %s stay: %s", study_instance_uid, error.strerror)  # noqa: TRY400  # one sentence
            return False

    def _remove(self, study_instance_uid: str, now: float) -> bool:
        removal = self._store.removal(study_instance_uid, self._files_before(now), believed=self._believed)
        with removal as paths:
            for path in paths or ():
                (self._node.spool_dir / path).unlink(missing_ok=True)
            if paths is not None and (results := self._node.results_dir / study_instance_uid).exists():
                shutil.rmtree(results)
        if paths is not None:
            self._trail.note(AuditEvent.STUDY_REMOVED, study_instance_uid=study_instance_uid, reason="retention")
        return paths is not None


def remove_empty_folders(spool: Path, before: float) -> None:
    """Remove the folders of studies that are empty and were last changed before a time."""
    for folder in spool.glob("[!.]*/"):
        with suppress(OSError):  # not empty, or gone
            if folder.stat().st_mtime < before:
                folder.rmdir()


def measure_disk(node: NodeSettings) -> DiskUse:
    """Measure what the node has on its disk."""
    conflicts = node.spool_dir / ".conflicts"
    make_private_folder(node.data_dir)
    return DiskUse(
        received=sum(_sizes(node.spool_dir)) - sum(_sizes(conflicts)),
        results=sum(_sizes(node.results_dir)),
        conflicts=sum(_sizes(conflicts)),
        state=sum(path.stat().st_size for path in node.data_dir.glob("*.sqlite*")),
        free=shutil.disk_usage(node.data_dir).free,
    )


def _conflicts(spool: Path) -> set[str]:
    """Return the SOP Instance UIDs that conflicting files claim: each is the name's part before its digest."""
    return {path.name.rsplit(".", 2)[0] for path in (spool / ".conflicts").glob("*.dcm")}


def _sizes(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*"):
        with suppress(OSError):  # removed while we look
            if path.is_file():
                yield path.stat().st_size
