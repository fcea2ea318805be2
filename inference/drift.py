"""Do the models still see what they were measured on? The distributions of then, and how far those of now are away.

The population stability index of two distributions over the same bins is the sum of `(now - then) * ln(now / then)`
over their shares (Lewis, An Introduction to Credit Scoring, 1994). By convention more than 0.2 is a change to act upon.
Without any change it is still not 0: with `n` observations against `m` it is `1 / n + 1 / m` times what is distributed
as chi squared, with one degree of freedom less than there are bins (Yurdakul and Naranjo, J. Risk Model Validation 14,
2020). So a comparison counts only where chance alone would pass the threshold once in ten thousand times at most.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inference.bundle import REFERENCE, Bundle, verify_file
from inference.errors import BundleError
from inference.types import Float32Array

FloatArray = NDArray[np.float64]

THRESHOLD = 0.2
BINS = 10
FEW = 300
"""Observations below which half as many bins are looked at: against fewer, chance alone moves ten too far."""
_DEVIATE = 3.719
"""Of the standard normal distribution: exceeded once in ten thousand times."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Distribution(_Table):
    """Shares of what was observed then, over bins."""

    edges: tuple[float, ...]
    """Between the bins, rising; the outer bins have no end."""
    shares: tuple[float, ...]
    count: int = Field(gt=0)
    """How many observations they are of."""

    @model_validator(mode="after")
    def _fit_together(self) -> "Distribution":
        if len(self.shares) != len(self.edges) + 1 or list(self.edges) != sorted(set(self.edges)):
            raise ValueError("the edges of the bins must rise, and there is one share more than edges")
        return self


class ScoreReference(_Table):
    """The logits of one answer of a fracture bundle: before calibration, so that a later one changes nothing here."""

    output: str
    regions: tuple[str, ...]
    logits: Distribution


class Reference(_Table):
    """What a bundle's model said about radiographs that it had not seen."""

    scores: tuple[ScoreReference, ...] = ()
    """Of a fracture bundle, one for each of its answers."""
    scope_distance: Distribution | None = None
    """Of a region bundle."""
    regions: dict[str, int] | None = None
    """Of a region bundle: how many radiographs were taken for each region."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How far a distribution is from its reference."""

    psi: float
    """Population stability index."""
    count: int
    needed: int | None
    """From this count on the index is trusted; None: the reference is too small to ever be."""

    @property
    def is_trusted(self) -> bool:
        """Whether there are enough observations to tell a change from chance."""
        return self.needed is not None and self.count >= self.needed

    @property
    def has_drifted(self) -> bool:
        """Whether the index is trusted and above the threshold."""
        return self.is_trusted and self.psi > THRESHOLD


def load_reference(bundle: Bundle) -> Reference | None:
    """Return the reference of a bundle; None where it carries none.

    Raises
    ------
    BundleError
        The file is altered, or no reference.
    """
    digest = bundle.manifest.digests.get(REFERENCE)
    if digest is None:
        return None
    path = bundle.folder / REFERENCE
    verify_file(path, digest)
    try:
        return Reference.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise BundleError(f"{bundle.folder.name}/{REFERENCE}: {error.errors()[0]['msg']}") from error


def describe_distribution(values: Float32Array) -> Distribution:
    """Return the distribution over bins with as many of the values each, fewer where many are the same."""
    bins = BINS if len(values) >= FEW else BINS // 2
    edges = np.unique(np.quantile(values.astype(np.float64), np.linspace(0, 1, bins + 1)[1:-1]))
    counts = _count(values, edges)
    shares = tuple(float(share) for share in counts / counts.sum())
    return Distribution(edges=tuple(map(float, edges)), shares=shares, count=len(values))


def compare(reference: Distribution, values: Sequence[float], *, independent: int) -> Comparison:
    """Compare values of now with the reference.

    `independent` says how many of them are independent of each other: the projections of one limb are not.
    """
    counts = _count(np.asarray(values, np.float64), np.asarray(reference.edges))
    return _compare(np.asarray(reference.shares), counts, then=reference.count, independent=independent)


def compare_shares(reference: Mapping[str, int], counts: Mapping[str, int], *, independent: int) -> Comparison:
    """Compare how often each name was said with the reference; names that neither knows take no part."""
    names = sorted({*reference, *counts})
    then = np.array([reference.get(name, 0) for name in names], np.float64)
    now = np.array([counts.get(name, 0) for name in names], np.float64)
    return _compare(then / then.sum(), now, then=int(then.sum()), independent=independent)


def least_count(bins: int, then: int, *, threshold: float = THRESHOLD) -> int | None:
    """Return from how many independent observations on chance alone passes the threshold once in 10,000 times at most.

    None where no count is enough against a reference of `then`.
    """
    degrees = bins - 1
    # Wilson and Hilferty's approximation of the quantile of chi squared, Proc. Natl. Acad. Sci. 17, 1931.
    spread = 2 / (9 * degrees)
    quantile = degrees * (1 - spread + _DEVIATE * spread**0.5) ** 3
    room = threshold / quantile - 1 / then
    return None if room <= 0 else int(np.ceil(1 / room))


def _count(values: Float32Array | FloatArray, edges: FloatArray) -> FloatArray:
    """Count the values in each bin; one on an edge belongs to the bin above."""
    return np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1).astype(np.float64)


def _compare(shares: FloatArray, counts: FloatArray, *, then: int, independent: int) -> Comparison:
    # Half an observation more in each bin, so that an empty one is rare and not impossible.
    now = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    before = (shares * then + 0.5) / (then + 0.5 * len(shares))
    psi = float(((now - before) * np.log(now / before)).sum())
    return Comparison(psi=psi, count=independent, needed=least_count(len(counts), then))
