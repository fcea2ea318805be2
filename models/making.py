"""From a recipe to bundle folders: one training, a bundle for each task that it learned."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.bundle import Manifest
from inference.types import Task
from models import fracture_bundle, region_bundle, type_bundle
from models.bundle_writer import Made, write_bundle
from models.datasets import Dataset
from models.figures import draw_confusion, draw_history, draw_precision_recall, draw_reliability, draw_roc
from models.fracture_figures import select_answered
from models.lessons import teach
from models.predictions import FracturePredictions
from models.protocol import IMAGENET_OFFSET, IMAGENET_SCALE, Experiment, Trained
from models.recipe import Progress, Recipe


def make_bundles(
    folders: Mapping[Task, Path],
    dataset: Dataset,
    recipe: Recipe,
    folds: NDArray[np.int64],
    *,
    version: str,
    metrics: Mapping[str, Any],
    progress: Progress,
    store: Path,
) -> Sequence[Manifest]:
    """Train one backbone for all tasks, and write the bundle of each with its figures, metrics and card."""
    lessons = [teach(task, dataset) for task in folders]
    trained = Experiment(dataset.samples, lessons, recipe, progress=progress, store=store).run(folds)
    preprocessing = {"image_size": recipe.image_size, "scale": IMAGENET_SCALE, "offset": IMAGENET_OFFSET}
    manifests = []
    for task, folder in folders.items():
        made = _MAKERS[task](dataset, trained, folder / "figures")
        fields = {
            "name": folder.name,
            "version": version,
            "task": task,
            "architecture": recipe.architecture,
            "preprocessing": preprocessing,
        }
        history = {"history": trained.history}
        draw_history(folder / "figures" / "history.png", trained.history, title="Training")
        manifests.append(write_bundle(folder, made, fields, {**metrics, **history}))
    return manifests


def _make_region(dataset: Dataset, trained: Trained, pictures: Path) -> Made:
    return _with_confusion(region_bundle.make(dataset, trained), pictures, title="Regions, out of fold")


def _make_type(dataset: Dataset, trained: Trained, pictures: Path) -> Made:
    return _with_confusion(type_bundle.make(dataset, trained), pictures, title="Types, out of fold")


def _with_confusion(made: Made, pictures: Path, *, title: str) -> Made:
    table = made.figures["confusion"]
    draw_confusion(pictures / "confusion.png", table["rows_are_actual"], table["labels"], title=title)
    return made


def _make_fracture(dataset: Dataset, trained: Trained, pictures: Path) -> Made:
    made = fracture_bundle.make(dataset, trained)
    assert isinstance(made.predictions, FracturePredictions)  # noqa: S101 - narrows the type
    answered = select_answered(made.predictions)
    curves = {"probabilities": answered.probability.astype(np.float64), "fractured": answered.fractured.astype(float)}
    for name, draw in (
        ("roc", draw_roc),
        ("precision_recall", draw_precision_recall),
        ("reliability", draw_reliability),
    ):
        draw(pictures / f"{name}.png", **curves, title="Fracture, out of fold")
    return made


_MAKERS = {Task.REGION: _make_region, Task.FRACTURE: _make_fracture, Task.TYPE: _make_type}
