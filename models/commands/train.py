"""`fracture-models train`."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from inference.types import Task
from models.commands.data import FRACATLAS, DataOption, Layout, LayoutOption, load_data
from models.commands.progress import console, show_progress
from models.datasets import BLOCK, assign_folds
from models.pool import describe
from models.recipe import Recipe

SEED = 2026


def train(
    *,
    data: DataOption,
    task: Annotated[Task, typer.Option(help="What the bundle answers.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle to write.")],
    layout: LayoutOption = FRACATLAS,
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
    dataset = load_data(layout, data)
    places = assign_folds(dataset.samples, folds=folds, seed=seed)
    metrics = {
        "data": describe(dataset),
        "recipe": asdict(recipe),
        "folds": folds,
        "block": BLOCK,
    }
    fixed = {"version": bundle_version, "name": out.name, "task": task}
    command = _command(layout, task, recipe, folds=folds, version=bundle_version, out=out)
    manifest = make_bundle(
        out,
        dataset,
        recipe,
        places,
        fixed=fixed,
        metrics=metrics,
        command=command,
        progress=show_progress,
        store=features,
    )
    console.print(f"{out}: {manifest.name} {manifest.version}; its figures are on {out / 'card.md'}")


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
