"""The console and the progress bars every command shows."""

from collections.abc import Iterator, Sequence
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

console = Console()

FOLDS = "folds"


def show_progress(steps: Sequence[int], title: str) -> Iterator[int]:
    """Yield the steps under a bar with their number, the rate a second, and the time left.

    All steps are images, but those titled `FOLDS`.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn())
    with Progress(
        *columns, _RateColumn("" if title == FOLDS else " images"), TimeRemainingColumn(), console=console
    ) as bars:
        yield from bars.track(steps, description=title)


def refuse(reason: Exception | str) -> NoReturn:
    """Say why the command ends, with code 1."""
    console.print(f"[red]refused[/red]: {escape(str(reason))}")
    raise typer.Exit(1)


class _RateColumn(ProgressColumn):
    """Steps a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Show the rate, nothing before it is known."""
        return Text(f"{task.speed:.1f}{self._unit}/s" if task.speed else "")
