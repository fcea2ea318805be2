"""The values that travel through the pipeline.

Coordinates are source pixels: `x` counts columns from the left, `y` rows from the top, both from 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

DOUBTFUL_REGION = 0.8
"""Below this confidence a region is in doubt. Of the limbs within scope those are 5.0 % out of fold: 72 % of them are
named rightly, and more than half of all errors are among them. (Most below 0.5 are outside scope as it is.)"""

Float32Array = NDArray[np.float32]
UInt8Array = NDArray[np.uint8]


class Decision(StrEnum):
    """The answer for one radiograph."""

    FRACTURE = "fracture"
    """The probability reaches the specific operating point."""
    NO_FRACTURE = "no fracture"
    """The probability stays below the sensitive operating point."""
    UNCERTAIN = "uncertain"
    """Between the two operating points, or the stated uncertainty method abstains."""
    NOT_ANALYSED = "not analysed"
    """No fracture model spoke; the reason says why."""


class Task(StrEnum):
    """What a bundle was trained to answer."""

    REGION = "region"
    """Which bone or joint the radiograph shows (stage 1)."""
    FRACTURE = "fracture"
    """Whether a radiograph of its regions shows a fracture (stage 2)."""
    TYPE = "type"
    """Of which type a suspected fracture is (stage 3, only where a bundle for it is installed)."""


@dataclass(frozen=True, kw_only=True)
class Radiograph:
    """One radiograph, ready for a model."""

    pixels: Float32Array
    """Shape (rows, columns), range [0, 1], bone bright."""
    spacing_mm: tuple[float, float] | None = None
    """Distance of adjacent (rows, columns) in mm, or None where the source gives none."""
    pixel_aspect: float = 1.0
    """Height of a pixel divided by its width (PixelAspectRatio, PS3.3 C.7.6.3.1.7)."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.pixels.shape[0])

    @property
    def columns(self) -> int:
        """Number of columns."""
        return int(self.pixels.shape[1])


@dataclass(frozen=True, kw_only=True)
class ShownRadiograph:
    """A radiograph as it is shown: what is left of it once the models have spoken, at a quarter of the memory."""

    grey: UInt8Array
    """Shape (rows, columns), 0 to 255, bone bright."""
    pixel_aspect: float = 1.0
    """Height of a pixel divided by its width."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.grey.shape[0])

    @property
    def columns(self) -> int:
        """Number of columns."""
        return int(self.grey.shape[1])


@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """Which model spoke (PS3.3 10.16, Algorithm Identification)."""

    name: str
    version: str
    task: Task
    digest: str
    """SHA-256 of the bundle's manifest, 64 hexadecimal digits: its calibration, and by their digests its files."""


@dataclass(frozen=True, kw_only=True)
class RegionPrediction:
    """Stage 1: which part of the body the radiograph shows."""

    region: str
    """The most probable label of the region bundle, e.g. `HAND`, `ANKLE_FOOT`."""
    confidence: float
    """Probability of `region`, 0 to 1."""
    probabilities: Mapping[str, float]
    """Probability of every label; they sum to 1."""

    @property
    def in_doubt(self) -> bool:
        """Whether the reader should be told that the region is in doubt."""
        return self.confidence < DOUBTFUL_REGION


@dataclass(frozen=True, kw_only=True)
class FracturePrediction:
    """Stage 2: the answer of the fracture model of that region."""

    probability: float
    """Calibrated probability of a fracture, 0 to 1."""
    sensitive_threshold: float
    """Operating point chosen for sensitivity: below it, `no fracture`."""
    specific_threshold: float
    """Operating point chosen for specificity: from it on, `fracture`."""


@dataclass(frozen=True, kw_only=True)
class TypePrediction:
    """Stage 3: of which type the fracture is, given that there is one."""

    label: str
    """The most probable label of the type bundle, e.g. `OBLIQUE`, `GREENSTICK`."""
    confidence: float
    """Probability of `label`, 0 to 1."""
    probabilities: Mapping[str, float]
    """Probability of every label, in the bundle's order; they sum to 1."""


@dataclass(frozen=True, kw_only=True)
class Roi:
    """A hot area of the heat map: an axis-parallel box in source pixels."""

    x: int
    y: int
    width: int
    height: int
    score: float
    """Highest heat inside the box, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class RadiographAnalysis:
    """Everything the pipeline says about one radiograph."""

    decision: Decision
    reason: str = ""
    """Why it was not analysed or is uncertain; empty when there is nothing to explain."""
    region: RegionPrediction | None = None
    fracture: FracturePrediction | None = None
    fracture_type: TypePrediction | None = None
    """Only where the decision is `fracture` and a type bundle speaks for the region."""
    heatmap: UInt8Array | None = field(default=None, repr=False)
    """Grad-CAM, shape of the source (rows, columns), 0 to 255, as fine as it is shown; None when withheld (a flag
    says why).

    All 0 where no fracture was found and nothing stands out.
    """
    rois: tuple[Roi, ...] = ()
    """Hot areas, hottest first; none where no fracture was found or the heat map is withheld."""
    heatmap_peak: tuple[int, int] | None = None
    """(x, y) of the strongest activation; None where there is no heat or the heat map is withheld."""
    models: tuple[ModelIdentity, ...] = ()
    """The models that spoke, in order."""
    scope_distance: float | None = None
    """How far the radiograph lies from those the models know, see `inference.scope`; None where it was not measured."""
    flags: tuple[str, ...] = ()
    """Remarks for the reader, one sentence each (quality, scope, header against pixels)."""
