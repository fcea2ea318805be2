"""Figures with intervals, from predictions on radiographs the model did not see."""

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from inference.grad_cam import find_peak, spread_over_source
from inference.preprocessing import Letterbox
from inference.types import Float32Array
from models.datasets import Sample

FloatArray = NDArray[np.floating]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

RESAMPLES = 1000


class Figure(TypedDict):
    """A figure with its 95 % bootstrap interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


def bootstrap(figure: Callable[[IntArray], float], size: int, *, clusters: IntArray, level: float = 0.95) -> Figure:
    """Return a figure of `size` rows with its percentile interval of `level` over resampled clusters.

    Views of one patient share a cluster; resampling them one by one would make the interval too narrow.
    """
    everything = np.arange(size)
    value = figure(everything) if size else float("nan")
    if not np.isfinite(value):
        return Figure(value=None, low=None, high=None)
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(clusters == cluster) for cluster in np.unique(clusters)]
    drawn = (
        np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))]) for _ in range(RESAMPLES)
    )
    values = [figure(rows) for rows in drawn]
    finite = [item for item in values if np.isfinite(item)]
    low, high = np.percentile(finite, [50 - 50 * level, 50 + 50 * level])
    return Figure(value=round(float(value), 4), low=round(float(low), 4), high=round(float(high), 4))


def area_under_curve(scores: FloatArray, positive: BoolArray) -> float:
    """Return the area under the ROC curve, nan without both classes."""
    count, others = int(positive.sum()), int((~positive).sum())
    if not count or not others:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * others))


def share(hits: BoolArray) -> float:
    """Return the share of True, nan of nothing."""
    return float(hits.mean()) if hits.size else float("nan")


def points_inside(cam: Float32Array, sample: Sample, *, rows: int, columns: int, size: int) -> bool:
    """Tell whether the peak of the heat map lies in one of the sample's boxes (the pointing game)."""
    box = Letterbox.fit(rows=rows, columns=columns, pixel_aspect=1.0, size=size)
    peak = find_peak(spread_over_source(cam, box, rows=rows, columns=columns))
    if peak is None:
        return False
    x, y = peak
    return any(
        left <= x + 0.5 <= left + width and top <= y + 0.5 <= top + height for left, top, width, height in sample.boxes
    )


def confusion(predicted: IntArray, actual: IntArray, *, classes: int) -> list[list[int]]:
    """Return counts, a row for each actual class and a column for each predicted one."""
    table = np.zeros((classes, classes), int)
    np.add.at(table, (actual, predicted), 1)
    return [[int(count) for count in row] for row in table]


def number_clusters(groups: Sequence[int]) -> IntArray:
    """Return consecutive cluster numbers for any hashable-by-value integers."""
    return np.asarray(np.unique(np.asarray(groups), return_inverse=True)[1], np.int64)
