"""Features of the frozen lower stages, computed once for all folds and epochs."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from inference.preprocessing import Preprocessing
from inference.types import Float32Array
from models.datasets import Sample
from models.export import export_onnx
from models.recipe import Progress, Recipe
from models.variations import render_variations

Float16Array = NDArray[np.float16]


@dataclass(frozen=True, kw_only=True)
class Features:
    """Frozen features of every sample: index 0 plain, then the variations."""

    maps: Float16Array
    """Shape (samples, 1 + variations, h, w, channels)."""
    cells: Float16Array
    """Cover of the outlined fractures, shape (samples, 1 + variations, cells, cells)."""


def cache_features(
    samples: Sequence[Sample],
    frozen: keras.Model,
    preprocessing: Preprocessing,
    recipe: Recipe,
    *,
    cells: int,
    progress: Progress,
    store: Path | None = None,
) -> Features:
    """Run the frozen part once over every sample and its variations; `store` keeps the outcome for later runs."""
    if store is not None and (kept := _recall(store / _name(samples, recipe))) is not None:
        return kept
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(export_onnx(frozen, half=False).SerializeToString(), options)
    copies = 1 + recipe.variations
    maps = np.empty((len(samples), copies, *frozen.output.shape[1:]), np.float16)
    covered = np.empty((len(samples), copies, cells, cells), np.float16)

    def prepare_all(index: int) -> tuple[Float32Array, Float32Array]:
        rng = np.random.default_rng((recipe.seed, samples[index].number))
        return render_variations(samples[index], preprocessing, copies=copies, cells=cells, rng=rng)

    with ThreadPoolExecutor(1) as ahead:
        pending = [ahead.submit(prepare_all, index) for index in range(min(4, len(samples)))]
        for index in progress(range(len(samples)), "frozen features"):
            if index + 4 < len(samples):
                pending.append(ahead.submit(prepare_all, index + 4))
            squares, covered[index] = pending.pop(0).result()
            maps[index] = session.run(None, {frozen.input.name: squares})[0]
    if store is not None:
        place = store / _name(samples, recipe)
        place.mkdir(parents=True, exist_ok=True)
        np.save(place / "cells.npy", covered)
        np.save(place / "maps.npy", maps)
    return Features(maps=maps, cells=covered)


def _name(samples: Sequence[Sample], recipe: Recipe) -> str:
    """Return a name that changes with everything that decides the features."""
    parts = (recipe.architecture, recipe.image_size, recipe.frozen_until, recipe.variations, recipe.seed)
    names = [sample.path.name for sample in samples]
    return hashlib.sha256(repr((parts, names)).encode()).hexdigest()[:16]


def _recall(place: Path) -> Features | None:
    try:
        return Features(maps=np.load(place / "maps.npy", mmap_mode="r"), cells=np.load(place / "cells.npy"))
    except FileNotFoundError:
        return None
