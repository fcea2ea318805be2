"""How a source shows its stored values, for its presentation state: what highdicom can write of it, or nothing."""

from contextlib import suppress

import numpy as np
from highdicom import VOILUT, ModalityLUT, ModalityLUTTransformation
from highdicom.pr import SoftcopyVOILUTTransformation
from pydicom import Dataset

from dicom_node.header import code, items, number
from dicom_node.lookup_table import read_table

_FUNCTIONS = {"LINEAR", "LINEAR_EXACT", "SIGMOID"}


def is_inverted(header: Dataset) -> bool:
    """Tell whether the smallest value is white; a presentation state says it once more (PS3.3 C.11.6.1)."""
    return (
        "MONOCHROME1" in code(header, "PhotometricInterpretation") or code(header, "PresentationLUTShape") == "INVERSE"
    )


def find_modality_lut(header: Dataset) -> ModalityLUTTransformation | None:
    """Return the Modality LUT (PS3.3 C.11.1)."""
    for item in items(header, "ModalityLUTSequence")[:1]:
        with suppress(Exception):  # a table that cannot be read cannot be written
            first, table = read_table(item)
            return ModalityLUTTransformation(modality_lut=ModalityLUT("US", first, table.astype(np.uint16)))
    slope, intercept = number(header, "RescaleSlope"), number(header, "RescaleIntercept")
    if slope is None and intercept is None:
        return None
    # Of the two, which belong together, the one that is missing changes nothing: so the node reads it, too.
    return ModalityLUTTransformation(rescale_intercept=intercept or 0.0, rescale_slope=slope or 1.0, rescale_type="US")


def find_voi_lut(header: Dataset) -> list[SoftcopyVOILUTTransformation] | None:
    """Return table or window (PS3.3 C.11.8), the table where there are both, as the node itself reads them.

    Of several the first, its default: a presentation state is one way to show the source, and some viewers refuse more.
    """
    for item in items(header, "VOILUTSequence")[:1]:
        with suppress(Exception):  # as above
            first, table = read_table(item)
            # The bits in use, not those that LUTDescriptor declares; the result declares 16 and fills them.
            full = 2 ** max(1, int(table.max()).bit_length()) - 1
            filled = np.rint(table * (65535 / full)).astype(np.uint16)
            lut = VOILUT(max(first, 0), filled)
            if first < 0:
                _begin_below_zero(lut, first)
            return [SoftcopyVOILUTTransformation(voi_luts=[lut])]
    center, width = number(header, "WindowCenter"), number(header, "WindowWidth")
    function = code(header, "VOILUTFunction")
    least = 1 if function in {"", "LINEAR"} else 1e-6
    if center is None or width is None or width < least:
        return None
    known = function if function in _FUNCTIONS else None
    return [SoftcopyVOILUTTransformation(window_center=center, window_width=width, voi_lut_function=known)]


def _begin_below_zero(lut: VOILUT, first: int) -> None:
    """Say that a table begins at a negative value (PS3.3 C.11.2.1.1), which the constructor does not take.

    Raises ValueError where the number of entries has no place in a signed descriptor.
    """
    entries = int(lut.LUTDescriptor[0])
    if entries > np.iinfo(np.int16).max:
        raise ValueError("so many entries")
    lut.add_new("LUTDescriptor", "SS", [entries, first, 16])
