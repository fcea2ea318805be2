"""The data set a command reads: its options, and how it is loaded."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from inference.types import Task
from models.commands.progress import console
from models.datasets import LAYOUTS, Dataset, DatasetError

Layout = StrEnum("Layout", {name: name for name in LAYOUTS})  # type: ignore[misc]  # the layouts that are there
FRACATLAS = Layout("fracatlas")

DataOption = Annotated[Path, typer.Option(help="Folder of the data set.", exists=True, file_okay=False)]
LayoutOption = Annotated[Layout, typer.Option(help="How the data set is laid out.")]
RegionOption = Annotated[
    str | None, typer.Option(help="Region that all radiographs show, e.g. HAND; stage 1 is not asked.")
]
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
        console.print(f"[red]{escape(str(error))}[/red]")
        raise typer.Exit(2) from error
    for remark in dataset.remarks():
        console.print(remark, markup=False)
    return dataset
