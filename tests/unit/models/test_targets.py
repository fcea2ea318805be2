"""The card's table of targets."""

from typing import Any

import pytest

from inference.types import Task
from models.targets import TARGETS, judge, render_targets


def figure(value: float | None, low: float | None, high: float | None) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high}


@pytest.mark.parametrize(
    ("at_least", "value", "low", "high", "verdict"),
    [
        (True, 0.95, 0.90, 0.97, "reached"),
        (True, 0.94, 0.90, 0.97, "open"),
        (True, 0.92, 0.90, 0.94, "missed"),
        (False, 0.04, 0.01, 0.06, "reached"),
        (False, 0.05, 0.01, 0.06, "open"),
        (False, 0.06, 0.05, 0.07, "missed"),
    ],
)
def test_a_verdict_says_whether_the_interval_holds_the_target(
    at_least: bool, value: float, low: float, high: float, verdict: str
) -> None:
    (target,) = (one for one in TARGETS[Task.REGION] if one.at == ("expected_calibration_error",))
    chosen = target.__class__(what="x", at=(), bound=0.95 if at_least else 0.04, at_least=at_least)
    assert judge(chosen, value, low, high) == verdict


def test_the_least_of_the_outsiders_counts_and_what_was_not_measured_has_no_row() -> None:
    figures = {
        "accuracy": figure(0.971, 0.963, 0.978),
        "expected_calibration_error": figure(None, None, None),
        "scope": {"outsiders_refused": {"chest": 1.0, "shuffled": 0.987}, "limbs_refused": 0.015},
    }
    text = render_targets(Task.REGION, figures)
    assert "| accuracy over ten regions | ≥ 0.98 | 0.971 (0.963 to 0.978) | missed |" in text
    assert "| outsiders refused, the least of all kinds | ≥ 0.99 | 0.987 | not reached |" in text
    assert "| limbs refused, plain and shifted | ≤ 0.02 | 0.015 | reached |" in text
    assert "calibration" not in text
    assert "as they are" not in text


@pytest.mark.parametrize(
    ("share", "shown", "row"),
    [
        (0.9867, 75, "0.987 (0.928 to 1.000) | open |"),
        (0.96, 75, "0.960 (0.888 to 0.992) | open |"),
        (0.9333, 75, "0.933 (0.851 to 0.978) | missed |"),
        (1.0, 75, "1.000 (0.952 to 1.000) | reached |"),
    ],
)
def test_the_least_share_of_outsiders_has_the_interval_of_as_many_as_were_shown(
    share: float, shown: int, row: str
) -> None:
    # Clopper and Pearson: 74, 72, 70 and 75 of 75.
    scope = {
        "outsiders_refused": {"chest": 1.0, "shuffled": share},
        "outsiders_shown": {"chest": 75, "shuffled": shown},
    }
    assert f"| ≥ 0.99 | {row}" in render_targets(Task.REGION, {"scope": scope})


def test_of_equal_shares_that_of_the_fewest_counts() -> None:
    scope = {"outsiders_refused": {"chest": 0.5, "noise": 0.5}, "outsiders_shown": {"chest": 800, "noise": 8}}
    assert "0.500 (0.157 to 0.843)" in render_targets(Task.REGION, {"scope": scope})
