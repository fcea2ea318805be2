"""From the cells of a class-activation map to a heat map over the radiograph."""

import cv2
import numpy as np

from inference.preprocessing import Letterbox
from inference.types import Float32Array


def spread_over_source(cam: Float32Array, box: Letterbox, *, rows: int, columns: int) -> Float32Array:
    """Return the heat map of shape (rows, columns), range [0, 1], its strongest cell at 1; all 0 for an empty map.

    `cam` has shape (h, w) and covers the whole square; padding around the radiograph is cut off.
    """
    highest = float(cam.max())
    if highest <= 0:
        return np.zeros((rows, columns), np.float32)
    # Continuous source coordinates to continuous cell coordinates, then both to pixel centres (+ 0.5, - 0.5).
    per_x, per_y = cam.shape[1] / box.size, cam.shape[0] / box.size
    scale_x, scale_y = box.scale_x * per_x, box.scale_y * per_y
    to_cells = np.array(
        [
            [scale_x, 0, box.left * per_x + 0.5 * scale_x - 0.5],
            [0, scale_y, box.top * per_y + 0.5 * scale_y - 0.5],
        ],
    )
    return np.asarray(
        cv2.warpAffine(
            np.ascontiguousarray(cam / highest, np.float32),
            to_cells,
            (columns, rows),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.float32,
    )


def find_peak(heatmap: Float32Array) -> tuple[int, int] | None:
    """Return (x, y) of the strongest heat, the middle of a plateau; None for a map without heat."""
    highest = float(heatmap.max())
    if highest <= 0:
        return None
    y, x = np.unravel_index(int(heatmap.argmax()), heatmap.shape)
    return int(x), int(y)
