"""Hot areas of a heat map as boxes in source pixels."""

import cv2
import numpy as np

from inference.types import Float32Array, Roi

HOT = 0.65
"""An area is hot from this fraction of the highest heat on."""
MOST = 3
"""More boxes than these would not guide anyone."""


FINEST = 512
"""Samples along the shorter side that a search for hot areas needs at most."""


def find_rois(heatmap: Float32Array, *, hot: float = HOT, most: int = MOST) -> tuple[Roi, ...]:
    """Return the boxes of the connected hot areas, hottest first; larger first among equals."""
    # Heat is smooth over dozens of pixels: a coarser look finds the same areas at a fraction of the time.
    step = max(1, min(heatmap.shape) // FINEST)
    # Each sample is the middle of the pixels that it stands for, or boxes would lie too far to the lower right.
    coarse = np.ascontiguousarray(heatmap[step // 2 :: step, step // 2 :: step])
    mask = cv2.threshold(coarse, hot, 1, cv2.THRESH_BINARY)[1].astype(np.uint8)
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    found: list[tuple[int, Roi]] = []
    for label in range(1, count):
        x, y, width, height, area = (int(value) for value in statistics[label])
        window = (slice(y, y + height), slice(x, x + width))
        score = float(coarse[window][labels[window] == label].max())
        found.append((area, _enlarge(x, y, width, height, step=step, score=score, limits=heatmap.shape)))
    found.sort(key=lambda item: (-item[1].score, -item[0]))
    return tuple(roi for _, roi in found[:most])


def _enlarge(x: int, y: int, width: int, height: int, *, step: int, score: float, limits: tuple[int, ...]) -> Roi:
    """Return the box in source pixels, inside the radiograph; the last sample stands for what is left to the edge."""
    left, top = x * step, y * step
    right, bottom = (
        side if start + length > (side - 1 - step // 2) // step else (start + length) * step
        for start, length, side in ((x, width, limits[1]), (y, height, limits[0]))
    )
    return Roi(x=left, y=top, width=right - left, height=bottom - top, score=score)
