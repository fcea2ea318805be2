"""Calibration and promises region by region, where the regions have radiographs enough, and shared where they have not.

The same logit means another thing in another region: fractures of elbows are frequent in the pool, those of knees are
not, and a sound shoulder looks more like a fracture to the model than a sound knee. Each promise is fitted to the class
that it is about, sensitivity to fractures and specificity to the others, of the region itself where it has enough of
them. Regions with fewer share one limit. That on the others, of which there are some in every region, is moved by how
far the region lies from those that share it.

Where few radiographs of a region are broken, the promised specificity is reached at a probability of a few per cent:
"fracture" said of what is most likely none. So the operating points are held to what is more likely than not: the
specific one is never below a probability of 0.5, and the sensitive one, where fractures are frequent, never above it.
Either only keeps its promise all the more; what lies between is uncertain. The limits of conformal prediction stay as
they are fitted.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from models.calibration import OperatingPoints, Platt, fit_platt
from models.conformal import MISCOVERAGE, ConformalLimits

FloatArray = NDArray[np.floating]
BoolArray = NDArray[np.bool_]
TextArray = NDArray[np.str_]

OWN_FRACTURES, OWN_SOUND = 50, 100
"""Radiographs of a class from which a region has a limit of its own: 5 % of them are some, and not one or two."""
_SLACK = 5.0
"""Radiographs' worth of belief that a region is like the others it shares a limit with."""
_FREE = 10.0
"""By which the logit is stretched, so that the penalty on regions' intercepts leaves the slope alone."""


class RegionCalibration(NamedTuple):
    """What an answer of a manifest says of one region."""

    platt: Platt
    points: OperatingPoints
    limits: ConformalLimits


class _Limit(NamedTuple):
    """A limit on what rises with the probability."""

    at: float
    is_promised: bool
    """Whether there are enough for conformal prediction to promise by it; where not, it is only the nearest."""


def calibrate_regions(
    logits: FloatArray,
    fractured: BoolArray,
    region: TextArray,
    regions: Sequence[str],
    *,
    miscoverage: float = MISCOVERAGE,
) -> dict[str, RegionCalibration]:
    """Calibrate each of `regions` by radiographs that the model has not seen.

    `logits`, `fractured` and `region` have shape (samples,). There must be a fracture and a radiograph without one.
    The promises, at the operating points and of conformal prediction, are of 1 - `miscoverage`.
    """
    platts = _fit_platts(logits, fractured, region, regions)
    fractures = _pool(fractured, region, regions, own_from=OWN_FRACTURES)
    others = _pool(~fractured, region, regions, own_from=OWN_SOUND)
    # Of a model that has learned nothing a higher logit may mean a lower probability; the promises hold all the same.
    signs = {name: float(np.sign(platt.slope)) for name, platt in platts.items()}
    rising = logits * np.array([signs.get(name, 0.0) for name in region.tolist()])
    broken = _fit_limits(rising, fractured, region, fractures, miscoverage=miscoverage, slack=np.inf)
    sound = _fit_limits(-rising, ~fractured, region, others, miscoverage=miscoverage, slack=_SLACK)
    return {name: _combine(platts[name], broken[name], sound[name], miscoverage) for name in regions}


def _combine(platt: Platt, broken: _Limit, sound: _Limit, miscoverage: float) -> RegionCalibration:
    """State the limits as probabilities; where the two points cross, both promises hold at either one.

    A model that has learned nothing gives all radiographs one probability: whichever it is, it lies between the points.
    """
    rising = Platt(slope=abs(platt.slope), intercept=platt.intercept)
    sensitive, specific = rising.apply(np.array([broken.at, -sound.at])).tolist()
    low, high = sorted([sensitive, float(np.nextafter(specific, 1.0))])
    limits = ConformalLimits(
        1 - miscoverage,
        fracture_at_least=sensitive if broken.is_promised else 0.0,
        no_fracture_at_most=specific if sound.is_promised else 1.0,
    )
    return RegionCalibration(platt, OperatingPoints(sensitive=low, specific=high).hold_to_the_likelier(), limits)


def _fit_platts(
    logits: FloatArray, fractured: BoolArray, region: TextArray, regions: Sequence[str]
) -> dict[str, Platt]:
    """Fit slope and intercept to each region with fractures enough, and one slope to the others together."""
    found = {}
    for names in _pool(fractured, region, regions, own_from=OWN_FRACTURES):
        here = np.isin(region, names)
        if len(names) == 1 and _has_both(fractured[here]):
            found[names[0]] = fit_platt(logits[here], fractured[here])
        else:
            found |= _fit_shared(logits[here], fractured[here], region[here], names)
    return found


def _fit_shared(logits: FloatArray, fractured: BoolArray, region: TextArray, names: Sequence[str]) -> dict[str, Platt]:
    """Fit one slope, and intercepts that differ only as far as the radiographs of a region insist."""
    if not _has_both(fractured):
        # Nothing tells what a logit is worth here: it is taken as it is.
        return dict.fromkeys(names, Platt(slope=1.0, intercept=0.0))
    table = np.column_stack([_FREE * np.asarray(logits, np.float64), *(region == name for name in names)])
    model = LogisticRegression(C=1.0, max_iter=1000).fit(table, fractured)
    slope, *offsets = model.coef_[0].tolist()
    start = float(model.intercept_[0])
    return {
        name: Platt(slope=_FREE * slope, intercept=start + offset) for name, offset in zip(names, offsets, strict=True)
    }


def _fit_limits(
    fit: FloatArray,
    chosen: BoolArray,
    region: TextArray,
    pools: Sequence[Sequence[str]],
    *,
    miscoverage: float,
    slack: float,
) -> dict[str, _Limit]:
    """Return the limits that all but a few of the chosen reach; `slack` is infinite where regions must not differ."""
    found: dict[str, _Limit] = {}
    for names in pools:
        here = chosen & np.isin(region, names)
        if not here.any():
            here = chosen
        mean = float(fit[here].mean())
        moved = {name: _shift(fit[here & (region == name)] - mean, slack) for name in names} if len(names) > 1 else {}
        values = np.sort(fit[here] - np.array([moved.get(name, 0.0) for name in region[here].tolist()]))
        # The product of decimal fractions may fall just short of the whole number it stands for.
        beyond = int(np.floor(miscoverage * (values.size + 1) + 1e-9))
        nearest = float(values[max(beyond, 1) - 1])
        found |= {name: _Limit(at=nearest + moved.get(name, 0.0), is_promised=beyond > 0) for name in names}
    return found


def _shift(distances: FloatArray, slack: float) -> float:
    return float(distances.sum() / (distances.size + slack)) if np.isfinite(slack) else 0.0


def _pool(chosen: BoolArray, region: TextArray, regions: Sequence[str], *, own_from: int) -> list[list[str]]:
    """Return each region with enough of the chosen alone, and the others together."""
    counts: Mapping[str, int] = {name: int((chosen & (region == name)).sum()) for name in regions}
    rest = [name for name in regions if counts[name] < own_from]
    return [*([name] for name in regions if counts[name] >= own_from), *([rest] if rest else [])]


def _has_both(fractured: BoolArray) -> bool:
    return bool(fractured.any() and not fractured.all())
