"""The data set a command reads: its options, and how it is loaded."""

import re
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

UNTOLD = "nothing tells which radiographs are one patient's: each file is taken for a patient of its own"

DataOption = Annotated[Path, typer.Option(help="Folder of the data set.", exists=True, file_okay=False)]
LayoutOption = Annotated[Layout, typer.Option(help="How the data set is laid out.")]
RegionOption = Annotated[
    str | None, typer.Option(help="Region that all radiographs show, e.g. HAND; stage 1 is not asked.")
]
PatientOption = Annotated[
    str | None,
    typer.Option(
        metavar="REGEX",
        help="Regular expression whose first group is the patient, in a file's path below --data, e.g. '(P[0-9]+)_': "
        "their radiographs stay together. For data sets that do not tell.",
    ),
]
PartOption = Annotated[str | None, typer.Option(help="Only this part of an official split: train, validation or test.")]
BundleArgument = Annotated[
    Path, typer.Argument(help="Folder of one bundle, or of several.", exists=True, file_okay=False)
]


def load_data(layout: Layout, folder: Path, task: Task | None = None, *, patient_from: str | None = None) -> Dataset:
    """Load a data set and print its remarks; one that is not as it should be ends the command with code 2.

    `task` decides how classes named by folders are read; without it their names decide. `patient_from` is the regular
    expression that finds the patient in a path.
    """
    pattern = None if patient_from is None else _compile(patient_from)
    try:
        dataset = LAYOUTS[layout.value](folder, task)
    except DatasetError as error:
        _end(f"read as layout {layout.value}: {error}; see --layout")
    for remark in dataset.remarks():
        console.print(remark, markup=False)
    if not dataset.samples:
        _end(f"no radiograph of {folder.name} can be used: {len(dataset.left_out)} are left out")
    if pattern is not None:
        dataset = tell_patients(dataset, folder, pattern)
    if not dataset.tells_patients:
        console.print(f"{UNTOLD}; --patient-from can tell", markup=False)
    return dataset


def tell_patients(dataset: Dataset, folder: Path, pattern: re.Pattern[str]) -> Dataset:
    """Return the data set with the patient that each file's path names; one that names none ends the command."""
    if dataset.tells_patients:
        raise typer.BadParameter(
            "--patient-from is for data sets that neither name patients nor number files; this one does"
        )
    paths = [sample.path.relative_to(folder).as_posix() for sample in dataset.samples]
    found = [match[1] if (match := pattern.search(path)) else None for path in paths]
    if without := [path for path, patient in zip(paths, found, strict=True) if not patient]:
        raise typer.BadParameter(f"--patient-from finds none in {len(without)} of {len(paths)} paths, as {without[0]}")
    console.print(f"{len(set(found))} patients, by --patient-from")
    samples = zip(dataset.samples, found, strict=True)
    return replace(dataset, samples=tuple(replace(sample, patient=patient or "") for sample, patient in samples))


def _compile(expression: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise typer.BadParameter(f"--patient-from {expression}: {error}") from error
    if not pattern.groups:
        raise typer.BadParameter(f"--patient-from {expression}: it has no group in brackets, which is the patient")
    return pattern


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
