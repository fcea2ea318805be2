"""`dicom-node statistics`: how much, how fast, by week, region and sender, as tables, JSON or charts."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dicom_node.settings import Settings
from dicom_node.statistics.charts import draw_decisions, draw_times, write_seconds
from dicom_node.statistics.counting import Statistics, Tally, gather_statistics
from dicom_node.statistics.drift import Drift, assess_drift
from dicom_node.store import Store
from inference.drift import THRESHOLD
from inference.phrases import Phrase

_COLUMNS = ("images", "fracture", "no fracture", "uncertain", "outside scope", "not analysed", "versions")
_WIDTH = 130
"""Columns of text that the tables take; narrower, their numbers would be cut."""


def show_statistics(settings: Settings, *, weeks: int, as_json: bool, charts: Path | None) -> None:
    """Print the statistics of the last weeks; with `charts` also write them as SVG into that folder."""
    store = Store(settings.database_url)
    found = gather_statistics(store, weeks=weeks, now=time.time())
    drifts = assess_drift(settings, store, time.time())
    store.close()
    if charts is not None:
        write_charts(found, charts)
    if as_json:
        print(json.dumps({**asdict(found), "drift": [asdict(drift) for drift in drifts]}, indent=2))  # noqa: T201  # the command's output
        return
    console = Console(highlight=False)
    console.width = max(console.width, _WIDTH)
    for title, tallies in (
        (f"Since {found.since}", [found.total]),
        ("Weeks", found.weeks),
        ("Regions that the images show", found.regions),
        ("Senders", found.senders),
    ):
        console.print(_tabulate(title, tallies))
    if found.reasons:
        table = Table("why not analysed", "images", title="Not analysed", title_justify="left", box=None)
        for reason, count in found.reasons:
            table.add_row(reason, str(count))
        console.print(table)
    if drifts:
        console.print(_tabulate_drift(drifts, settings.alerts.drift_days))


def write_charts(found: Statistics, folder: Path) -> None:
    """Write charts of the answers and of the time to result, by weeks, regions and senders each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, times, tallies in (
        ("weeks", "times", found.weeks),
        ("regions", "times-regions", found.regions),
        ("senders", "times-senders", found.senders),
    ):
        answers = draw_decisions(tallies, title=f"Answers by {name[:-1]} since {found.since}")
        (folder / f"{name}.svg").write_text(answers, encoding="utf-8")
        took = draw_times(tallies, title=f"Time to result by {name[:-1]} since {found.since}")
        (folder / f"{times}.svg").write_text(took, encoding="utf-8")


def _tabulate(title: str, tallies: Sequence[Tally]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for column in (*_COLUMNS, "to result", "95 % within", "to proof"):
        table.add_column(column, justify="right")
    for one in tallies:
        said = (one.fracture, one.no_fracture, one.uncertain, one.outside_scope, one.otherwise_not_analysed)
        counts = (one.images, *said, one.times.versions)
        times = (one.times.result_median_s, one.times.result_95_s, one.times.proof_median_s)
        table.add_row(one.name, *map(str, counts), *map(write_seconds, times))
    return table


def _tabulate_drift(drifts: Sequence[Drift], days: float) -> Table:
    title = f"Drift of the last {days:g} days against what the models were measured on (threshold {THRESHOLD})"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in ("model", "what", "images", "studies", "index", ""):
        table.add_column(column, justify="right" if column in {"images", "studies", "index"} else "left")
    for drift in drifts:
        one = drift.comparison
        studies, index = ("-", "-") if one is None else (str(one.count), f"{one.psi:.2f}")
        table.add_row(drift.model, drift.what, str(drift.images), studies, index, judge_drift(drift))
    return table


def judge_drift(drift: Drift) -> str:
    """Say in words what a comparison comes to."""
    one = drift.comparison
    if one is None:
        return Phrase("the bundle carries no reference: fracture-models reference")
    if not one.is_trusted:
        if one.needed is None:
            return Phrase("the reference is too small")
        return Phrase("too few to tell: {needed} studies are needed", needed=one.needed)
    if not one.has_drifted:
        return Phrase("as it was")
    return Phrase("DRIFTED") if drift.raises else Phrase("another mix, which raises nothing")
