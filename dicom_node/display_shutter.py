"""The display shutter of a radiograph (PS3.3 C.7.6.11): what lies outside it is not to be seen."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom import Dataset

from dicom_node.header import numbers, texts

_EDGES = (
    "ShutterLeftVerticalEdge",
    "ShutterRightVerticalEdge",
    "ShutterUpperHorizontalEdge",
    "ShutterLowerHorizontalEdge",
)
KEYWORDS = {
    "RECTANGULAR": _EDGES,
    "CIRCULAR": ("CenterOfCircularShutter", "RadiusOfCircularShutter"),
    "POLYGONAL": ("VerticesOfThePolygonalShutter",),
}
"""What says where each shape lies."""
_LEAST_OPEN = 0.05
"""A shutter that leaves less of the picture than this is a mistake in the header."""
_FARTHEST = 2.0**20
"""Pixels; larger numbers are a mistake in the header."""


def find_opening(ds: Dataset, pixel_aspect: float) -> NDArray[np.bool_] | None:
    """Return which pixels lie inside all shapes of the shutter, shape (rows, columns).

    None where there is no shutter, or none that can be believed: one of its shapes is unknown or incomplete, or hardly
    anything would be left.

    Parameters
    ----------
    ds
        Header with Rows, Columns and the Display Shutter module.
    pixel_aspect
        Height of a pixel divided by its width: a circle is measured in columns.
    """
    shapes = list_shapes(ds)
    if not shapes:
        return None
    opening = np.ones((ds.Rows, ds.Columns), np.uint8)
    for shape in shapes:
        inside = np.zeros_like(opening)
        if shape not in _DRAW or not _DRAW[shape](ds, inside, pixel_aspect):
            return None
        opening &= inside
    return opening.astype(np.bool_) if opening.mean() >= _LEAST_OPEN else None


def list_shapes(ds: Dataset) -> list[str]:
    """Return the shapes of which the shutter is made."""
    return [text.strip(" \0").upper() for text in texts(ds, "ShutterShape")]


def _draw_rectangle(ds: Dataset, inside: NDArray[np.uint8], _: float) -> bool:
    edges = [_read(ds, keyword, 1) for keyword in _EDGES]
    if not all(edges):
        return False
    left, right, upper, lower = (int(edge[0]) for edge in edges)
    # The first row and column are 1; what lies on an edge is seen.
    inside[max(upper - 1, 0) : max(lower, 0), max(left - 1, 0) : max(right, 0)] = 1
    return True


def _draw_circle(ds: Dataset, inside: NDArray[np.uint8], pixel_aspect: float) -> bool:
    centre, radius = _read(ds, "CenterOfCircularShutter", 2), _read(ds, "RadiusOfCircularShutter", 1)
    if not centre or not radius:
        return False
    rows, columns = (np.arange(1, length + 1) - middle for length, middle in zip(inside.shape, centre[:2], strict=True))
    square = radius[0] ** 2 - (rows * pixel_aspect) ** 2
    reach = np.sqrt(np.clip(square, 0, None))[:, np.newaxis]
    inside[(np.abs(columns) <= reach) & (square >= 0)[:, np.newaxis]] = 1
    return True


def _draw_polygon(ds: Dataset, inside: NDArray[np.uint8], _: float) -> bool:
    corners = _read(ds, "VerticesOfThePolygonalShutter", 6)
    if not corners or len(corners) % 2:
        return False
    drawn = Image.new("L", inside.shape[::-1])
    ImageDraw.Draw(drawn).polygon(
        [(column - 1, row - 1) for row, column in zip(corners[::2], corners[1::2], strict=True)], fill=1, outline=1
    )
    inside[:] = np.asarray(drawn)
    return True


def _read(ds: Dataset, keyword: str, least: int) -> tuple[float, ...]:
    """Return the values of a keyword; none where they are too few, or too large to be of a picture."""
    values = numbers(ds, keyword)
    return values if len(values) >= least and max(map(abs, values)) < _FARTHEST else ()


_DRAW = {"RECTANGULAR": _draw_rectangle, "CIRCULAR": _draw_circle, "POLYGONAL": _draw_polygon}
