"""Hot areas of a heat map as boxes in source pixels."""

import cv2
import numpy as np

from inference.types import Float32Array, Roi

HOT = 0.5
"""An area is hot from this fraction of the highest heat on."""
MOST = 3
"""More boxes than these would not guide anyone."""


def find_rois(heatmap: Float32Array, *, hot: float = HOT, most: int = MOST) -> tuple[Roi, ...]:
    """Return the boxes of the connected hot areas, hottest first; larger first among equals."""
    mask = cv2.threshold(heatmap, hot, 1, cv2.THRESH_BINARY)[1].astype(np.uint8)
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    found: list[tuple[int, Roi]] = []
    for label in range(1, count):
        x, y, width, height, area = (int(value) for value in statistics[label])
        window = (slice(y, y + height), slice(x, x + width))
        score = float(heatmap[window][labels[window] == label].max())
        found.append((area, Roi(x=x, y=y, width=width, height=height, score=score)))
    found.sort(key=lambda item: (-item[1].score, -item[0]))
    return tuple(roi for _, roi in found[:most])
