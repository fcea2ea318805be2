"""`fracture-models`: train, evaluate and verify bundles."""

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as ProgressTask
from rich.text import Text

from inference.bundle import load_bundle
from inference.errors import BundleError
from inference.pipeline import Model
from inference.types import Radiograph, Task
from models.datasets import BLOCK, LAYOUTS, Dataset, DatasetError, assign_folds
from models.recipe import Recipe

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train, evaluate and verify model bundles.")
console = Console()

Layout = StrEnum("Layout", {name: name for name in LAYOUTS})  # type: ignore[misc]  # the layouts that are there
FRACATLAS = Layout("fracatlas")
SEED = 2026


@app.command()
def train(
    *,
    data: Annotated[Path, typer.Option(help="Folder of the data set.", exists=True, file_okay=False)],
    task: Annotated[Task, typer.Option(help="What the bundle answers.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle to write.")],
    layout: Annotated[Layout, typer.Option(help="How the data set is laid out.")] = FRACATLAS,
    model: Annotated[str, typer.Option(help="Architecture by name.")] = "efficientnet_lite1",
    image_size: Annotated[int, typer.Option(min=64, help="Side of the square the model reads, pixels.")] = 320,
    epochs: Annotated[int, typer.Option(min=1)] = 6,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    learning_rate: Annotated[float, typer.Option(min=0)] = 1e-3,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-validation.")] = 5,
    frozen_until: Annotated[str, typer.Option(help="Last layer that keeps its ImageNet weights.")] = "block5_out",
    variations: Annotated[int, typer.Option(min=0, help="Random variations of each radiograph.")] = 6,
    localisation: Annotated[float, typer.Option(min=0, help="Weight of the loss on the outlined fractures.")] = 0.0,
    negatives: Annotated[float, typer.Option(min=0, help="Negatives an epoch per positive; 0 takes all.")] = 0.0,
    bundle_version: Annotated[str, typer.Option(help="Version of the bundle.")] = "1.0.0",
    features: Annotated[Path | None, typer.Option(help="Keep the frozen features here and use them again.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of folds, variations and weights.")] = SEED,
) -> None:
    """Cross-validate, calibrate, train on everything, and write a bundle with its card and figures."""
    from models.making import make_bundle  # noqa: PLC0415 - Keras takes seconds to import

    recipe = Recipe(
        architecture=model,
        image_size=image_size,
        frozen_until=frozen_until,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        variations=variations,
        localisation=localisation,
        negatives=negatives or None,
        seed=seed,
    )
    dataset = _load(layout, data)
    places = assign_folds(dataset.samples, folds=folds, seed=seed)
    metrics = {
        "data": _describe(dataset),
        "recipe": asdict(recipe),
        "folds": folds,
        "block": BLOCK,
    }
    fixed = {"version": bundle_version, "name": out.name, "task": task}
    command = _command(layout, task, recipe, folds=folds, version=bundle_version, out=out)
    manifest = make_bundle(
        out, dataset, recipe, places, fixed=fixed, metrics=metrics, command=command, progress=_progress, store=features
    )
    console.print(f"{out}: {manifest.name} {manifest.version}; its figures are on {out / 'card.md'}")


@app.command()
def verify(bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")]) -> None:
    """Check a bundle's digests, load it, and show what it answers to a grey square."""
    try:
        verified = load_bundle(bundle)
        loaded = Model.load(verified, runtime="onnx", threads=2)
    except BundleError as error:
        console.print(f"[red]refused[/red]: {error}")
        raise typer.Exit(1) from error
    side = verified.manifest.preprocessing.image_size
    scores, _ = loaded.run(Radiograph(pixels=np.full((side, side), 0.5, np.float32)))
    for name, digest in verified.manifest.digests.items():
        console.print(f"{name:12} {digest}")
    answers = ", ".join(f"{n} {v:.3f}" for n, v in zip(verified.manifest.labels, scores.logits, strict=True))
    console.print(f"{verified.manifest.name} {verified.manifest.version}: logits of a grey square: {answers}")


@app.command()
def evaluate(
    bundles: Annotated[Path, typer.Argument(help="Folder of bundles.", exists=True, file_okay=False)],
    *,
    data: Annotated[Path, typer.Option(help="Folder of the data set.", exists=True, file_okay=False)],
    layout: Annotated[Layout, typer.Option(help="How the data set is laid out.")] = FRACATLAS,
    limit: Annotated[int, typer.Option(min=0, help="Evaluate only this many, spread evenly; 0 takes all.")] = 0,
) -> None:
    """Run the whole pipeline over radiographs it has not been trained on and print its figures as JSON."""
    from models.held_out import evaluate_pipeline  # noqa: PLC0415 - scikit-learn takes a second to import

    dataset = _load(layout, data)
    samples = dataset.samples
    if limit:
        samples = tuple(samples[index] for index in np.linspace(0, len(samples) - 1, limit).astype(int))
    try:
        figures = evaluate_pipeline(bundles, samples, progress=_progress)
    except BundleError as error:
        console.print(f"[red]refused[/red]: {error}")
        raise typer.Exit(1) from error
    console.print_json(data=figures)


def main() -> None:
    """Run the command line."""
    app()


def _load(layout: Layout, data: Path) -> Dataset:
    try:
        dataset = LAYOUTS[layout.value](data)
    except DatasetError as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(2) from error
    for reason, count in Counter(dataset.left_out.values()).items():
        names = [name for name, why in dataset.left_out.items() if why == reason]
        console.print(f"left out, {reason}: {count} ({', '.join(names[:5])}{', …' if count > 5 else ''})")
    return dataset


def _describe(dataset: Dataset) -> dict[str, Any]:
    return {
        "samples": len(dataset.samples),
        "left_out": dict(Counter(dataset.left_out.values())),
        "left_out_names": sorted(dataset.left_out),
        "contradicted": sum(sample.contradicted for sample in dataset.samples),
    }


def _command(layout: Layout, task: Task, recipe: Recipe, *, folds: int, version: str, out: Path) -> str:
    options: Mapping[str, object] = {
        "layout": layout.value,
        "data": f"PATH/{layout.value}",
        "task": task.value,
        "model": recipe.architecture,
        "image-size": recipe.image_size,
        "epochs": recipe.epochs,
        "batch-size": recipe.batch_size,
        "learning-rate": f"{recipe.learning_rate:g}",
        "folds": folds,
        "frozen-until": recipe.frozen_until,
        "variations": recipe.variations,
        "localisation": f"{recipe.localisation:g}",
        "negatives": f"{recipe.negatives or 0:g}",
        "bundle-version": version,
        "seed": recipe.seed,
        "out": f"models/bundles/{out.name}",
    }
    return shlex.join(["fracture-models", "train", *(word for k, v in options.items() for word in (f"--{k}", str(v)))])


class _RateColumn(ProgressColumn):
    """Steps a second."""

    def render(self, task: ProgressTask) -> Text:
        """Show the rate, nothing before it is known."""
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


def _progress(steps: Sequence[int], title: str) -> Iterator[int]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn())
    with Progress(*columns, _RateColumn(), TimeRemainingColumn(), console=console) as bars:
        yield from bars.track(steps, description=title)
