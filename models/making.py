"""From a recipe to bundle folders: one training, a bundle for each task that it learned."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.bundle import Manifest
from inference.types import Task
from models import fracture_bundle, region_bundle, type_bundle
from models.bundle_writer import write_bundle
from models.claims import check_claims
from models.datasets import Dataset
from models.history_figure import draw_history
from models.inputs import name_inputs
from models.lessons import teach
from models.protocol import IMAGENET_OFFSET, IMAGENET_SCALE, Experiment
from models.recipe import Progress, Recipe
from models.table_figures import draw_table


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
    """Train one backbone for all tasks, and write the bundle of each with its figures, metrics and card.

    Raises
    ------
    NothingToClaimError
        Before training, where the data set tells too little; after it, where the figures support no claim.
    """
    check_claims(dataset, tuple(folders), folds)
    lessons = [teach(task, dataset) for task in folders]
    kept = store / name_inputs(dataset.samples, recipe, folds)
    trained = Experiment(dataset.samples, lessons, recipe, progress=progress, store=kept).run(folds)
    preprocessing = {"image_size": recipe.image_size, "scale": IMAGENET_SCALE, "offset": IMAGENET_OFFSET}
    # Before any is written: a bundle that is there would stand in the way of the same command again.
    all_made = {task: _MAKERS[task](dataset, trained) for task in folders}
    manifests = []
    for task, folder in folders.items():
        made = all_made[task]
        fields = {
            "name": folder.name,
            "version": version,
            "task": task,
            "architecture": recipe.architecture,
            "preprocessing": preprocessing,
        }
        history = {"history": trained.history}
        draw_history(folder / "figures" / "history.png", trained.history, asdict(recipe))
        manifests.append(write_bundle(folder, made, fields, {**metrics, **history}))
        draw_table(folder / "figures", made.predictions, manifests[-1].labels)
    return manifests


_MAKERS = {Task.REGION: region_bundle.make, Task.FRACTURE: fracture_bundle.make, Task.TYPE: type_bundle.make}
