"""The promised coverage holds in each class, on synthetic data whose truth is known."""

from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from models.conformal import keep_answers
from models.fracture_figures import coverage_of_classes
from models.region_calibration import RegionCalibration, calibrate_regions

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def draw(rng: np.random.Generator, size: int, *, prevalence: float, separation: float) -> tuple[FloatArray, BoolArray]:
    """Draw logits of a model whose two classes lie `separation` standard deviations apart."""
    fractured = rng.random(size) < prevalence
    return rng.normal(size=size) + separation * (fractured - 0.5), fractured


def fit(logits: FloatArray, fractured: BoolArray, miscoverage: float) -> RegionCalibration:
    """Calibrate as training does, where there is one region."""
    return calibrate_regions(logits, fractured, np.full(logits.shape, "HAND"), ("HAND",), miscoverage=miscoverage)[
        "HAND"
    ]


class Coverage(NamedTuple):
    fracture: float
    no_fracture: float
    both: float
    none: float


def measure(logits: FloatArray, fractured: BoolArray, fitted: RegionCalibration) -> Coverage:
    kept = keep_answers(fitted.platt.apply(logits), fitted.limits)
    everything = np.arange(len(logits))
    return Coverage(**{name: share(everything) for name, share in coverage_of_classes(*kept, fractured).items()})


def repeat(*, miscoverage: float, prevalence: float, separation: float, seed: int = 0) -> Coverage:
    """Return the mean coverage over many draws of 300 radiographs to fit and 2,000 to measure."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(100):
        fitted = fit(*draw(rng, 300, prevalence=prevalence, separation=separation), miscoverage)
        found.append(measure(*draw(rng, 2000, prevalence=prevalence, separation=separation), fitted))
    return Coverage(*np.mean(found, axis=0))


@pytest.mark.parametrize("miscoverage", [0.05, 0.2])
@pytest.mark.parametrize("prevalence", [0.15, 0.5])
@pytest.mark.parametrize("separation", [0.5, 2.5], ids=["poor model", "good model"])
def test_each_class_keeps_its_true_answer_as_often_as_promised(
    miscoverage: float, prevalence: float, separation: float
) -> None:
    found = repeat(miscoverage=miscoverage, prevalence=prevalence, separation=separation)
    fewest = 300 * min(prevalence, 1 - prevalence)
    for coverage in (found.fracture, found.no_fracture):
        # Never less than promised, and more by at most one of those fitted on; 0.009 is three standard errors.
        assert 1 - miscoverage - 0.009 < coverage < 1 - miscoverage + 1.4 / fewest + 0.009


def test_a_promise_over_all_together_would_fail_the_rarer_class() -> None:
    logits, fractured = draw(np.random.default_rng(1), 20_000, prevalence=0.1, separation=1.5)
    fitted = fit(logits, fractured, 0.1)
    probabilities = fitted.platt.apply(logits)  # this model knows that fractures are rare
    kept = np.where(fractured, probabilities, 1 - probabilities)
    together = kept >= np.quantile(kept, 0.1)
    assert together.mean() >= 0.9
    assert together[fractured].mean() < 0.5
    assert measure(logits, fractured, fitted).fracture >= 0.9


def test_a_good_model_seldom_leaves_both_answers_and_a_worthless_one_nearly_always() -> None:
    good, worthless = (repeat(miscoverage=0.1, prevalence=0.3, separation=separation).both for separation in (2.5, 0.0))
    assert good < 0.05
    assert worthless > 0.75


def test_the_limits_are_the_ones_of_the_definition() -> None:
    logits = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9])
    fractured = np.arange(18) >= 9
    fitted = fit(logits, fractured, 0.2)
    assert fitted.limits.coverage == pytest.approx(0.8)
    limits = [fitted.limits.fracture_at_least, fitted.limits.no_fracture_at_most]
    assert limits == pytest.approx(fitted.platt.apply(np.array([1.2, 0.8])).tolist())


def test_with_too_few_of_a_class_nothing_is_ruled_out() -> None:
    logits, fractured = np.array([0.6, 0.7, *np.linspace(0, 0.5, 99)]), np.arange(101) < 2
    fitted = fit(logits, fractured, 0.1)
    assert fitted.limits.fracture_at_least == 0
    assert fitted.limits.no_fracture_at_most < float(fitted.platt.apply(np.array([0.5]))[0])
    assert measure(np.array([0.0]), np.array([True]), fitted).fracture == 1
