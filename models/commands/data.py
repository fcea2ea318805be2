"""The data set a command reads: its options, and how it is loaded."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.markup import escape

from inference.types import Task
from models.commands.progress import console, refuse
from models.datasets import LAYOUTS, Dataset, DatasetError, official_parts
from models.datasets.sample import TRAIN

Layout = StrEnum("Layout", {name: name for name in LAYOUTS})  # type: ignore[misc]  # the layouts that are there
FRACATLAS = Layout("fracatlas")

DataOption = Annotated[Path, typer.Option(help="Folder of the data set.", exists=True, file_okay=False)]
LayoutOption = Annotated[Layout, typer.Option(help="How the data set is laid out.")]
RegionOption = Annotated[
    str | None, typer.Option(help="Region that all radiographs show, e.g. HAND; stage 1 is not asked.")
]
PartOption = Annotated[str | None, typer.Option(help="Only this part of an official split: train, validation or test.")]
BundleArgument = Annotated[
    Path, typer.Argument(help="Folder of one bundle, or of several.", exists=True, file_okay=False)
]


def load_data(layout: Layout, folder: Path, task: Task | None = None) -> Dataset:
    """Load a data set and print its remarks; one that is not as it should be ends the command with code 2.

    `task` decides how classes named by folders are read; without it their names decide.
    """
    try:
        dataset = LAYOUTS[layout.value](folder, task)
    except DatasetError as error:
        _end(f"read as layout {layout.value}: {error}; see --layout")
    for remark in dataset.remarks():
        console.print(remark, markup=False)
    if not dataset.samples:
        _end(f"no radiograph of {folder.name} can be used: {len(dataset.left_out)} are left out")
    return dataset


def _end(why: str) -> NoReturn:
    console.print(f"[red]{escape(why)}[/red]")
    raise typer.Exit(2)


def take_part(dataset: Dataset, part: str | None) -> Dataset:
    """Return one part of the official split, all where `part` is None; a part that is not there ends the command."""
    if part is None:
        return dataset
    parts = official_parts(dataset.samples)
    if part not in parts:
        refuse(f"no part {part!r} in this data set: {', '.join(parts) or 'it has no official split'}")
    return replace(dataset, samples=tuple(dataset.samples[row] for row in parts[part]))


def take_training_part(dataset: Dataset) -> Dataset:
    """Return what may be learned from: the official training part where there is one, otherwise everything."""
    if TRAIN not in official_parts(dataset.samples):
        return dataset
    taken = take_part(dataset, TRAIN)
    console.print(f"learning from the {len(taken.samples)} radiographs of the official part {TRAIN!r} alone")
    return taken
