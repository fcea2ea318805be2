"""Features of the frozen lower layers, computed once for all folds and epochs.

Every draw of every epoch has a random variation of its own, rendered and taken through the frozen layers once; the
folds then share them. Without frozen layers these are the squares themselves.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import keras
import numpy as np
from numpy.typing import NDArray

from inference.preprocessing import Preprocessing
from inference.types import Float32Array
from models.augmentation import SHIFTED, Strength
from models.datasets import Sample
from models.exported import open_export
from models.recipe import Progress, Recipe
from models.variations import Variation, list_places, render_plain, render_shifted, render_variation, schedule

Float16Array = NDArray[np.float16]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
Rendered = TypeVar("Rendered")
Encode = Callable[[Float32Array], Float32Array]

LOOKS = ("plain", "mirrored", "shifted")
"""How a held-out radiograph is shown to a model: as served, its mirror image, and as it might come from elsewhere."""
BATCH = 16
_RENDERED = "borders left away, collimated alike"
"""Part of the names of what is kept; changed with how radiographs are rendered, which their recipes do not say."""


@dataclass(frozen=True, kw_only=True)
class Features:
    """What the frozen layers make of every look and of every draw."""

    looks: Float16Array
    """Shape (samples, looks, h, w, channels); looks as in `LOOKS`."""
    drawn: IntArray
    """Sample of each draw, shape (epochs, draws)."""
    maps: Float16Array
    """Shape (epochs * draws, h, w, channels)."""
    cover: Float16Array
    """How much of each cell the outlined fractures cover, shape (epochs * draws, cells, cells)."""
    shows: BoolArray
    """Whether each draw shows its fractures, and its region; shape (epochs * draws, 2)."""


class FeatureCache:
    """Compute features, or read those an earlier run with the same recipe left in `folder`."""

    def __init__(self, folder: Path, frozen: keras.Model, preprocessing: Preprocessing, *, cells: int) -> None:
        self._folder, self._preprocessing, self._cells = folder, preprocessing, cells
        self._shape = tuple(frozen.output.shape[1:])
        self._encode = _encoder(frozen)

    def load(self, samples: Sequence[Sample], recipe: Recipe, progress: Progress) -> Features:
        """Return the features; a folder of them is written as they come, and marked when it is complete."""
        looks = self._folder / name_looks(samples, recipe)
        # How fine the cells are is the task's, which changes nothing else of what is drawn.
        draws = self._folder / f"{name_draws(samples, recipe)}-{self._cells}"
        drawn = schedule(samples, recipe)
        _once(looks, lambda: self._compute_looks(looks, samples, recipe, progress))
        _once(draws, lambda: self._compute_draws(draws, samples, drawn.ravel(), recipe, progress))
        return Features(
            looks=np.load(looks / "maps.npy", mmap_mode="r"),
            drawn=drawn,
            maps=np.load(draws / "maps.npy", mmap_mode="r"),
            cover=np.load(draws / "cover.npy"),
            shows=np.load(draws / "shows.npy"),
        )

    def _compute_looks(self, place: Path, samples: Sequence[Sample], recipe: Recipe, progress: Progress) -> None:
        looks = _create(place / "maps.npy", (len(samples), len(LOOKS), *self._shape))
        places = list_places(samples)

        def render(row: int) -> Float32Array:
            plain = render_plain(samples[row], self._preprocessing)
            rng = draw_of_shifted(recipe, row)
            shifted = render_shifted(samples[row], self._preprocessing, rng=rng, places=places)
            return np.stack([plain, plain[:, ::-1], shifted])

        for rows, squares in _ahead(render, len(samples), progress, "radiographs as tested"):
            features = self._encode(self._normalise(np.concatenate(squares)))
            looks[rows] = features.reshape(len(rows), len(LOOKS), *self._shape)

    def _compute_draws(
        self, place: Path, samples: Sequence[Sample], drawn: IntArray, recipe: Recipe, progress: Progress
    ) -> None:
        maps = _create(place / "maps.npy", (len(drawn), *self._shape))
        strength, places = _strength(recipe), list_places(samples) if recipe.localisation else {}
        cover = np.empty((len(drawn), self._cells, self._cells), np.float16)
        shows = np.empty((len(drawn), 2), bool)

        def render(draw: int) -> Variation:
            rng = np.random.default_rng((recipe.seed, 2, draw))
            sample = samples[drawn[draw]]
            return render_variation(
                sample, self._preprocessing, cells=self._cells, rng=rng, strength=strength, places=places
            )

        for rows, variations in _ahead(render, len(drawn), progress, "radiographs as drawn"):
            maps[rows] = self._encode(self._normalise(np.stack([v.square for v in variations])))
            cover[rows] = np.stack([v.cover for v in variations])
            shows[rows] = [(v.shows_fractures, v.shows_region) for v in variations]
        np.save(place / "cover.npy", cover)
        np.save(place / "shows.npy", shows)

    def _normalise(self, squares: Float32Array) -> Float32Array:
        scale, offset = np.float32(self._preprocessing.scale), np.float32(self._preprocessing.offset)
        return np.asarray((squares * scale + offset)[..., np.newaxis], np.float32)


def _encoder(frozen: keras.Model) -> Encode:
    if len(frozen.layers) == 1:
        return lambda squares: squares
    answer = open_export(frozen, half=False)
    return lambda squares: answer(squares)["output"]


def _create(path: Path, shape: tuple[int, ...]) -> Float16Array:
    """Return an array that lies in a file: with many epochs it outgrows the memory."""
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)


def _ahead(
    render: Callable[[int], Rendered], count: int, progress: Progress, title: str
) -> Iterator[tuple[IntArray, list[Rendered]]]:
    """Yield batches of row numbers with what `render` makes of them, one batch ahead."""
    with ThreadPoolExecutor(2) as threads:
        pending = [threads.submit(render, row) for row in range(min(BATCH, count))]
        batch: list[int] = []
        for row in progress(range(count), title):
            batch.append(row)
            if len(batch) == BATCH or row == count - 1:
                following = range(row + 1, min(row + 1 + BATCH, count))
                coming = [threads.submit(render, next_row) for next_row in following]
                yield np.array(batch), [future.result() for future in pending]
                batch, pending = [], coming


def _once(place: Path, compute: Callable[[], None]) -> None:
    """Compute what the folder is to hold, unless it is marked complete."""
    if not (place / "complete").exists():
        place.mkdir(parents=True, exist_ok=True)
        compute()
        (place / "complete").touch()


def draw_of_shifted(recipe: Recipe, row: int) -> np.random.Generator:
    """Return what decides how a sample looks as it might come from elsewhere."""
    return np.random.default_rng((recipe.seed, 1, row))


def name_looks(samples: Sequence[Sample], recipe: Recipe) -> str:
    """Return a name that changes with everything that decides the features of what a model is tested on."""
    return "looks-" + digest((*_name_squares(samples, recipe), SHIFTED))


def name_draws(samples: Sequence[Sample], recipe: Recipe) -> str:
    """Return a folder name that changes with everything that decides the features of what a model learns from."""
    # Only where outlines are taught are those of others borrowed.
    apart = () if recipe.localisation else ("as it lies",)
    named = *_name_squares(samples, recipe), recipe.epochs, recipe.negatives, _strength(recipe), *apart
    return "draws-" + digest(named)


def _name_squares(samples: Sequence[Sample], recipe: Recipe) -> tuple[object, ...]:
    names = [sample.path.as_posix() for sample in samples]
    return _RENDERED, recipe.architecture, recipe.image_size, recipe.frozen_until, recipe.seed, names


def _strength(recipe: Recipe) -> Strength:
    return Strength(close_ups=recipe.close_ups)


def digest(parts: object) -> str:
    """Return 16 hexadecimal digits that change with the printed form of `parts`."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
