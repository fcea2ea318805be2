"""How probabilities are written: no certainty, and no rounding that denies the decision beside it."""

from pathlib import Path

import numpy as np
import pytest

from inference.bundle import read_bundle
from inference.probabilities import (
    format_fracture_probability,
    format_operating_points,
    format_percentage,
    format_probability,
)
from inference.types import FracturePrediction

SHIPPED = read_bundle(Path(__file__).parents[3] / "models" / "bundles" / "fracture").manifest.answers


def predict(probability, sensitive=0.2, specific=0.6):
    return FracturePrediction(probability=probability, sensitive_threshold=sensitive, specific_threshold=specific)


def test_no_probability_is_written_as_a_certainty():
    assert [format_probability(value) for value in (0.0, 0.004, 0.5, 0.994, 0.9999, 1.0)] == [
        "<0.01", "<0.01", "0.50", "0.99", ">0.99", ">0.99",
    ]  # fmt: skip
    assert [format_percentage(value) for value in (0.0, 0.004, 0.006, 0.5, 0.994, 0.9999)] == [
        "<1%", "<1%", "1%", "50%", "99%", ">99%",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fracture", "written", "points"),
    [
        (predict(0.87), "0.87", ("0.20", "0.60")),
        (predict(0.498, specific=0.5), "0.498", ("0.200", "0.500")),
        (predict(0.5, specific=0.5), "0.50", ("0.20", "0.50")),
        (predict(0.0121, sensitive=0.01496, specific=0.5), "0.012", ("0.015", "0.500")),
        (predict(0.0004, sensitive=0.003), "<0.001", ("0.003", "0.600")),
        (predict(0.9996, specific=0.9999), "0.9996", ("0.2000", "0.9999")),
    ],
)
def test_a_probability_below_an_operating_point_is_written_below_it(fracture, written, points):
    assert (format_fracture_probability(fracture), format_operating_points(fracture)) == (written, points)


@pytest.mark.parametrize("answer", SHIPPED, ids=lambda answer: answer.regions[0])
def test_what_is_written_tells_the_same_as_the_shipped_operating_points(answer):
    for point in (answer.sensitive, answer.specific):
        for probability in np.clip(point + np.linspace(-0.01, 0.01, 401), 0, 1).tolist():
            fracture = predict(probability, answer.sensitive, answer.specific)
            written = format_fracture_probability(fracture)
            shown = 0.0 if written.startswith("<") else float(written.strip(">"))
            told = [shown < float(one) for one in format_operating_points(fracture)]
            assert told == [probability < answer.sensitive, probability < answer.specific], written
