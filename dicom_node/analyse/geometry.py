"""The size and shape of a pixel, from headers that may be silent or wrong."""

from pydicom import Dataset

from dicom_node.header import numbers

_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
"""By rank: calibrated at the patient (PS3.3 10.7.1.3), at the detector (C.8.11.3), on the scanned film (C.8.6.2)."""
_MOST_OBLONG = 10.0
"""A pixel that is longer than this for its width is a mistake in the header."""


def spacing_mm(ds: Dataset) -> tuple[float, float] | None:
    """Return the distance of adjacent (rows, columns) in mm; None where no attribute gives two usable numbers."""
    return next((pair for keyword in _SPACINGS if (pair := _pair(ds, keyword))), None)


def pixel_aspect(ds: Dataset) -> float:
    """Return the height of a pixel divided by its width: from its spacing, else from PixelAspectRatio, else 1."""
    pair = spacing_mm(ds) or _pair(ds, "PixelAspectRatio")  # vertical first in both (PS3.3 C.7.6.3.1.7)
    return pair[0] / pair[1] if pair else 1.0


def _pair(ds: Dataset, keyword: str) -> tuple[float, float] | None:
    values = numbers(ds, keyword)
    if len(values) != 2 or min(values) <= 0:
        return None
    first, second = values
    return (first, second) if 1 / _MOST_OBLONG <= first / second <= _MOST_OBLONG else None
