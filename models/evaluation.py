"""Figures with intervals, from predictions on radiographs the model did not see."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

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
    return bootstrap_all({"": figure}, size, clusters=clusters, level=level)[""]


def bootstrap_all(
    figures: Mapping[str, Callable[[IntArray], float]], size: int, *, clusters: IntArray, level: float = 0.95
) -> dict[str, Figure]:
    """Return several figures of the same rows, each as `bootstrap` gives it, from the same resampled clusters."""
    everything = np.arange(size)
    values = {name: figure(everything) if size else float("nan") for name, figure in figures.items()}
    defined = [name for name, value in values.items() if np.isfinite(value)]
    drawn: dict[str, list[float]] = {name: [] for name in defined}
    for rows in _resample(clusters) if defined else ():
        for name in defined:
            drawn[name].append(figures[name](rows))
    return {name: _figure(value, drawn.get(name, []), level) for name, value in values.items()}


def _resample(clusters: IntArray) -> Iterator[IntArray]:
    """Yield the rows of clusters drawn with replacement, as many as there are, `RESAMPLES` times."""
    rng = np.random.default_rng(0)
    order = np.argsort(clusters, kind="stable")
    _, starts, sizes = np.unique(clusters[order], return_index=True, return_counts=True)
    for _ in range(RESAMPLES):
        drawn = rng.integers(0, len(starts), len(starts))
        lengths = sizes[drawn]
        before = np.cumsum(lengths) - lengths
        yield order[np.arange(lengths.sum()) + np.repeat(starts[drawn] - before, lengths)]


def _figure(value: float, drawn: list[float], level: float) -> Figure:
    finite = [item for item in drawn if np.isfinite(item)]
    if not finite:
        return Figure(value=None, low=None, high=None)
    low, high = np.percentile(finite, [50 - 50 * level, 50 + 50 * level])
    return Figure(value=round(float(value), 4), low=round(float(low), 4), high=round(float(high), 4))


def area_under_curve(scores: FloatArray, positive: BoolArray) -> float:
    """Return the area under the ROC curve, nan without both classes."""
    count, others = int(positive.sum()), int((~positive).sum())
    if not count or not others:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * others))


def average_precision(scores: FloatArray, positive: BoolArray) -> float:
    """Return the area under the steps of the precision-recall curve, nan without a positive; ties share a step."""
    if not positive.any():
        return float("nan")
    order = np.argsort(-scores)
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    found = np.cumsum(positive[order])[last]
    return float((np.diff(found, prepend=0) * found / (last + 1)).sum() / positive.sum())


def share(hits: BoolArray | FloatArray) -> float:
    """Return the share of True, or the mean; nan of nothing."""
    return float(hits.mean()) if hits.size else float("nan")


def ratio(part: float, whole: float) -> float:
    """Return `part / whole`, nan where there is no whole."""
    return float(part / whole) if whole else float("nan")


def confusion(predicted: IntArray, actual: IntArray, *, classes: int) -> list[list[int]]:
    """Return counts, a row for each actual class and a column for each predicted one."""
    table = np.zeros((classes, classes), int)
    np.add.at(table, (actual, predicted), 1)
    return [[int(count) for count in row] for row in table]
