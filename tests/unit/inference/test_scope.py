"""Distances from what is known."""

from pathlib import Path

import numpy as np
import pytest

from inference.errors import BundleError
from inference.scope import Scope, fit_scope


def draw_embeddings(count: int, *, seed: int) -> np.ndarray:
    """Draw 40 channels of which 6 directions vary much and the others little."""
    mixing = np.random.default_rng(0).normal(size=(6, 40))
    rng = np.random.default_rng(seed)
    return (3 + rng.normal(size=(count, 6)) @ mixing + 0.1 * rng.normal(size=(count, 40))).astype(np.float32)


def test_unseen_samples_of_the_same_kind_lie_at_a_distance_of_about_one() -> None:
    distances = fit_scope(draw_embeddings(2000, seed=1), axes=6).distances(draw_embeddings(2000, seed=2))
    assert np.sqrt(np.mean(np.square(distances))) == pytest.approx(1, abs=0.05)


def test_a_departure_off_the_known_axes_counts_more_than_one_along_them() -> None:
    known = draw_embeddings(2000, seed=1)
    scope = fit_scope(known, axes=6)
    along = scope.directions[:, 0]
    off = np.random.default_rng(3).normal(size=40).astype(np.float32)
    off -= scope.directions @ (scope.directions.T @ off)
    off /= np.linalg.norm(off)
    middle = known.mean(axis=0)
    assert scope.distance(middle + 2 * off) > 3 * scope.distance(middle + 2 * along)


def test_what_is_saved_gives_the_same_distances(tmp_path: Path) -> None:
    scope = fit_scope(draw_embeddings(500, seed=1), axes=6)
    scope.save(tmp_path / "scope.npz")
    probe = draw_embeddings(50, seed=4) * 1.3
    assert np.allclose(Scope.load(tmp_path / "scope.npz").distances(probe), scope.distances(probe), rtol=0.02)


def test_a_file_that_is_no_scope_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "scope.npz").write_bytes(b"no archive")
    with pytest.raises(BundleError, match=r"scope\.npz does not hold scope parameters"):
        Scope.load(tmp_path / "scope.npz")
