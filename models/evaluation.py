"""Figures with intervals, from predictions on radiographs the model did not see."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypedDict, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, rankdata

FloatArray = NDArray[np.floating]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

RESAMPLES = 1000


class Figure(TypedDict):
    """A figure with its 95 % interval; None where it is not defined.

    The interval is that of the bootstrap over clusters, but for a share whose resamples are all alike, see `Share`, and
    for the calibration error, see `models.calibration.CalibrationError`. Of other figures whose resamples are all
    alike, an AUC of 1 say, it has no width, and says less than it seems to.
    """

    value: float | None
    low: float | None
    high: float | None


@runtime_checkable
class Bounded(Protocol):
    """A figure that knows more of its interval than the percentiles of its resamples tell."""

    def bound(
        self, value: float, percentiles: tuple[float, float], clusters: IntArray, level: float
    ) -> tuple[float, float]:
        """Return both ends of the interval of `level` around `value`, by the percentiles of the resamples."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """The share of `hits` among some rows, each of shape (rows,).

    Where all resamples are alike, as those of 13 hits of 13 are, they say nothing of what another 13 would give. There
    the interval is the exact one of a binomial share (Clopper and Pearson, Biometrika 26, 1934), of as many trials as
    there are clusters: radiographs of one patient may all be found or all be missed, so that to count each of them
    would promise too much.
    """

    hits: BoolArray
    among: BoolArray

    def __call__(self, at: IntArray) -> float:
        """Return the share in these rows, nan where there are none to count among."""
        among = self.among[at]
        return ratio(int((self.hits[at] & among).sum()), int(among.sum()))

    def bound(
        self, value: float, percentiles: tuple[float, float], clusters: IntArray, level: float
    ) -> tuple[float, float]:
        """Return the percentiles, or the exact interval where they are one."""
        if percentiles[0] < percentiles[1]:
            return percentiles
        return bound_share(value, np.unique(clusters[self.among]).size, level=level)


class FOne(Share):
    """F1, where `hits` are right alarms `among` all rows with an alarm or a reason for one: `2 s / (1 + s)` of it."""

    def __call__(self, at: IntArray) -> float:
        """Return F1 in these rows, nan where nothing was to be found and nothing was."""
        share = super().__call__(at)
        return 2 * share / (1 + share)

    def bound(
        self, value: float, percentiles: tuple[float, float], clusters: IntArray, level: float
    ) -> tuple[float, float]:
        """Return the percentiles, or what the exact interval of the share makes of F1 where they are one."""
        if percentiles[0] < percentiles[1]:
            return percentiles
        low, high = super().bound(value / (2 - value), percentiles, clusters, level)
        return 2 * low / (1 + low), 2 * high / (1 + high)


def count_share(hits: BoolArray) -> Share:
    """Return the share of hits among all rows."""
    return Share(hits=hits, among=np.ones(hits.shape, bool))


def bound_share(share: float, trials: int, *, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a share of so many trials; one that lies between two counts gets the wider ends."""
    # The product may fall just short of the whole number it stands for, or just beyond.
    fewest, most = (int(end(share * trials - slack)) for end, slack in ((np.floor, -1e-6), (np.ceil, 1e-6)))
    low, high = (binomtest(hits, trials).proportion_ci(level, method="exact") for hits in (fewest, most))
    return float(low.low), float(high.high)


def bootstrap(figure: Callable[[IntArray], float], size: int, *, clusters: IntArray, level: float = 0.95) -> Figure:
    """Return a figure of `size` rows with its interval of `level` over resampled clusters, see `Figure`.

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
    return {name: _figure(figures[name], value, drawn.get(name, []), clusters, level) for name, value in values.items()}


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


def _figure(figure: object, value: float, drawn: list[float], clusters: IntArray, level: float) -> Figure:
    finite = [item for item in drawn if np.isfinite(item)]
    if not finite:
        return Figure(value=None, low=None, high=None)
    low, high = np.percentile(finite, [50 - 50 * level, 50 + 50 * level]).tolist()
    if isinstance(figure, Bounded):
        low, high = figure.bound(value, (low, high), clusters, level)
    return Figure(value=round(float(value), 4), low=round(low, 4), high=round(high, 4))


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
