"""Stored values to display values: the grayscale pipeline of PS3.4 N.2, as a table.

A grey image of 8 or 16 bits has at most 65,536 different stored values, so each step is done once for each value, and
the image itself is touched once, when the table is looked up.
"""

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from dicom_node.header import code, number
from dicom_node.lookup_table import read_table
from inference.types import Float32Array

Values = NDArray[np.float64]
Counts = NDArray[np.int64]

_TAIL = 0.005
"""Share of the pixels at either end that percentiles leave out."""
_LEAST_CONTRAST = 0.1
"""A window or table that shows the picture in less than this share of the grey scale is not used."""


def display_table(ds: Dataset, stored: NDArray[np.int64], counts: Counts) -> Float32Array:
    """Compute the display value of every stored value: 0 is black, 1 is white.

    Modality LUT, then the first of these that shows the picture: VOI LUT (first item), window (first pair), percentiles
    (0.5 and 99.5). Where a source offers several, any one may be chosen (PS3.3 C.11.2.1); the first is its default.
    Inverted where `is_inverted` says so; pixel padding is black.

    Parameters
    ----------
    ds
        Header with the Image Pixel, Modality LUT and VOI LUT modules.
    stored
        Stored values, shape (n,).
    counts
        How often each of them occurs in the image (a sample is enough), shape (n,).
    """
    padding = is_padding(ds, stored)
    if counts[~padding].any():
        counts = np.where(padding, 0, counts)
    else:
        padding[:] = False  # a picture that would be nothing but padding: its header is wrong
    values = _modality(ds, stored)
    low, high = _percentiles(values, counts)
    for voi in (_voi_lut, _window):
        display = voi(ds, values)
        if display is not None and _shows(display, values, low, high):
            break
    else:
        display = _ramp(values, low, high)
    table = (1 - display if is_inverted(ds) else display).astype(np.float32)
    table[padding] = 0
    return table


def is_inverted(ds: Dataset) -> bool:
    """Tell whether the smallest value is white: MONOCHROME1 (C.7.6.3.1.2) or PresentationLUTShape INVERSE (C.11.6).

    Both together are one inversion said twice, as they shall be (PS3.3 C.8.11.3), not two.
    """
    return code(ds, "PhotometricInterpretation") == "MONOCHROME1" or code(ds, "PresentationLUTShape") == "INVERSE"


def contradicts_itself(ds: Dataset) -> bool:
    """Tell whether PresentationLUTShape denies what PhotometricInterpretation says (PS3.3 C.8.11.3 forbids it).

    Viewers show such images each in its own way, by the one or by the other; the pixels do not settle it either, for
    what lies outside the collimator is as white in some as air is black.
    """
    shape = {"MONOCHROME1": "IDENTITY", "MONOCHROME2": "INVERSE"}.get(code(ds, "PhotometricInterpretation"))
    return shape is not None and code(ds, "PresentationLUTShape") == shape


def is_padding(ds: Dataset, stored: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Find the stored values that are pixel padding (PS3.3 C.7.5.1.1.2)."""
    first = number(ds, "PixelPaddingValue")
    if first is None:
        return np.zeros(stored.shape, np.bool_)
    limit = number(ds, "PixelPaddingRangeLimit")
    # The two have VR US or SS by PixelRepresentation: the bit pattern is what counts.
    ends = sorted(_like_stored(ds, value) for value in (first, first if limit is None else limit))
    padding: NDArray[np.bool_] = (stored >= ends[0]) & (stored <= ends[1])
    return padding


def _like_stored(ds: Dataset, value: float) -> float:
    if number(ds, "PixelRepresentation") == 1:
        return value - 65536 if value > 32767 else value
    return value + 65536 if value < 0 else value


def _modality(ds: Dataset, stored: NDArray[np.int64]) -> Values:
    """Modality LUT (PS3.3 C.11.1): a table, or slope and intercept."""
    if ds.get("ModalityLUTSequence"):
        return _look_up(ds.ModalityLUTSequence[0], stored.astype(np.float64))
    slope, intercept = number(ds, "RescaleSlope") or 1.0, number(ds, "RescaleIntercept") or 0.0
    values: Values = stored.astype(np.float64) * slope + intercept
    return values


def _voi_lut(ds: Dataset, values: Values) -> Values | None:
    if not ds.get("VOILUTSequence"):
        return None
    output = _look_up(ds.VOILUTSequence[0], values)
    # The bits in use, not those that LUTDescriptor declares: some devices declare 16 and fill 12.
    full = 2 ** int(output.max(initial=1)).bit_length() - 1
    display: Values = output / full
    return display


def _look_up(item: Dataset, values: Values) -> Values:
    """Apply a table (PS3.3 C.11.1.1): values below its range give the first entry, values above it the last."""
    first_mapped, table = read_table(item)
    if first_mapped > 32767 and values.min() < 0:
        first_mapped -= 65536  # read as US where the values are signed
    index = np.clip(np.floor(values) - first_mapped, 0, len(table) - 1).astype(np.intp)
    output: Values = table[index].astype(np.float64)
    return output


def _window(ds: Dataset, values: Values) -> Values | None:
    """VOI window (PS3.3 C.11.2.1.2 and C.11.2.1.3), output 0 to 1; None where there is none that makes sense."""
    center, width = number(ds, "WindowCenter"), number(ds, "WindowWidth")
    if center is None or width is None or width <= 0:
        return None
    function = code(ds, "VOILUTFunction")
    if function == "SIGMOID":
        # The clip changes nothing that float32 could show, and keeps exp from overflowing.
        sigmoid: Values = 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -80, 80)))
        return sigmoid
    if function == "LINEAR_EXACT":
        return _ramp(values, center - width / 2, center + width / 2)
    if width <= 1:
        return None
    return _ramp(values, center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2)


def _ramp(values: Values, low: float, high: float) -> Values:
    if high <= low:
        return (values > low).astype(np.float64)
    return np.clip((values - low) / (high - low), 0, 1)


def _percentiles(values: Values, counts: Counts) -> tuple[float, float]:
    """Find the values that leave out `_TAIL` of the pixels at either end; the extremes where nothing would be left."""
    present = np.flatnonzero(counts)
    if not present.size:
        return float(values.min()), float(values.max())
    order = present[np.argsort(values[present])]
    share = np.cumsum(counts[order]) / counts[order].sum()
    low = float(values[order[np.searchsorted(share, _TAIL)]])
    high = float(values[order[np.searchsorted(share, 1 - _TAIL)]])
    return (low, high) if high > low else (float(values[order[0]]), float(values[order[-1]]))


def _shows(display: Values, values: Values, low: float, high: float) -> bool:
    """Tell whether the picture, which lies between `low` and `high`, keeps some contrast."""
    if high <= low:
        return True
    shown = display[(values >= low) & (values <= high)]
    return float(shown.max() - shown.min()) >= _LEAST_CONTRAST
