"""The promised coverage holds in each class, on synthetic data whose truth is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.conformal import Coverage, fit_conformal, measure_coverage

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def draw(rng: np.random.Generator, size: int, *, prevalence: float, separation: float) -> tuple[FloatArray, BoolArray]:
    """Draw probabilities of a model whose logits of the two classes lie `separation` standard deviations apart."""
    fractured = rng.random(size) < prevalence
    logits = rng.normal(size=size) + separation * (fractured - 0.5)
    return 1 / (1 + np.exp(-logits)), fractured


def repeat(*, miscoverage: float, prevalence: float, separation: float, seed: int = 0) -> Coverage:
    """Return the mean coverage over many draws of 300 radiographs to fit and 2,000 to measure."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(200):
        fitted = fit_conformal(*draw(rng, 300, prevalence=prevalence, separation=separation), miscoverage=miscoverage)
        found.append(measure_coverage(*draw(rng, 2000, prevalence=prevalence, separation=separation), fitted))
    return Coverage(*np.mean(found, axis=0))


@pytest.mark.parametrize("miscoverage", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("prevalence", [0.15, 0.5])
@pytest.mark.parametrize("separation", [0.0, 2.5], ids=["worthless model", "good model"])
def test_each_class_keeps_its_true_answer_as_often_as_promised(
    miscoverage: float, prevalence: float, separation: float
) -> None:
    found = repeat(miscoverage=miscoverage, prevalence=prevalence, separation=separation)
    fewest = 300 * min(prevalence, 1 - prevalence)
    for coverage in (found.fracture, found.no_fracture):
        # Never less than promised, and more by at most one of those fitted on; 0.006 is three standard errors.
        assert 1 - miscoverage - 0.006 < coverage < 1 - miscoverage + 1.4 / fewest + 0.006


def test_a_promise_over_all_together_would_fail_the_rarer_class() -> None:
    rng = np.random.default_rng(1)
    odds, fractured = draw(rng, 20_000, prevalence=0.1, separation=1.5)
    probabilities = odds * 0.1 / (odds * 0.1 + (1 - odds) * 0.9)  # calibrated: this model knows that fractures are rare
    kept = np.where(fractured, probabilities, 1 - probabilities)
    together = kept >= np.quantile(kept, 0.1)
    limits = fit_conformal(probabilities, fractured, miscoverage=0.1)
    assert together.mean() >= 0.9
    assert together[fractured].mean() < 0.5
    assert measure_coverage(probabilities, fractured, limits).fracture >= 0.9


def test_a_good_model_seldom_leaves_both_answers_and_a_worthless_one_nearly_always() -> None:
    good, worthless = (repeat(miscoverage=0.1, prevalence=0.3, separation=separation).both for separation in (2.5, 0.0))
    assert good < 0.05
    assert worthless > 0.75


def test_the_limits_are_the_ones_of_the_definition() -> None:
    probabilities = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9] * 2)
    fractured = np.repeat([True, False], 9)
    limits = fit_conformal(probabilities, fractured, miscoverage=0.2)
    assert limits.coverage == pytest.approx(0.8)
    assert (limits.fracture_at_least, limits.no_fracture_at_most) == (0.2, 0.8)


def test_with_too_few_of_a_class_nothing_is_ruled_out() -> None:
    probabilities, fractured = np.array([0.6, 0.7, *np.linspace(0, 0.5, 99)]), np.arange(101) < 2
    limits = fit_conformal(probabilities, fractured, miscoverage=0.1)
    assert limits.fracture_at_least == 0
    assert limits.no_fracture_at_most < 0.5
    assert measure_coverage(np.array([0.0]), np.array([True]), limits).fracture == 1


@pytest.mark.parametrize("miscoverage", [0.0, 1.0, -0.1])
def test_a_promise_that_is_none_is_refused(miscoverage: float) -> None:
    with pytest.raises(ValueError, match="promises nothing"):
        fit_conformal(np.array([0.5]), np.array([True]), miscoverage=miscoverage)
