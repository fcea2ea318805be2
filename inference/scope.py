"""Is this a radiograph of a limb at all? Answered from the embedding of the region model.

The distance is Mahalanobis' under a probabilistic PCA of the embeddings of training radiographs (Tipping and Bishop,
J. R. Stat. Soc. B 61, 1999): along the principal axes in units of their own spread, off them in units of the rest's.
"""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from inference.errors import BundleError
from inference.types import Float32Array


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What the embeddings of radiographs in scope look like."""

    mean: Float32Array
    """Shape (channels,)."""
    axes: Float32Array
    """Principal axes divided by their spread, shape (channels, axes)."""
    directions: Float32Array
    """The same axes at unit length."""
    residual_spread: float
    """Spread of what the axes do not explain, per channel left over."""

    def distance(self, embedding: Float32Array) -> float:
        """Return the distance, 1 for a typical radiograph in scope."""
        return float(self.distances(embedding[np.newaxis])[0])

    def distances(self, embeddings: Float32Array) -> Float32Array:
        """Return the distance of every row of (samples, channels)."""
        centred = embeddings - self.mean
        along = np.square(centred @ self.axes).sum(axis=1)
        off = np.square(centred - (centred @ self.directions) @ self.directions.T).sum(axis=1)
        squared = along + off / self.residual_spread**2
        return np.asarray(np.sqrt(squared / self.mean.size), np.float32)

    def save(self, path: Path) -> None:
        """Write the parameters, half precision."""
        spread = np.linalg.norm(self.axes, axis=0)
        np.savez_compressed(
            path,
            mean=self.mean.astype(np.float32),
            directions=self.directions.astype(np.float16),
            inverse_spread=spread.astype(np.float32),
            residual_spread=np.float32(self.residual_spread),
        )

    @classmethod
    def load(cls, path: Path) -> "Scope":
        """Read what `save` wrote.

        Raises
        ------
        BundleError
            The file is not such a file.
        """
        try:
            with np.load(path) as file:
                directions = file["directions"].astype(np.float32)
                return cls(
                    mean=file["mean"],
                    directions=directions,
                    axes=directions * file["inverse_spread"],
                    residual_spread=float(file["residual_spread"]),
                )
        except (OSError, KeyError, ValueError, BadZipFile) as error:
            raise BundleError(f"{path.parent.name}/{path.name} does not hold scope parameters") from error


def fit_scope(embeddings: Float32Array, *, axes: int) -> Scope:
    """Describe the embeddings (samples, channels) of radiographs in scope."""
    mean = embeddings.mean(axis=0)
    _, singular, directions = np.linalg.svd(embeddings - mean, full_matrices=False)
    variances = np.square(singular) / (len(embeddings) - 1)
    kept = directions[:axes].T.astype(np.float32)
    residual = float(np.sqrt(variances[axes:].sum() / max(1, mean.size - axes)))
    return Scope(
        mean=np.asarray(mean, np.float32),
        directions=kept,
        axes=np.asarray(kept / np.maximum(np.sqrt(variances[:axes]), 1e-6), np.float32),
        residual_spread=max(residual, 1e-6),
    )
