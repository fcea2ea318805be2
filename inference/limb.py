"""Where in a radiograph the limb is: not in the padding, the collimated border, the air beside it, or a marker."""

from dataclasses import dataclass

import cv2
import numpy as np

from inference.preprocessing import Letterbox
from inference.types import Radiograph, UInt8Array

SIDE = 128
"""Side of the square in which the limb is searched."""
_ABOVE_AIR = 0.15
"""Tissue begins this far from the level of air to that which divides dark from bright, and two grey levels more."""
_SMALL = 0.01
"""A smaller part of the picture is a marker or noise."""
_NARROW = 0.06
"""A narrower part, as a fraction of the side, is the edge of a collimator or of a cassette."""
_MARGIN = 0.05
"""The limb is widened by this fraction of the side: heat has the width of a cell."""


@dataclass(frozen=True, kw_only=True)
class Limb:
    """Where the limb is."""

    mask: UInt8Array
    """1 where it is and 0 elsewhere, shape (SIDE, SIDE)."""
    box: Letterbox
    """The square that the mask covers."""

    def within(self, box: Letterbox) -> UInt8Array:
        """Return the mask over another square, which may show a part of the radiograph: shape (SIDE, SIDE)."""
        # Pixel centres of that square to those of this one.
        scale_x, scale_y = self.box.scale_x / box.scale_x, self.box.scale_y / box.scale_y
        per = box.size / SIDE
        back = np.array(
            [
                [scale_x * per, 0, self.box.left - box.left * scale_x + (scale_x * per - 1) / 2],
                [0, scale_y * per, self.box.top - box.top * scale_y + (scale_y * per - 1) / 2],
            ]
        )
        limb = cv2.warpAffine(self.mask, back, (SIDE, SIDE), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
        drawn = np.zeros((SIDE, SIDE), np.uint8)
        drawn[tuple(slice(round(w.start / per), round(w.stop / per)) for w in box.window)] = 1
        return np.asarray(limb * drawn, np.uint8)


def find_limb(radiograph: Radiograph) -> Limb:
    """Return where the limb is, in the square that every model reads.

    The level of air is the most frequent grey of the dark half by Otsu's threshold (IEEE Trans. SMC 9, 1979). Where
    nothing can be told apart, all of the picture counts as limb.
    """
    box = Letterbox.around(radiograph, size=SIDE)
    square = cv2.convertScaleAbs(box.draw(radiograph.pixels, padding=0), alpha=255)
    picture = np.zeros((SIDE, SIDE), np.uint8)
    picture[box.window] = 1
    smooth = np.asarray(cv2.GaussianBlur(square, (0, 0), SIDE / 100), np.uint8)
    bright = (smooth > _tissue_level(smooth[picture > 0])) & (picture > 0)
    limb = _keep_limbs(bright.astype(np.uint8), int(picture.sum()))
    if not limb.any():
        return Limb(mask=picture, box=box)
    reach = 2 * round(_MARGIN * SIDE) + 1
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    return Limb(mask=np.asarray(cv2.min(cv2.dilate(limb, around), picture), np.uint8), box=box)


def _tissue_level(values: UInt8Array) -> float:
    divide, _ = cv2.threshold(values.reshape(-1, 1), 0, 255, cv2.THRESH_OTSU)
    counts = np.bincount(values[values <= divide], minlength=256)[: int(divide) + 1]
    air = int(np.convolve(counts, np.ones(5), "same").argmax())
    return float(air + _ABOVE_AIR * (divide - air) + 2)


def _keep_limbs(bright: UInt8Array, size: int) -> UInt8Array:
    """Leave out connected parts that are too small or too narrow for a limb; `size` is the picture's area."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(bright)
    kept = [
        label
        for label in range(1, count)
        if statistics[label, cv2.CC_STAT_AREA] >= _SMALL * size
        and min(statistics[label, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]) >= _NARROW * SIDE
    ]
    return np.isin(labels, kept).astype(np.uint8)
