"""The FracAtlas pool itself, where it is at hand: what the shipped figures were made with."""

import hashlib

import numpy as np
import pytest
from fracatlas_pool import find_pool

from models.datasets import REGIONS, assign_folds, load_fracatlas


@pytest.mark.skipif(find_pool() is None, reason="no FracAtlas folder: set FRACATLAS to run it")
def test_the_pool_gives_the_samples_and_folds_that_the_shipped_figures_were_made_with() -> None:
    pool = find_pool()
    assert pool is not None
    dataset = load_fracatlas(pool)
    folds = assign_folds(dataset.samples, folds=5, seed=2026)
    assert len(dataset.samples) == 3383
    assert len(dataset.left_out) == 42
    assert {sample.region for sample in dataset.samples} == {*REGIONS, "OTHER"}
    # One radiograph in two windows, printed marks in one of them: neighbours, which the table has not as twins.
    assert dataset.found == (("IMG0000089.jpg", "IMG0000090.jpg"), ("IMG0000136.jpg", "IMG0000137.jpg"))
    assert np.bincount(folds).tolist() == [671, 668, 683, 675, 686]
    assert hashlib.sha256(folds.tobytes()).hexdigest().startswith("8e9e6282e6930cab")
