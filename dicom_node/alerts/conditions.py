"""What an administrator should know of now: the one source for `dicom-node status`, alerts and metrics.

Facts, subjects and remedies hold counts and names of the configuration, and may leave the house. Details hold UIDs and
what archives answered, and are for whoever sits at the node.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from dicom_node.assemble.selection import CONFLICTING_PATIENT_IDS
from dicom_node.settings import Settings
from dicom_node.silence import Silence
from dicom_node.statistics.drift import Drift, assess_drift
from dicom_node.statistics.recording import name_reason
from dicom_node.store import AlertKey, DeliveryState, Store
from inference.drift import THRESHOLD


class Kind(StrEnum):
    """What is wrong."""

    STUCK = "stuck studies"
    PARKED = "parked results"
    BEHIND = "destination behind"
    NEVER_CAME = "images never came"
    UNSEARCHED = "archive not searched"
    PATIENTS = "several patients"
    RESENT = "sent again otherwise"
    DISK = "disk"
    SILENT = "no heartbeat"
    UNANSWERED = "receiver silent"
    DRIFT = "drift"


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One thing that is wrong."""

    kind: Kind
    subject: str = ""
    """Name of the destination, archive or model that it is about; empty: the node itself."""
    says: str
    """One sentence, without a full stop."""
    remedy: str = ""
    since: float | None = None
    """Unix time in seconds; None where nobody knows."""
    details: tuple[str, ...] = ()
    """Never sent anywhere."""

    @property
    def key(self) -> AlertKey:
        """Kind and subject: what stays the same while it holds."""
        return self.kind.value, self.subject


_IDENTITY_TOLD_S = 7 * 86_400
"""For so long: nothing that comes later makes one patient of two, and the node does not see what was mended."""
Check = Callable[[Settings, Store, float], Iterator[Condition]]
Assess = Callable[[Settings, Store, float], tuple[Drift, ...]]


def find_conditions(
    settings: Settings, store: Store, now: float, *, assess: Assess = assess_drift
) -> tuple[Condition, ...]:
    """List what is wrong at Unix time `now`, in seconds. Who asks often assesses drift `Seldom`."""
    found = [condition for check in CHECKS for condition in check(settings, store, now)]
    return (*found, *find_drift(assess(settings, store, now)))


def find_drift(drifts: tuple[Drift, ...]) -> Iterator[Condition]:
    """Find what has left the reference of its model."""
    for drift in drifts:
        if drift.is_alarm and drift.comparison is not None:
            yield Condition(
                kind=Kind.DRIFT,
                subject=f"{drift.model}: {drift.what}"[:64],
                says=f"{drift.model}: {drift.what} no longer looks as measured (population stability index "
                f"{drift.comparison.psi:.2f}, threshold {THRESHOLD})",
                remedy="look at the images of the last weeks; then measure the model on radiographs of your own: "
                "fracture-models evaluate, calibrate, reference",
            )


def find_stuck(settings: Settings, store: Store, now: float) -> Iterator[Condition]:
    """Find studies that go no further."""
    patience_s = settings.alerts.stuck_after_s
    opened = now - settings.completion.max_wait_s - patience_s
    stuck = store.stuck_studies(open_before=opened, complete_before=now - patience_s)
    if stuck.count:
        says = f"{_count(stuck.count, 'study goes', 'studies go')} no further"
        remedy = "see the log of the worker, then: dicom-node retry"
        yield Condition(kind=Kind.STUCK, says=says, remedy=remedy, since=stuck.since)


def find_parked(_settings: Settings, store: Store, _now: float) -> Iterator[Condition]:
    """Find results that a destination does not take, and that a person must look at."""
    alarms = sorted(store.alarms(), key=lambda alarm: alarm.destination)
    for destination, group in groupby(alarms, key=lambda alarm: alarm.destination):
        reasons = tuple(group)
        parked = _count(sum(one.objects for one in reasons), "result is", "results are")
        yield Condition(
            kind=Kind.PARKED,
            subject=destination,
            says=f"{destination}: {parked} parked",
            remedy=f"mend what it complains of, then: dicom-node retry --destination {destination}",
            since=min(one.since for one in reasons),
            details=tuple(
                f"{one.objects} of {_count(one.studies, 'study', 'studies')}: "
                f"{one.detail.removeprefix(f'{destination}: ')}"
                for one in reasons
            ),
        )


def find_behind(settings: Settings, store: Store, now: float) -> Iterator[Condition]:
    """Find destinations that have taken no results for long."""
    waiting = store.undelivered_results([one.name for one in settings.destinations])
    for (destination, state), backlog in waiting.items():
        if state is not DeliveryState.PENDING or backlog.since is None:
            continue
        if now - backlog.since > settings.alerts.undelivered_after_s:
            says = f"{destination}: {_count(backlog.count, 'result waits', 'results wait')} to be taken"
            remedy = "start it, or mend the way to it; the node goes on trying"
            yield Condition(kind=Kind.BEHIND, subject=destination, says=says, remedy=remedy, since=backlog.since)


def find_never_came(settings: Settings, store: Store, _now: float) -> Iterator[Condition]:
    """Find studies of which an archive lists images that it does not send."""
    lacking = store.given_up_retrievals(settings.reconcile.tries) if settings.reconcile else []
    lacking.sort(key=lambda one: one.archive)
    for archive, group in groupby(lacking, key=lambda one: one.archive):
        uids = tuple(one.study_instance_uid for one in group)
        says = f"{archive}: {_count(len(uids), 'study lacks', 'studies lack')} images that it lists and does not send"
        yield Condition(kind=Kind.NEVER_CAME, subject=archive, says=says, remedy="forward them by hand", details=uids)


def find_patients(_settings: Settings, store: Store, now: float) -> Iterator[Condition]:
    """Find studies under whose Study Instance UID several patients were sent: somebody must look whose they are."""
    found = store.left_out_studies(name_reason(CONFLICTING_PATIENT_IDS), now - _IDENTITY_TOLD_S)
    if found:
        says = (
            f"{_count(len(found), 'study carries', 'studies carry')} several Patient IDs, so nothing of it is analysed"
        )
        remedy = "find out whose the images are, and mend it in the archive; then send them under UIDs of their own"
        yield Condition(kind=Kind.PATIENTS, says=says, remedy=remedy, since=min(found.values()), details=tuple(found))


def find_resent(_settings: Settings, store: Store, now: float) -> Iterator[Condition]:
    """Find studies that came again as of another patient or study: results may stand under the wrong one."""
    found = store.resent_studies(now - _IDENTITY_TOLD_S)
    if found:
        says = (
            f"of {_count(len(found), 'study', 'studies')} images came again as of another patient or study; results "
            "are of the first copy"
        )
        remedy = (
            "find out which is right; if the first was wrong, reject its results in the archive, and send the study "
            "under UIDs of its own"
        )
        yield Condition(kind=Kind.RESENT, says=says, remedy=remedy, since=min(found.values()), details=tuple(found))


def find_disk(settings: Settings, _store: Store, _now: float) -> Iterator[Condition]:
    """Find out whether the disk fills up."""
    try:
        free_mb = shutil.disk_usage(settings.node.data_dir).free / 1e6
    except OSError:
        return  # no data folder yet: nothing fills it
    if free_mb < settings.alerts.free_mb:
        says = f"{free_mb:,.0f} MB of the disk are free"
        limit_mb = settings.receive.minimum_free_mb
        remedy = f"free some space: below {limit_mb:,.0f} MB every C-STORE is refused"
        yield Condition(kind=Kind.DISK, says=says, remedy=remedy)


def find_silence(settings: Settings, _store: Store, now: float) -> Iterator[Condition]:
    """Find out whether the worker has stopped sweeping; a node that was never started has nothing to say."""
    try:
        swept_at = settings.node.heartbeat.stat().st_mtime
    except OSError:
        return
    if now - swept_at > settings.alerts.silent_s + settings.completion.sweep_s:
        remedy = "look whether it runs: its log, then: dicom-node doctor"
        yield Condition(kind=Kind.SILENT, says="the worker does not sweep", remedy=remedy, since=swept_at)


def find_unanswered(settings: Settings, _store: Store, now: float) -> Iterator[Condition]:
    """Find out whether the receiver has stopped answering; a restart takes less than the patience."""
    since = Silence(settings.node.receiver_silence).since_beyond(settings.alerts.silent_s, now)
    if since is not None:
        says = "the receiver does not answer: nothing is received"
        remedy = "look whether it runs: its log, then: dicom-node doctor"
        yield Condition(kind=Kind.UNANSWERED, says=says, remedy=remedy, since=since)


def find_unsearched(settings: Settings, _store: Store, now: float) -> Iterator[Condition]:
    """Find archives that cannot be searched for what they never sent."""
    if settings.reconcile is None:
        return
    # What could not be asked about is asked about again in the next search but one.
    patience_s = max(settings.alerts.undelivered_after_s, 3 * settings.reconcile.every_s)
    for archive in settings.reconcile.archives:
        since = Silence(settings.node.search_silence(archive)).since_beyond(patience_s, now)
        if since is not None:
            says = f"{archive}: cannot be searched for studies that it never sent"
            remedy = "see the log of the worker, then: dicom-node doctor"
            yield Condition(kind=Kind.UNSEARCHED, subject=archive, says=says, remedy=remedy, since=since)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


CHECKS: tuple[Check, ...] = (
    find_silence,
    find_unanswered,
    find_stuck,
    find_parked,
    find_behind,
    find_never_came,
    find_unsearched,
    find_patients,
    find_resent,
    find_disk,
)
