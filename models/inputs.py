"""What a training reads and how it is split, in the name of the folder that keeps what was computed from it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.datasets import Sample
from models.features import digest
from models.recipe import Recipe


def name_inputs(samples: Sequence[Sample], recipe: Recipe, folds: NDArray[np.int64]) -> str:
    """Return a folder name that changes with the bytes of a radiograph or weights file, a label, and a fold.

    Features of files that have changed since, and a fold's model that has seen what this run holds out, would be
    believed otherwise.
    """
    read = [_digest_file(sample.path) for sample in samples]
    weights = Path(recipe.weights)
    if weights.is_file():
        read.append(_digest_file(weights))
    return "inputs-" + digest((tuple(samples), read, recipe.weights, folds.tolist()))


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
