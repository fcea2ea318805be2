"""Conformal prediction, a promise for each class: whether fractured or not, the truth is kept as often as promised.

Label-conditional (Mondrian) split-conformal prediction (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random
World, 2005, chapter 4; Sadinle, Lei and Wasserman, J. Am. Stat. Assoc. 114, 2019). A probability keeps the answer
"fracture" unless it is lower than all but a few of those of fractures, and "no fracture" unless it is higher than all
but a few of the others. The promise holds whatever the model is worth, for radiographs exchangeable with those it was
fitted on: from the same source, and as independent of each other; views of one patient are so only in part.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
BoolArray = NDArray[np.bool_]

MISCOVERAGE = 0.05
"""Share of each class whose true answer may be ruled out."""


class ConformalLimits(NamedTuple):
    """Limits on the calibrated probability, named as in a manifest's `[[answers]]`."""

    coverage: float
    """The promise: 1 less the share of each class that may lose its true answer."""
    fracture_at_least: float
    """From this probability on, "fracture" is kept."""
    no_fracture_at_most: float
    """Up to this probability, "no fracture" is kept."""


class Coverage(NamedTuple):
    """What was found of radiographs the limits were not fitted on; nan of nothing."""

    fracture: float
    """Share of fractures that keep "fracture"."""
    no_fracture: float
    """Share of the others that keep "no fracture"."""
    both: float
    """Share of all that keep both answers."""
    none: float
    """Share of all that keep neither."""


def fit_conformal(probabilities: FloatArray, fractured: BoolArray, *, miscoverage: float) -> ConformalLimits:
    """Return the limits that rule out the truth in at most `miscoverage` of each class.

    `probabilities`, shape (samples,), are of radiographs that the model was neither trained nor calibrated on. Of n in
    a class the k = floor(miscoverage * (n + 1)) least fitting lie beyond the limit; where k is 0 nothing is ruled out.

    Raises
    ------
    ValueError
        `miscoverage` is not between 0 and 1.
    """
    if not 0 < miscoverage < 1:
        raise ValueError(f"a miscoverage of {miscoverage} promises nothing: it lies between 0 and 1")
    return ConformalLimits(
        coverage=1 - miscoverage,
        fracture_at_least=_least_kept(probabilities[fractured], miscoverage, otherwise=0.0),
        no_fracture_at_most=-_least_kept(-probabilities[~fractured], miscoverage, otherwise=-1.0),
    )


def measure_coverage(probabilities: FloatArray, fractured: BoolArray, limits: ConformalLimits) -> Coverage:
    """Return how often the truth is kept, of each class, and how often the answer is not one alone."""
    keeps_fracture = probabilities >= limits.fracture_at_least
    keeps_none = probabilities <= limits.no_fracture_at_most
    return Coverage(
        fracture=_share(keeps_fracture[fractured]),
        no_fracture=_share(keeps_none[~fractured]),
        both=_share(keeps_fracture & keeps_none),
        none=_share(~keeps_fracture & ~keeps_none),
    )


def _least_kept(fit: FloatArray, miscoverage: float, *, otherwise: float) -> float:
    """Return the k-th smallest value, k = floor(miscoverage * (n + 1)), or `otherwise` where k is 0."""
    # The product of decimal fractions may fall just short of the whole number it stands for.
    beyond = int(np.floor(miscoverage * (fit.size + 1) + 1e-9))
    return float(np.sort(fit)[beyond - 1]) if beyond else otherwise


def _share(kept: BoolArray) -> float:
    return float(kept.mean()) if kept.size else float("nan")
