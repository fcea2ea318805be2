"""From a recipe to a bundle folder, for either task."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.bundle import Manifest
from inference.types import Task
from models import fracture_bundle, region_bundle
from models.bundle_writer import write_bundle
from models.datasets import Dataset
from models.figures import draw_confusion, draw_reliability, draw_roc
from models.protocol import IMAGENET_OFFSET, IMAGENET_SCALE
from models.recipe import Progress, Recipe


def make_bundle(
    folder: Path,
    dataset: Dataset,
    recipe: Recipe,
    folds: NDArray[np.int64],
    *,
    fixed: Mapping[str, Any],
    metrics: dict[str, Any],
    command: str,
    progress: Progress,
    store: Path | None = None,
) -> Manifest:
    """Make the bundle that `fixed["task"]` asks for, with its figures, metrics and card."""
    preprocessing = {"image_size": recipe.image_size, "scale": IMAGENET_SCALE, "offset": IMAGENET_OFFSET}
    known = {**fixed, "architecture": recipe.architecture, "preprocessing": preprocessing}
    pictures = folder / "figures"
    if fixed["task"] is Task.REGION:
        model, scope, fields, figures = region_bundle.make(dataset, recipe, folds, progress=progress, store=store)
        table = figures["confusion"]
        draw_confusion(
            pictures / "confusion.png", table["rows_are_actual"], table["labels"], title="Regions, out of fold"
        )
        metrics["figures"] = figures
        return write_bundle(folder, model, {**known, **fields}, metrics, command=command, scope=scope)
    model, fields, figures, curves = fracture_bundle.make(dataset, recipe, folds, progress=progress, store=store)
    draw_roc(pictures / "roc.png", **curves, title="Fracture, out of fold")
    draw_reliability(pictures / "reliability.png", **curves, title="Fracture, out of fold")
    metrics["figures"] = figures
    return write_bundle(folder, model, {**known, **fields}, metrics, command=command)
