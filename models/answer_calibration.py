"""Calibrate the regions of a fracture bundle by what its outputs say of them."""

from collections.abc import Mapping

import numpy as np

from models.fracture_outputs import list_groups
from models.region_calibration import BoolArray, FloatArray, RegionCalibration, TextArray, calibrate_regions


def calibrate_answers(
    logits: FloatArray, fractured: BoolArray, region: TextArray, choice: Mapping[str, str]
) -> dict[str, RegionCalibration]:
    """Calibrate all regions that an output answers; only what the same output says is shared.

    `logits`, shape (samples,), are of the output that answers each sample's region; `choice` says which that is, empty
    where none does.
    """
    found: dict[str, RegionCalibration] = {}
    for regions in list_groups(choice):
        here = np.isin(region, regions)
        found |= calibrate_regions(logits[here], fractured[here], region[here], regions)
    return found
