"""Is this a radiograph of a limb at all? Answered from the embedding of the region model, in two ways.

How strange it is: Mahalanobis' distance under a probabilistic PCA of the embeddings of limbs (Tipping and Bishop,
J. R. Stat. Soc. B 61, 1999), along the principal axes in units of their own spread, off them in units of the rest's.

How like it is to what is no limb: Fisher's discriminant between limbs and known outsiders, as a ridge regression of
0 for limbs and 1 for outsiders, an output for each kind of outsider (Hastie, Tibshirani and Friedman, The Elements of
Statistical Learning, 2009, 4.2 and 3.4.1). It knows what it was shown, the other is there for what nobody foresaw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from inference.errors import BundleError
from inference.phrases import Phrase
from inference.types import Float32Array

SHRINKAGE = 0.1
"""Ridge on standardised channels, limbs and outsiders weighing one together."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What the embeddings of radiographs in scope look like, and those of what is not."""

    mean: Float32Array
    """Shape (channels,)."""
    axes: Float32Array
    """Principal axes divided by their spread, shape (channels, axes)."""
    directions: Float32Array
    """The same axes at unit length."""
    residual_spread: float
    """Spread of what the axes do not explain, per channel left over."""
    kinds: tuple[str, ...] = ()
    """The kinds of outsiders known, in words that complete `more like ...`."""
    weights: Float32Array | None = None
    """Shape (channels, kinds); None where no outsider is known."""
    bias: Float32Array | None = None
    """Shape (kinds,)."""
    limits: tuple[float, float] = (1.0, 1.0)
    """The strangeness and the likeness that make a distance of 1."""

    def distance(self, embedding: Float32Array) -> float:
        """Return the larger of strangeness and likeness, each in units of its limit."""
        return float(self.distances(embedding[np.newaxis])[0])

    def distances(self, embeddings: Float32Array) -> Float32Array:
        """Return the distance of every row of (samples, channels)."""
        strangeness, likeness = self.strangeness(embeddings), self.likeness(embeddings)
        return np.asarray(np.maximum(strangeness / self.limits[0], likeness / self.limits[1]), np.float32)

    def strangeness(self, embeddings: Float32Array) -> Float32Array:
        """Return Mahalanobis' distance of every row, 1 for a typical radiograph in scope."""
        centred = embeddings - self.mean
        along = np.square(centred @ self.axes).sum(axis=1)
        off = np.square(centred - (centred @ self.directions) @ self.directions.T).sum(axis=1)
        squared = along + off / self.residual_spread**2
        return np.asarray(np.sqrt(squared / self.mean.size), np.float32)

    def likeness(self, embeddings: Float32Array) -> Float32Array:
        """Return the likeness of every row to outsiders: about 0 for limbs, about 1 for outsiders."""
        return np.asarray(self._likenesses(embeddings).sum(axis=1), np.float32)

    def explain(self, embedding: Float32Array) -> str:
        """Return in words what speaks most against a radiograph, to follow `it is`."""
        row = embedding[np.newaxis]
        if self.kinds and self.likeness(row)[0] / self.limits[1] >= self.strangeness(row)[0] / self.limits[0]:
            kind = Phrase(self.kinds[int(self._likenesses(row)[0].argmax())])
            return Phrase("more like {kind} than like a limb", kind=kind)
        return Phrase("not like the limb radiographs the models know")

    def _likenesses(self, embeddings: Float32Array) -> Float32Array:
        """Return the likeness to every kind, shape (samples, kinds)."""
        if self.weights is None or self.bias is None:
            return np.zeros((len(embeddings), 1), np.float32)
        return np.asarray(embeddings @ self.weights + self.bias, np.float32)

    def save(self, path: Path) -> None:
        """Write the parameters, half precision."""
        spread = np.linalg.norm(self.axes, axis=0)
        known: dict[str, Any] = {}
        if self.weights is not None and self.bias is not None:
            known = {"kinds": np.array(self.kinds), "weights": self.weights.astype(np.float16), "bias": self.bias}
        np.savez_compressed(
            path,
            mean=self.mean.astype(np.float32),
            directions=self.directions.astype(np.float16),
            inverse_spread=spread.astype(np.float32),
            residual_spread=np.float32(self.residual_spread),
            limits=np.array(self.limits, np.float32),
            **known,
        )

    @classmethod
    def load(cls, path: Path) -> "Scope":
        """Read what `save` wrote; a file without outsiders or limits knows strangeness alone.

        Raises
        ------
        BundleError
            The file is not such a file.
        """
        try:
            with np.load(path) as file:
                directions = file["directions"].astype(np.float32)
                strangest, likest = file.get("limits", (1.0, 1.0))
                known = "kinds" in file
                return cls(
                    mean=file["mean"],
                    directions=directions,
                    axes=directions * file["inverse_spread"],
                    residual_spread=float(file["residual_spread"]),
                    kinds=tuple(str(kind) for kind in file["kinds"]) if known else (),
                    weights=file["weights"].astype(np.float32) if known else None,
                    bias=file["bias"] if known else None,
                    limits=(float(strangest), float(likest)),
                )
        except (OSError, KeyError, ValueError, BadZipFile) as error:
            raise BundleError(f"{path.parent.name}/{path.name} does not hold scope parameters") from error


def fit_scope(
    inside: Float32Array,
    *,
    axes: int,
    outside: Mapping[str, Sequence[Float32Array]] | None = None,
    limits: tuple[float, float] = (1.0, 1.0),
) -> Scope:
    """Describe the embeddings (samples, channels) of radiographs in scope, and those of outsiders.

    `outside` gives the families of every kind of outsiders, each an array (samples, channels).
    """
    mean = inside.mean(axis=0)
    centred = (inside - mean).astype(np.float64)
    variances, directions = np.linalg.eigh(centred.T @ centred / (len(inside) - 1))
    variances, directions = np.maximum(variances[::-1], 0), directions[:, ::-1]
    kept = directions[:, :axes].astype(np.float32)
    residual = float(np.sqrt(variances[axes:].sum() / max(1, mean.size - axes)))
    weights, bias = fit_discriminant(inside, outside) if outside else (None, None)
    return Scope(
        mean=np.asarray(mean, np.float32),
        directions=kept,
        axes=np.asarray(kept / np.maximum(np.sqrt(variances[:axes]), 1e-6), np.float32),
        residual_spread=max(residual, 1e-6),
        kinds=tuple(outside or ()),
        weights=weights,
        bias=bias,
        limits=limits,
    )


def fit_discriminant(
    inside: Float32Array, outside: Mapping[str, Sequence[Float32Array]]
) -> tuple[Float32Array, Float32Array]:
    """Return weights (channels, kinds) and bias (kinds,); limbs weigh one half, every family of outsiders alike."""
    families = [(row, family) for row, kind in enumerate(outside.values()) for family in kind]
    groups = [(-1, 0.5, inside), *((row, 0.5 / len(families), family) for row, family in families)]
    weight = np.concatenate([np.full(len(group), share / len(group)) for _, share, group in groups])
    kind = np.concatenate([np.full(len(group), row) for row, _, group in groups])
    targets = (kind[:, np.newaxis] == np.arange(len(outside))).astype(np.float64)
    pool = np.concatenate([group for _, _, group in groups]).astype(np.float64)
    centre = weight @ pool
    pool -= centre
    spread = np.sqrt(weight @ np.square(pool)) + 1e-6
    pool /= spread
    weighted = pool * weight[:, np.newaxis]
    gram = weighted.T @ pool
    gram[np.diag_indices_from(gram)] += SHRINKAGE
    middle = weight @ targets
    slopes = np.linalg.solve(gram, weighted.T @ (targets - middle)) / spread[:, np.newaxis]
    return np.asarray(slopes, np.float32), np.asarray(middle - centre @ slopes, np.float32)
