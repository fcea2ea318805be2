"""`fracture-models evaluate`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.table import Table

from inference.errors import BundleError
from inference.types import Task
from models.commands.data import (
    FRACATLAS,
    BundleArgument,
    DataOption,
    Layout,
    LayoutOption,
    PartOption,
    PatientOption,
    RegionOption,
    load_data,
    take_part,
)
from models.commands.new_folders import check_can_be_written
from models.commands.progress import console, refuse, show_progress
from models.datasets import Dataset, inseparable_units
from models.pool import describe, name_images, warn_of_calibrated, warn_of_seen

if TYPE_CHECKING:
    from models.asking import Asked
from models.held_out import Answers

EXAMPLES = """\
[bold]Examples[/bold]

The whole pipeline, on folders `fractured` and `normal`:
fracture-models evaluate models/bundles --data PATH/site --layout folders --out report

A fracture bundle alone, all radiographs being wrists:
fracture-models evaluate models/bundles/fracture --data PATH/wrists --layout folders --region FOREARM

Stage 1 alone, on a sample:
fracture-models evaluate models/bundles/region --data PATH/fracatlas --limit 300
"""


def evaluate(
    bundle: BundleArgument,
    *,
    data: DataOption,
    layout: LayoutOption = FRACATLAS,
    region: RegionOption = None,
    part: PartOption = None,
    patient_from: PatientOption = None,
    out: Annotated[Path | None, typer.Option(help="Write report.json, report.md, tables and figures here.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Evaluate only this many, spread evenly; 0 takes all.")] = 0,
) -> None:
    """Ask a bundle, or the whole pipeline, about labelled radiographs.

    Every figure comes with its interval. On radiographs that no model was
    trained on they are worth something; on the pool of a bundle, which its
    final model has seen, they flatter, and the command says so. Honest figures
    of the pool are on the card.

    Where the data set names no region, stage 1 names it, or --region tells it
    for all radiographs.
    """
    from models.asking import load_asked  # noqa: PLC0415 - scikit-learn takes a second to import
    from models.held_out import answer_all  # noqa: PLC0415 - likewise
    from models.report import compute_report  # noqa: PLC0415 - likewise

    if out is not None:
        check_can_be_written(out)
    try:
        asked = load_asked(bundle, region=region)
    except BundleError as error:
        refuse(error)
    tasks = [one.manifest.task for one in asked.bundles]
    asked_for = tasks[0] if len(tasks) == 1 else None
    dataset = take_part(load_data(layout, data, asked_for, patient_from=patient_from), part)
    if region is None and tasks == [Task.FRACTURE] and not any(sample.region for sample in dataset.samples):
        refuse("this data set names no region, and a fracture bundle alone does not either: tell it with --region")
    warnings = [
        sentence
        for one in asked.bundles
        for warn in (warn_of_seen, warn_of_calibrated)
        if (sentence := warn(one.folder, dataset))
    ]
    for sentence in warnings:
        console.print(f"[bold red]{sentence}[/bold red]")
    rows = np.arange(len(dataset.samples))
    if limit:
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(limit, len(rows))).astype(int))]
    names, clusters = name_images(dataset.samples), inseparable_units(dataset.samples)[rows]
    answers = answer_all(
        asked, [dataset.samples[row] for row in rows], [names[row] for row in rows], clusters, progress=show_progress
    )
    report = {"data": _describe(dataset, data, layout), "warnings": warnings, **compute_report(asked, answers)}
    _show(report)
    if out is not None:
        _write(out, report, asked, answers)


def _describe(dataset: Dataset, folder: Path, layout: Layout) -> dict[str, Any]:
    return {"folder": folder.resolve().name, "layout": layout.value, **describe(dataset)}


def _show(report: dict[str, Any]) -> None:
    from models.report_text import list_headlines  # noqa: PLC0415 - as above

    for title, head, rows in list_headlines(report):
        table = Table(*head, title=title, title_justify="left")
        for row in rows:
            table.add_row(*row)
        console.print(table)


def _write(out: Path, report: dict[str, Any], asked: "Asked", answers: "Answers") -> None:
    from models.report_figures import draw_report  # noqa: PLC0415 - as above
    from models.report_text import render_report  # noqa: PLC0415 - as above

    out.mkdir(parents=True, exist_ok=True)
    pictures = draw_report(out / "figures", report, asked, answers)
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    relative = [picture.relative_to(out).as_posix() for picture in pictures]
    (out / "report.md").write_text(render_report(report, relative), encoding="utf-8")
    console.print(f"written: {out / 'report.md'}, report.json, the tables of answers and {len(pictures)} figures")
