"""Which output answers a region, and by what radiographs as if from elsewhere are answered."""

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.types import Float32Array
from models.fracture_bundle import choose_output, measure_shifted
from models.predictions import FracturePredictions
from models.protocol import Answers

COUNT, OUTPUTS = 800, ("ANY", "HAND")
NONE = np.full(COUNT, np.nan)


def tabulate(fractured: NDArray[np.bool_]) -> FracturePredictions:
    return FracturePredictions(
        image=[f"{number}" for number in range(COUNT)],
        fold=np.arange(COUNT) % 4,
        cluster=np.arange(COUNT),
        region=["HAND"] * COUNT,
        fractured=fractured,
        usable=np.ones(COUNT),
        output=[""] * COUNT,
        logit=NONE,
        probability=NONE,
        sensitive=NONE,
        specific=NONE,
        peak_x=np.full(COUNT, -1),
        peak_y=np.full(COUNT, -1),
        final_logit=NONE,
    )


def draw(*separations: float) -> tuple[FracturePredictions, Float32Array]:
    """Return a table, and logits (samples, outputs) whose classes lie so many standard deviations apart."""
    rng = np.random.default_rng(0)
    fractured = rng.random(COUNT) < 0.3
    logits = rng.normal(size=(COUNT, len(separations))) + np.outer(fractured, separations)
    return tabulate(fractured), logits.astype(np.float32)


@pytest.mark.parametrize(("own", "expected"), [(3.0, "HAND"), (2.0, "ANY"), (1.0, "ANY")])
def test_a_region_is_answered_by_its_own_output_only_where_that_is_better_beyond_doubt(
    own: float, expected: str
) -> None:
    table, logits = draw(2.0, own)
    chosen = choose_output(table, logits, "HAND", OUTPUTS)
    assert chosen["output"] == expected
    assert (chosen["low"] > 0) is (expected == "HAND")


def test_a_region_without_an_output_of_its_own_is_answered_by_that_of_all() -> None:
    assert choose_output(*draw(2.0, 3.0), "LEG", OUTPUTS)["output"] == "ANY"


def measure(table: FracturePredictions, logits: Float32Array, *, brighter: float) -> dict[str, float]:
    """Return what is measured where every logit as from elsewhere lies higher than that of the radiograph as it is."""
    looks = np.stack([logits, logits, logits + np.float32(brighter)], axis=1)
    cams, parts = np.zeros((COUNT, 2, 1, 1, len(OUTPUTS)), np.float32), np.zeros((COUNT, len(OUTPUTS), 4), np.int64)
    answers = Answers(logits=looks, cams=cams, first_cams=cams, parts=parts)
    figures = measure_shifted(table, answers, {"HAND": "ANY"}, OUTPUTS)
    return {name: figure["value"] for name, figure in figures.items() if isinstance(figure, dict)}


def test_radiographs_as_from_elsewhere_are_answered_by_the_calibration_of_those_as_they_are() -> None:
    """As a site's are: that all logits lie higher is seen in probabilities and decisions, and not in the ranking."""
    table, logits = draw(2.0, 2.0)
    same, higher = measure(table, logits, brighter=0.0), measure(table, logits, brighter=3.0)
    assert same["auc"] == pytest.approx(higher["auc"], abs=0.01)
    assert (same["expected_calibration_error"] < 0.06, higher["expected_calibration_error"] > 0.3) == (True, True)
    assert same["specificity_at_specific_point"] > 0.93
    assert higher["specificity_at_specific_point"] < 0.3
    assert higher["sensitivity_at_sensitive_point"] == 1.0
