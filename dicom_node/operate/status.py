"""`dicom-node status`: the newest studies and what became of them. Shows UIDs, never names."""

import json
import time
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from dicom_node.settings import Settings
from dicom_node.store import DestinationStatus, Finding, OpenStudy, RevisionState, RevisionStatus, Store

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
    console = Console()
    if waiting:
        console.print(_waiting_table(waiting))
    console.print(_revision_table(revisions))


def _waiting_table(waiting: list[OpenStudy]) -> Table:
    table = Table("study", "last image", "forced", title="Waiting for images", title_justify="left")
    for study in waiting:
        table.add_row(study.study_instance_uid, _ago(study.last_received_at), "yes" if study.forced else "")
    return table


def _revision_table(revisions: list[RevisionStatus]) -> Table:
    table = Table("study", "version", "state", "instances", "said", "destinations", "complete", title="Studies")
    table.title_justify = "left"
    for one in revisions:
        colour = _COLOURS.get(one.state, "yellow")
        state = f"[{colour}]{one.state}[/{colour}]" + (f"\n{one.reason}" if one.reason else "")
        table.add_row(
            one.study_instance_uid,
            str(one.version),
            state,
            str(one.images),
            "\n".join(map(describe_finding, one.findings)),
            "\n".join(map(_describe_destination, one.destinations)),
            _ago(one.created_at),
        )
    return table


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
