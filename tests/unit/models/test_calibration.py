"""Calibration on synthetic logits with known answers."""

import numpy as np
import pytest
from scipy.special import expit, softmax

from models.calibration import (
    brier_score,
    expected_calibration_error,
    fit_platt,
    fit_temperature,
)
from models.evaluation import area_under_curve, bootstrap, share


def test_platt_finds_the_distortion_of_known_probabilities() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(-1, 1.5, 40_000)
    fractured = rng.random(truth.size) < expit(truth)
    found = fit_platt((truth - 0.7) / 3, fractured)
    assert found.slope == pytest.approx(3, rel=0.05)
    assert found.intercept == pytest.approx(0.7, abs=0.05)
    assert expected_calibration_error(found.apply((truth - 0.7) / 3), fractured) < 0.01


def test_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, (20_000, 4))
    label = np.array([rng.choice(4, p=row) for row in softmax(logits, axis=1)])
    assert fit_temperature(logits * 2.5, label) == pytest.approx(2.5, rel=0.05)


def test_calibration_error_and_brier_score_of_known_cases() -> None:
    fractured = np.array([True, False, True, False])
    assert expected_calibration_error(np.full(4, 0.5), fractured) == 0
    assert expected_calibration_error(np.full(4, 0.9), fractured) == pytest.approx(0.4)
    assert brier_score(np.array([1.0, 0, 1, 0]), fractured) == 0


def test_area_under_curve_counts_ties_as_half() -> None:
    assert area_under_curve(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])) == 0.75
    assert area_under_curve(np.zeros(6), np.array([True, False] * 3)) == 0.5
    assert np.isnan(area_under_curve(np.zeros(2), np.array([True, True])))


def test_clustered_intervals_are_wider_than_independent_ones() -> None:
    hits = np.repeat(np.random.default_rng(4).random(40) < 0.5, 25)
    alone = bootstrap(lambda at: share(hits[at]), hits.size, clusters=np.arange(hits.size))
    together = bootstrap(lambda at: share(hits[at]), hits.size, clusters=np.repeat(np.arange(40), 25))
    assert alone["low"] is not None
    assert alone["high"] is not None
    assert together["low"] is not None
    assert together["high"] is not None
    assert together["high"] - together["low"] > 3 * (alone["high"] - alone["low"])


def test_a_figure_that_is_not_defined_says_so() -> None:
    empty = bootstrap(lambda _: float("nan"), 3, clusters=np.arange(3))
    assert empty == {"value": None, "low": None, "high": None}
