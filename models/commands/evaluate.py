"""`fracture-models evaluate`."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from inference.errors import BundleError
from models.commands.data import FRACATLAS, DataOption, LayoutOption, load_data
from models.commands.progress import console, show_progress


def evaluate(
    bundles: Annotated[Path, typer.Argument(help="Folder of bundles.", exists=True, file_okay=False)],
    *,
    data: DataOption,
    layout: LayoutOption = FRACATLAS,
    limit: Annotated[int, typer.Option(min=0, help="Evaluate only this many, spread evenly; 0 takes all.")] = 0,
) -> None:
    """Run the whole pipeline over radiographs it has not been trained on and print its figures as JSON."""
    from models.held_out import evaluate_pipeline  # noqa: PLC0415 - scikit-learn takes a second to import

    dataset = load_data(layout, data)
    samples = dataset.samples
    if limit:
        samples = tuple(samples[index] for index in np.linspace(0, len(samples) - 1, limit).astype(int))
    try:
        figures = evaluate_pipeline(bundles, samples, progress=show_progress)
    except BundleError as error:
        console.print(f"[red]refused[/red]: {error}")
        raise typer.Exit(1) from error
    console.print_json(data=figures)
