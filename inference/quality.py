"""Is a heat map worth showing? One that misleads is withheld with a reason; the prediction beside it stays.

Three numbers say it, each of which does not depend on how fine the map is: how much of the map is hot, how much of its
heat lies on the limb, and whether the mirror image of the radiograph is hot in the same place.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from inference.bundle import QualityLimits
from inference.limb import Limb
from inference.phrases import Phrase
from inference.preprocessing import Letterbox
from inference.sight import Sight
from inference.types import Float32Array

_BLUR = 0.05
"""Of the side: heat of two views this close together counts as in the same place."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What a heat map is worth."""

    flatness: float
    """Share of the map's area that holds half of its heat: 0.5 for an even map, near 0 for one spot, 1 without heat."""
    inside: float
    """Share of the heat that lies on the limb; see `inference.limb`. 0 without heat."""
    agreement: float | None
    """Correlation of the map with that of the mirror image, turned back, -1 to 1; None without that."""

    def objection(self, limits: QualityLimits) -> str:
        """Return why the map should not be shown, as half a sentence; empty for a good one."""
        if self.flatness > limits.flatness:
            return Phrase("no place in it stands out")
        if self.inside < limits.inside:
            return Phrase("only {inside:.0%} of the heat lies on the limb", inside=self.inside)
        if self.agreement is not None and self.agreement < limits.agreement:
            return Phrase("that of the mirror image shows another place")
        return ""


def object_to(sight: Sight, limb: Limb, limits: QualityLimits) -> str:
    """Return why the heat map should not be shown, as half a sentence; empty for a good one.

    Both looks must be worth showing: a closer one sees no contradiction of mirror images that were hot in two places.
    """
    looks = [look for look in (sight, sight.first) if look is not None]
    if not all(np.isfinite(look.cams).all() for look in looks):
        return Phrase("it holds what is no number")
    objections = (measure_quality(look.cams, look.box, limb).objection(limits) for look in looks)
    return next(filter(None, objections), "")


def measure_quality(cams: Float32Array, box: Letterbox, limb: Limb) -> Quality:
    """Measure the maps of one output, shape (views, h, w), each as the radiograph lies and over all of the square."""
    cam = cams.mean(axis=0)
    on_limb = cv2.resize(limb.within(box).astype(np.float32), cam.shape[::-1], interpolation=cv2.INTER_AREA)
    heat = float(cam.sum())
    return Quality(
        flatness=_measure_flatness(cam),
        inside=float((cam * on_limb).sum()) / heat if heat > 0 else 0.0,
        agreement=_correlate(cams[0], cams[1]) if len(cams) > 1 else None,
    )


def _measure_flatness(cam: Float32Array) -> float:
    falling = np.sort(cam, axis=None)[::-1].astype(np.float64)
    gathered = np.concatenate([[0.0], falling.cumsum()])
    if gathered[-1] <= 0:
        return 1.0
    return float(np.interp(gathered[-1] / 2, gathered, np.arange(gathered.size))) / falling.size


def _correlate(one: Float32Array, other: Float32Array) -> float:
    """Return Pearson's correlation of both maps, blurred; 0 where one of them is even."""
    maps = [cv2.GaussianBlur(cam, (0, 0), _BLUR * cam.shape[1]) for cam in (one, other)]
    centred = [cam - cam.mean() for cam in maps]
    size = float(np.sqrt(np.prod([np.square(cam).sum() for cam in centred])))
    return float((centred[0] * centred[1]).sum()) / size if size > 0 else 0.0
