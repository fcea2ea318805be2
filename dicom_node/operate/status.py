"""`dicom-node status`: the newest studies and what became of them. Shows UIDs, never names."""

import json
import time
from dataclasses import asdict

from rich.console import Console

from dicom_node.settings import Settings
from dicom_node.store import DestinationStatus, Finding, RevisionState, RevisionStatus, Store

_COLOURS = {RevisionState.DONE: "green", RevisionState.FAILED: "red"}


def show_status(settings: Settings, *, limit: int, as_json: bool) -> None:
    """Print open studies and the newest revisions."""
    store = Store(settings.database_url)
    waiting, revisions = store.open_studies(), store.status(limit)
    store.close()
    if as_json:
        content = {"open": [asdict(study) for study in waiting], "revisions": [asdict(one) for one in revisions]}
        print(json.dumps(content, indent=2))  # noqa: T201  # the command's output
        return
    # No table: a UID must be there whole, to be copied.
    console = Console(highlight=False, soft_wrap=True)
    for study in waiting:
        forced = ", completion forced" if study.forced else ""
        console.print(f"[yellow]receiving[/yellow]  {study.study_instance_uid}")
        console.print(f"           last image {_ago(study.last_received_at)}{forced}")
    for one in revisions:
        _show_revision(console, one)
    if not waiting and not revisions:
        console.print("no studies yet")


def _show_revision(console: Console, one: RevisionStatus) -> None:
    colour = _COLOURS.get(one.state, "yellow")
    console.print(f"[{colour}]{one.state:<10}[/{colour}] {one.study_instance_uid}")
    lines = [f"version {one.version}, {one.images} instance(s), complete {_ago(one.created_at)}", one.reason]
    lines += [describe_finding(finding) for finding in one.findings]
    lines += [_describe_destination(destination) for destination in one.destinations]
    for line in filter(None, lines):
        console.print(f"           {line}")


def describe_finding(finding: Finding) -> str:
    """Say in a line what was found on one image."""
    probability = "" if finding.probability is None else f" {finding.probability:.0%}"
    return " ".join(filter(None, [finding.region or "", finding.decision + probability, finding.reason]))


def _describe_destination(destination: DestinationStatus) -> str:
    counts = {"sent": destination.sent, "pending": destination.pending, "refused": destination.refused}
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    detail = f" (try {destination.attempts}: {destination.detail})" if destination.detail else ""
    return f"{destination.destination}: {said}{detail}"


def _ago(at: float) -> str:
    seconds = max(time.time() - at, 0)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
