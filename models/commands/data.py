"""The data set a command reads: its options, and how it is loaded."""

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from models.commands.progress import console
from models.datasets import LAYOUTS, Dataset, DatasetError

Layout = StrEnum("Layout", {name: name for name in LAYOUTS})  # type: ignore[misc]  # the layouts that are there
FRACATLAS = Layout("fracatlas")

DataOption = Annotated[Path, typer.Option(help="Folder of the data set.", exists=True, file_okay=False)]
LayoutOption = Annotated[Layout, typer.Option(help="How the data set is laid out.")]


def load_data(layout: Layout, folder: Path) -> Dataset:
    """Load a data set and say which files were left out; a folder of another layout ends the command with code 2."""
    try:
        dataset = LAYOUTS[layout.value](folder)
    except DatasetError as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(2) from error
    for reason, count in Counter(dataset.left_out.values()).items():
        names = [name for name, why in dataset.left_out.items() if why == reason]
        console.print(f"left out, {reason}: {count} ({', '.join(names[:5])}{', …' if count > 5 else ''})")
    return dataset
