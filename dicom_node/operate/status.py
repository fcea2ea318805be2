"""`dicom-node status`: the newest studies and what became of them. Shows UIDs, never names."""

import json
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict

from rich.console import Console

from dicom_node.alerts.conditions import Condition, find_conditions
from dicom_node.audit import AuditEvent, AuditTrail, PersonAction
from dicom_node.audit.forwarder import TrailStatus, read_status
from dicom_node.operate.identities import Identities
from dicom_node.operate.proof import describe_kept_files, list_not_proven
from dicom_node.operate.terminal import print_entry
from dicom_node.operate.timeline import format_duration
from dicom_node.operate.trail import note_here
from dicom_node.operate.worklist import Filter, Row, gather_worklist
from dicom_node.retention import DiskUse, Retention, measure_disk
from dicom_node.settings import Settings
from dicom_node.store import (
    DestinationStatus,
    Finding,
    RevisionState,
    RevisionStatus,
    Store,
    UnprovenFiles,
    describe_expectation,
)
from dicom_node.values import Expectation
from inference.probabilities import format_percentage

_COLUMN = 12
COLOURS: dict[str, str] = {
    RevisionState.DONE: "green",
    RevisionState.SUPERSEDED: "green",
    RevisionState.EXCLUDED: "cyan",
    RevisionState.FAILED: "red",
}


def has_run(settings: Settings) -> bool:
    """Tell whether a worker has ever swept in this data folder; where none has, say so: nobody looked after anything.

    A relative `data_dir` is looked for where the command was started: from elsewhere it is another, empty folder.
    """
    if settings.node.heartbeat.exists():
        return True
    folder = settings.node.data_dir.absolute()
    said = f"no worker has ever run on the data folder {folder}: is that the node's, seen from where this was started?"
    print(f"dicom-node: {said}", file=sys.stderr)  # noqa: T201  # beside the output, which may be JSON
    return False


def show_status(settings: Settings, *, limit: int, as_json: bool) -> None:
    """Print open studies and the newest revisions."""
    store = Store(settings.database_url)
    waiting, revisions = store.open_studies(), store.status(limit)
    undelivered, disk = store.oldest_undelivered(), measure_disk(settings.node)
    kept = _retention(settings, store).unproven()
    conditions = find_conditions(settings, store, time.time())
    store.close()
    if not waiting and not revisions:
        has_run(settings)
    trail = read_status(AuditTrail(settings.node.audit_dir, settings.node.ae_title), settings.audit)
    if as_json:
        content = {
            "open": [asdict(study) for study in waiting],
            "revisions": [asdict(one) for one in revisions],
            "alarms": [asdict(condition) for condition in conditions],
            "oldest_undelivered": undelivered and asdict(undelivered),
            "kept_unproven": [asdict(one) for one in kept],
            "disk": asdict(disk),
            "audit": asdict(trail),
        }
        print(json.dumps(content, indent=2))  # noqa: T201  # the command's output
        return
    # No table: a UID must be there whole, to be copied.
    console = Console(highlight=False)
    for study in waiting:
        forced = ", completion forced" if study.forced else ""
        lines = [study.study_instance_uid, f"last image {_ago(study.last_received_at)}{forced}"]
        lines += [describe_expectation(study.expectation)] if study.expectation else []
        print_entry(console, "receiving", lines, style="yellow", column=_COLUMN)
    for one in revisions:
        _show_revision(console, settings, one)
    if not waiting and not revisions:
        console.print("no studies yet")
    if undelivered is not None:
        what = f"oldest result without proof of delivery: {undelivered.destination}, {undelivered.state}"
        lines = [undelivered.study_instance_uid, f"{what}, complete {_ago(undelivered.created_at)}"]
        print_entry(console, "delivery", lines, style="yellow", column=_COLUMN)
    _show_kept(console, settings, kept)
    print_entry(console, "disk", [_describe_disk(disk)], style="", column=_COLUMN)
    print_entry(console, "audit", _describe_trail(trail), style="yellow" if trail.problem else "", column=_COLUMN)
    for condition in conditions:
        print_entry(console, "ALARM", describe_condition(condition), style="bold red", column=_COLUMN)


def show_worklist(settings: Settings, chosen: Filter, *, patients: bool, as_json: bool) -> None:
    """Print the studies that are asked for, failures first; with `patients` whose they are, which is noted."""
    with closing(Store(settings.database_url)) as store, closing(Identities(store, settings.node.spool_dir)) as known:
        listed = gather_worklist(store, chosen, known if patients else None, within_s=None)
        conditions = find_conditions(settings, store, time.time())
    if not listed.total:
        has_run(settings)
    if listed.named:
        action = PersonAction.SEARCH_WORKLIST if chosen.search else PersonAction.SEE_WORKLIST
        note_here(settings, AuditEvent.PATIENTS_LISTED, action=action, study_instance_uids=listed.named)
    if as_json:
        content = {
            "studies": [
                asdict(row.entry) | ({"patient": row.identity and asdict(row.identity)} if patients else {})
                for row in listed.rows
            ],
            "total": listed.total,
            "page": chosen.page,
            "pages": listed.pages,
            "alarms": [asdict(condition) for condition in conditions],
        }
        print(json.dumps(content, indent=2))  # noqa: T201  # the command's output
        return
    console = Console(highlight=False)
    for row in listed.rows:
        _show_entry(console, row)
    for condition in conditions:
        print_entry(console, "ALARM", describe_condition(condition), style="bold red", column=_COLUMN)
    console.print(f"{count(listed.total, 'study', 'studies')}, page {chosen.page} of {listed.pages}")


def _show_entry(console: Console, row: Row) -> None:
    entry = row.entry
    version = f", version {entry.version}" if entry.version else ""
    lines = [entry.study_instance_uid, row.identity.says if row.identity else ""]
    results = "" if entry.result_s is None else f", results {format_duration(entry.result_s)} after the last image"
    lines += [f"{describe_images(count(entry.images, 'image'), entry.expectation)}{version}", entry.reason]
    lines += [f"arrived {_ago(entry.arrived_at)}{results}, last change {_ago(entry.changed_at)}"]
    lines += [describe_finding(finding) for finding in entry.findings]
    lines += [describe_destination(destination) for destination in entry.destinations]
    print_entry(console, entry.state, lines, style=COLOURS.get(entry.state, "yellow"), column=_COLUMN)


def show_removable(settings: Settings) -> None:
    """Print the studies whose files retention would remove now."""
    store = Store(settings.database_url)
    retention = _retention(settings, store)
    studies, kept = retention.removable(time.time()), retention.unproven()
    store.close()
    console = Console(highlight=False)
    for study in studies:
        lines = [study.study_instance_uid, f"{count(study.files, 'received file')}, {_write_size(study.size)}"]
        print_entry(console, "removable", lines, style="yellow", column=_COLUMN)
    days = settings.retention.files_days
    rule = (
        f"{days:g} days after every destination has proven that it has the results"
        if days
        else "never ([retention] files_days = 0)"
    )
    _show_kept(console, settings, kept)
    size = _write_size(sum(study.size for study in studies))
    console.print(f"{count(len(studies), 'study', 'studies')}, {size}; files go {rule}", markup=False)


def _retention(settings: Settings, store: Store) -> Retention:
    return Retention(settings.retention, settings.node, store, believed=settings.believed_destinations)


def _show_kept(console: Console, settings: Settings, kept: Sequence[UnprovenFiles]) -> None:
    for one in kept:
        print_entry(console, "kept", describe_kept_files(settings, one), style="yellow", column=_COLUMN)


def _describe_disk(disk: DiskUse) -> str:
    sizes = {"received": disk.received, "results": disk.results, "state": disk.state, "conflicts": disk.conflicts}
    used = ", ".join(f"{name} {_write_size(size)}" for name, size in sizes.items() if size or name != "conflicts")
    return f"{used}; free {_write_size(disk.free)}"


def _describe_trail(trail: TrailStatus) -> list[str]:
    if not trail.syslog:
        return [trail.folder]
    said = f"syslog {trail.syslog}: {trail.sent} messages sent, {trail.waiting} lines wait"
    unreadable = f", {trail.unreadable} lines could not be read" if trail.unreadable else ""
    return [trail.folder, said + unreadable, trail.problem]


def count(number: int, what: str, many: str = "") -> str:
    """Write a number of things."""
    return f"{number} {what if number == 1 else many or what + 's'}"


def _write_size(size: float) -> str:
    """Write a number of bytes in the units of the configuration: 1 MB is 10**6 bytes."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _show_revision(console: Console, settings: Settings, one: RevisionStatus) -> None:
    images = describe_images(count(one.images, "instance"), one.expectation)
    lines = [one.study_instance_uid, f"version {one.version}, {images}, complete {_ago(one.created_at)}", one.reason]
    lines += [describe_finding(finding) for finding in one.findings]
    lines += [describe_destination(destination) for destination in one.destinations]
    lines += list_not_proven(settings, one)
    print_entry(console, one.state, lines, style=COLOURS.get(one.state, "yellow"), column=_COLUMN)


def describe_images(come: str, expectation: Expectation | None) -> str:
    """Say of a study or a version how much has `come`; of how many images, where an archive has listed them."""
    if expectation is None:
        return come
    if expectation.listed is not None:
        come = f"{expectation.listed - len(expectation.missing)} of {count(expectation.listed, 'image')}"
    return f"{come} ({describe_expectation(expectation)})"


def describe_finding(finding: Finding) -> str:
    """Say in a line what was found on one image."""
    probability = "" if finding.probability is None else f" {format_percentage(finding.probability)}"
    said = " ".join(filter(None, [finding.region or "", finding.decision + probability]))
    return f"{said}: {finding.reason}" if finding.reason else said


def describe_condition(condition: Condition) -> list[str]:
    """Say what is wrong, since when, the details that stay here, and what to do."""
    since = f", since {_ago(condition.since)}" if condition.since else ""
    return [f"{condition.says}{since}", *condition.details, condition.remedy]


def describe_destination(destination: DestinationStatus) -> str:
    """Say in a line what a destination has, and why it lacks what it lacks."""
    counts = {
        "sent": destination.sent,
        "committed": destination.committed,
        "verified": destination.verified,
        "pending": destination.pending,
        "parked": destination.parked,
        "left out": destination.left_out,
    }
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    # What deliver says begins with the name as well.
    detail = destination.detail.removeprefix(f"{destination.destination}: ")
    return f"{destination.destination}: {said}" + (f" (try {destination.attempts}: {detail})" if detail else "")


def _ago(at: float) -> str:
    seconds = max(time.time() - at, 0)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
