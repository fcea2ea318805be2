"""Conformal prediction, a promise for each class: whether fractured or not, the truth is kept as often as promised.

Label-conditional (Mondrian) split-conformal prediction (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random
World, 2005, chapter 4; Sadinle, Lei and Wasserman, J. Am. Stat. Assoc. 114, 2019). A probability keeps the answer
"fracture" unless it is lower than all but a few of those of fractures, and "no fracture" unless it is higher than all
but a few of the others. The promise holds whatever the model is worth, for radiographs exchangeable with those it was
fitted on: from the same source, and as independent of each other; views of one patient are so only in part. The limits
are fitted region by region (`models.region_calibration`). Of a model that tells nothing it falls short by about 0.01:
which way its logits point is then chosen by chance, by the radiographs that set the limits.
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


def keep_answers(probabilities: FloatArray, limits: ConformalLimits) -> tuple[BoolArray, BoolArray]:
    """Return for each radiograph whether "fracture" is kept, and whether "no fracture" is."""
    return probabilities >= limits.fracture_at_least, probabilities <= limits.no_fracture_at_most
