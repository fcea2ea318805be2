"""Radiographs as a model reads them in training: which are drawn when, and how each is rendered."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.preprocessing import Exposed, Letterbox, Preprocessing
from inference.types import Float32Array, Radiograph
from models.augmentation import (
    SHIFTED,
    Polygons,
    Strength,
    collimate,
    draw_affine,
    draw_cells,
    mark,
    place,
    seen_share,
    vary_exposure,
)
from models.datasets import Sample, read_unit_pixels
from models.recipe import Recipe

IntArray = NDArray[np.int64]
Places = Mapping[str, Sequence[Polygons]]
"""Region -> the outlines of its fractures, a plate each, in shares of the plate's sides."""

SEEN = 0.6
"""A variation shows the fractures when this share of their outlines lies inside it."""
WHOLE = 0.6
"""A variation shows a region when this share of the plate lies inside it: the joints in view tell one from another."""
TRIES = 6


class Variation(NamedTuple):
    """One rendering of one radiograph."""

    square: Float32Array
    """Shape (size, size), range [0, 1]."""
    cover: Float32Array
    """How much of each cell the outlined fractures cover, shape (cells, cells)."""
    shows_fractures: bool
    """False where a fracture, or without outlines much of the plate, lies outside; true of one without a fracture."""
    shows_region: bool


def schedule(samples: Sequence[Sample], recipe: Recipe) -> IntArray:
    """Return which samples are drawn in each epoch, shape (epochs, draws).

    Every fracture in every epoch, and negatives drawn so that scarce regions are seen more often than they occur
    (inversely to the square root of their number).
    """
    epochs = [_draw(samples, recipe, epoch) for epoch in range(recipe.epochs)]
    return np.stack(epochs) if epochs else np.empty((0, 0), np.int64)


def _draw(samples: Sequence[Sample], recipe: Recipe, epoch: int) -> IntArray:
    rng = np.random.default_rng((recipe.seed, epoch))
    everything = np.arange(len(samples))
    if recipe.negatives is None:
        return rng.permutation(everything)
    positive = np.array([bool(sample.fractured) for sample in samples])
    if not positive.any():
        return rng.permutation(everything)
    counts = Counter(sample.region for sample, fractured in zip(samples, positive, strict=True) if not fractured)
    others = everything[~positive]
    weight = np.array([1 / np.sqrt(counts[samples[row].region]) for row in others])
    wanted = min(round(positive.sum() * recipe.negatives), len(others))
    chosen = rng.choice(others, wanted, replace=False, p=weight / weight.sum())
    return rng.permutation(np.concatenate([everything[positive], chosen]))


def render_plain(sample: Sample, preprocessing: Preprocessing) -> Float32Array:
    """Return the square (size, size) exactly as serving prepares it, before scale and offset."""
    return _draw_as_served(read_unit_pixels(sample.path), preprocessing)


def render_variation(
    sample: Sample,
    preprocessing: Preprocessing,
    *,
    cells: int,
    rng: np.random.Generator,
    strength: Strength = Strength(),  # noqa: B008 - frozen
    insist: bool = False,
    places: Places = MappingProxyType({}),
) -> Variation:
    """Return a random variation; with `insist` one that shows the fractures, the plate as it lies if need be.

    A radiograph without outlines is collimated as if it had those of another plate of its region, where `places` knows
    some: what is in view must not tell who is broken. (That plate may be one of a fold that is held out; the label is
    not told.) Borders that a variation gets stay in it, as those with lettering in them do when serving.
    """
    pixels = read_unit_pixels(sample.path)
    size = preprocessing.image_size
    rows, columns = pixels.shape
    aim = _borrow_outlines(sample, places, rng, rows=rows, columns=columns)
    box = Letterbox.around(Radiograph(pixels=pixels), size=size)
    affine = draw_affine(box, rng, strength, centre=_middle(aim, rng))
    for _ in range(TRIES):
        if _seen(aim, box.exposed, affine, size=size) >= SEEN:
            break
        affine = draw_affine(box, rng, strength, centre=_middle(aim, rng))
    if insist and _seen(aim, box.exposed, affine, size=size) < SEEN:
        affine = np.array([[box.scale_x, 0, box.left], [0, box.scale_y, box.top]], np.float32)
    square = place(pixels, affine, size=size, padding=preprocessing.padding)
    if not insist and rng.random() < 0.3:
        square = collimate(square, rng)
    square = vary_exposure(square, rng, strength)
    if rng.random() < strength.marks:
        square = mark(square, rng)
    return Variation(
        square=square,
        cover=draw_cells(sample.polygons, affine, size=size, cells=cells),
        shows_fractures=_seen(sample, box.exposed, affine, size=size) >= SEEN,
        shows_region=_plate_share(box.exposed, affine, size=size) >= WHOLE,
    )


def render_shifted(
    sample: Sample, preprocessing: Preprocessing, *, rng: np.random.Generator, places: Places
) -> Float32Array:
    """Return what serving makes of the radiograph as it might come from elsewhere."""
    return _draw_as_served(draw_shifted(sample, preprocessing, rng=rng, places=places), preprocessing)


def draw_shifted(
    sample: Sample, preprocessing: Preprocessing, *, rng: np.random.Generator, places: Places
) -> Float32Array:
    """Return the radiograph as it might come from elsewhere, its fractures in view, collimated as `places` tell."""
    return render_variation(
        sample, preprocessing, cells=1, rng=rng, strength=SHIFTED, insist=True, places=places
    ).square


def _draw_as_served(pixels: Float32Array, preprocessing: Preprocessing) -> Float32Array:
    box = Letterbox.around(Radiograph(pixels=pixels), size=preprocessing.image_size)
    return box.draw(pixels, padding=preprocessing.padding)


def list_places(samples: Sequence[Sample]) -> Places:
    """Return where the fractures of each region lie on their plates."""
    places: dict[str, list[Polygons]] = defaultdict(list)
    for sample in samples:
        if sample.polygons:
            rows, columns = read_unit_pixels(sample.path).shape
            places[sample.region].append(_scale(sample.polygons, across=1 / columns, down=1 / rows))
    return places


def _borrow_outlines(sample: Sample, places: Places, rng: np.random.Generator, *, rows: int, columns: int) -> Sample:
    others = places.get(sample.region)
    if sample.polygons or not others:
        return sample
    return replace(sample, polygons=_scale(others[int(rng.integers(len(others)))], across=columns, down=rows))


def _scale(polygons: Polygons, *, across: float, down: float) -> Polygons:
    return tuple(tuple((x * across, y * down) for x, y in outline) for outline in polygons)


def _middle(sample: Sample, rng: np.random.Generator) -> tuple[float, float] | None:
    """Return the middle of one outlined fracture."""
    if not sample.polygons:
        return None
    points = np.array(sample.polygons[rng.integers(len(sample.polygons))])
    x, y = points.mean(axis=0)
    return float(x), float(y)


def _seen(sample: Sample, exposed: Exposed, affine: Float32Array, *, size: int) -> float:
    """Return the share of what decides the label that lies inside: of the outlines, or where none are, of the plate."""
    if sample.polygons or sample.fractured is False:
        return seen_share(sample.polygons, affine, size=size)
    return _plate_share(exposed, affine, size=size)


def _plate_share(exposed: Exposed, affine: Float32Array, *, size: int) -> float:
    """Return the share of the plate, without borders of one grey, that lies inside the square."""
    y, x = np.mgrid[0.05:1:0.1, 0.05:1:0.1]
    points = np.stack([exposed.left + x.ravel() * exposed.columns, exposed.top + y.ravel() * exposed.rows], axis=1)
    moved = points @ affine[:, :2].T + affine[:, 2]
    return float(((moved >= 0) & (moved < size)).all(axis=1).mean())
