"""Compute a bundle's figures again, from its table of predictions, and ask its model again about some of the pool."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from inference.bundle import Bundle
from inference.model import Model
from inference.types import Radiograph, Task
from inference.uncertainty import share_out
from models.datasets import Sample, read_unit_pixels
from models.fracture_figures import Box, cross_coverage, fracture_figures, play_pointing_game
from models.label_figures import region_figures, scope_figures, type_figures
from models.predictions import (
    TABLE,
    FracturePredictions,
    Predictions,
    PredictionsError,
    RegionPredictions,
    TypePredictions,
    read_predictions,
)
from models.recipe import Progress

KINDS: Mapping[Task, type[Predictions]] = {
    Task.REGION: RegionPredictions,
    Task.FRACTURE: FracturePredictions,
    Task.TYPE: TypePredictions,
}
ROUNDED = 1.1e-4
"""Figures are written with four decimals: one may be rounded up and its like down."""
TOLERANCE = 1e-3
"""Of a logit, relative to its size where that is above 1."""
CONFIDENCE_TOLERANCE = 1e-2
"""Of a confidence: training keeps what a frozen backbone gives in half precision. Of all 3,383 radiographs of the pool
region 1.1.0 names the label that it was stated to name, with confidences at most 0.006 from those stated."""


class Compared(NamedTuple):
    """A number that the bundle states, and the one found."""

    name: str
    stated: float | str | None
    found: float | str | None
    agrees: bool


def read_table(bundle: Bundle) -> Predictions | None:
    """Return the bundle's predictions, None where it carries none; raises PredictionsError for a table that is none."""
    path = bundle.folder / TABLE
    return read_predictions(path, KINDS[bundle.manifest.task]) if path.is_file() else None


def compare_figures(
    bundle: Bundle, table: Predictions, boxes: Mapping[str, Sequence[Box]] | None = None
) -> list[Compared]:
    """Return every figure of `metrics.json` that follows from the table; the pointing game only with `boxes`."""
    return list(_compare(compute_figures(bundle, table, boxes), read_metrics(bundle)["figures"], ""))


def name_unchecked(bundle: Bundle, compared: Sequence[Compared]) -> list[str]:
    """Return the figures that the bundle states and nothing was compared with; those of every region under one name.

    What rests on the folds' models themselves, their maps or their answers to other looks, no table holds.
    """
    found = _list_unchecked(read_metrics(bundle)["figures"], (), [one.name for one in compared])
    return sorted({" ".join(path) if len(path) < 3 else f"{path[0]} … {path[-1]}" for path in found})


def _list_unchecked(stated: Any, path: tuple[str, ...], checked: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield where `stated` lies if nothing of it was compared, or else what of it was not."""
    name = " ".join(path)
    within = [one for one in checked if not path or one == name or one.startswith(f"{name} ")]
    if not within:
        yield path
    elif isinstance(stated, Mapping):
        for key, value in stated.items():
            yield from _list_unchecked(value, (*path, key), within)


def read_metrics(bundle: Bundle) -> dict[str, Any]:
    """Return what `metrics.json` holds."""
    return dict(json.loads((bundle.folder / "metrics.json").read_text(encoding="utf-8")))


def compute_figures(
    bundle: Bundle, table: Predictions, boxes: Mapping[str, Sequence[Box]] | None = None
) -> dict[str, Any]:
    """Return the figures as training computes them."""
    if isinstance(table, FracturePredictions):
        figures = {**fracture_figures(table), "conformal": cross_coverage(table)}
        return figures if boxes is None else {**figures, "grad_cam_peak_in_box": play_pointing_game(table, boxes)}
    if isinstance(table, TypePredictions):
        return type_figures(table, bundle.manifest.labels)
    assert isinstance(table, RegionPredictions)  # noqa: S101 - the last of the three kinds
    limits = bundle.manifest.region
    assert limits is not None  # noqa: S101 - the manifest of a region bundle always has its table
    scope = scope_figures(table, threshold=limits.scope_threshold, least_confidence=limits.least_confidence)
    return {**region_figures(table, bundle.manifest.labels), "scope": scope}


def ask_again(
    model: Model, table: Predictions, samples: Mapping[str, Sample], *, count: int, progress: Progress
) -> list[Compared]:
    """Return what the shipped model says about `count` of the samples, by name, beside what it said in training."""
    known = np.flatnonzero([name in samples for name in table.image])
    if isinstance(table, FracturePredictions):
        known = known[np.isin(table.output[known], model.bundle.manifest.labels)]
    if not known.size:
        raise PredictionsError(f"none of the data set's radiographs is in {TABLE}")
    chosen = np.sort(np.random.default_rng(0).permutation(known)[:count])
    found: list[Compared] = []
    for row in progress(chosen.tolist(), "radiographs"):
        radiograph = Radiograph(pixels=read_unit_pixels(samples[table.image[row]].path))
        found += _ask(model, table, row, radiograph)
    return found


def _ask(model: Model, table: Predictions, row: int, radiograph: Radiograph) -> Iterator[Compared]:
    name, manifest = str(table.image[row]), model.bundle.manifest
    if isinstance(table, FracturePredictions):
        logit = model.look_for(str(table.output[row]), radiograph).logit
        yield compare_numbers(f"{name}: logit", float(table.final_logit[row]), logit, TOLERANCE)
        return
    assert isinstance(table, RegionPredictions | TypePredictions)  # noqa: S101 - the other two kinds
    shares = share_out(model.run(radiograph)[0].logits, manifest.labels, _trained_temperature(model.bundle))
    best, stated = max(shares, key=shares.__getitem__), str(table.final_label[row])
    yield Compared(f"{name}: label", stated, best, stated == best)
    confidence = float(table.final_confidence[row])
    yield compare_numbers(f"{name}: confidence", confidence, shares[best], CONFIDENCE_TOLERANCE)


def compare_numbers(name: str, stated: float | None, found: float, tolerance: float) -> Compared:
    """Compare within a tolerance that is relative to a number above 1."""
    agrees = stated is not None and abs(stated - found) <= tolerance * max(1.0, abs(stated))
    return Compared(name, stated, found, agrees)


def _compare(found: Any, stated: Any, name: str) -> Iterator[Compared]:
    """Yield the leaves of `found`, each beside that of the same place in `stated`, which may say more."""
    if isinstance(found, Mapping):
        for key, value in found.items():
            inner = stated.get(key) if isinstance(stated, Mapping) else None
            yield from _compare(value, inner, f"{name} {key}".strip())
    elif isinstance(found, list):
        yield Compared(name, str(stated), str(found), stated == found)
    elif isinstance(found, float) and isinstance(stated, int | float):
        yield Compared(name, stated, found, abs(found - stated) <= ROUNDED)
    else:
        yield Compared(name, stated, found, stated == found)


def _trained_temperature(bundle: Bundle) -> float:
    """Return the temperature that training chose: a later calibration changes no weight and tells the former one."""
    table = bundle.manifest.region or bundle.manifest.type
    assert table is not None  # noqa: S101 - the bundle names labels
    return float(read_metrics(bundle).get("calibration", {}).get("temperature_in_training", table.temperature))
