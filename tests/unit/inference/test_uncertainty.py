"""The decision is one answer only where the operating points give one and conformal prediction leaves no other."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from inference.bundle import MANIFEST, Answer, load_bundle
from inference.errors import BundleError
from inference.pipeline import Pipeline
from inference.testing import build_tiny_bundles
from inference.types import Decision, Radiograph
from inference.uncertainty import calibrate, compare_views, decide, explain_doubt, predict_set

BETWEEN = "between the sensitive and the specific operating point"


def build_answer(**fields: float) -> Answer:
    points = {"slope": 1.0, "intercept": 0.0, "sensitive": 0.2, "specific": 0.6}
    return Answer(output="any", regions=("HAND",), **(points | fields))


@pytest.mark.parametrize(
    ("probability", "decision", "reason"),
    [(0.19, Decision.NO_FRACTURE, ""), (0.2, Decision.UNCERTAIN, BETWEEN), (0.6, Decision.FRACTURE, "")],
)
def test_without_conformal_limits_the_operating_points_decide(
    probability: float, decision: Decision, reason: str
) -> None:
    answer = build_answer()
    assert predict_set(probability, answer) is None
    assert decide(probability, answer) is decision
    assert explain_doubt(probability, answer) == reason


@pytest.mark.parametrize(
    ("probability", "decision", "reason"),
    [
        (0.05, Decision.NO_FRACTURE, ""),
        (0.15, Decision.UNCERTAIN, "conformal prediction with a coverage of 97% rules out neither answer"),
        (0.4, Decision.UNCERTAIN, BETWEEN),
        (0.7, Decision.UNCERTAIN, "conformal prediction with a coverage of 97% rules out neither answer"),
        (0.9, Decision.FRACTURE, ""),
    ],
)
def test_where_both_answers_stay_there_is_none(probability: float, decision: Decision, reason: str) -> None:
    answer = build_answer(coverage=0.97, fracture_at_least=0.1, no_fracture_at_most=0.8)
    assert decide(probability, answer) is decision
    assert explain_doubt(probability, answer) == reason


def test_above_the_limit_on_the_others_and_below_a_higher_specific_point_the_points_give_the_reason() -> None:
    answer = build_answer(specific=0.5, coverage=0.95, fracture_at_least=0.2, no_fracture_at_most=0.25)
    assert predict_set(0.3, answer) == {Decision.FRACTURE}
    assert decide(0.3, answer) is Decision.UNCERTAIN
    assert explain_doubt(0.3, answer) == BETWEEN
    assert decide(0.5, answer) is Decision.FRACTURE


def test_where_neither_answer_stays_there_is_none() -> None:
    answer = build_answer(coverage=0.6, fracture_at_least=0.9, no_fracture_at_most=0.1)
    assert predict_set(0.15, answer) == predict_set(0.7, answer) == frozenset()
    assert decide(0.15, answer) is decide(0.7, answer) is Decision.UNCERTAIN
    assert explain_doubt(0.7, answer) == "conformal prediction with a coverage of 60% rules out both answers"
    assert decide(0.95, answer) is Decision.FRACTURE
    assert decide(0.05, answer) is Decision.NO_FRACTURE


def test_where_only_the_other_answer_stays_there_is_none() -> None:
    answer = build_answer(coverage=0.9, fracture_at_least=0.9, no_fracture_at_most=0.8)
    assert explain_doubt(0.7, answer) == "conformal prediction with a coverage of 90% leaves only the other answer"


def test_conformal_limits_come_together_or_not_at_all() -> None:
    with pytest.raises(ValueError, match="belong together"):
        build_answer(coverage=0.9, fracture_at_least=0.1)


@pytest.mark.parametrize("logit", [-800.0, -2.0, 0.0, 3.0, 800.0])
def test_a_calibrated_probability_never_overflows(logit: float) -> None:
    with np.errstate(over="ignore"):
        assert calibrate(logit, build_answer(slope=2.0, intercept=0.5)) == pytest.approx(
            1 / (1 + np.exp(-(2 * logit + 0.5)))
        )


@pytest.mark.parametrize(("logits", "said"), [((-3.0, 3.0), True), ((-3.0, 0.0), False), ((3.0, 2.0), False)])
def test_mirror_images_decided_in_opposite_ways_are_remarked(logits: tuple[float, float], said: bool) -> None:
    remark = compare_views(np.array(logits, np.float32), build_answer())
    assert bool(remark) is said
    if said:
        assert remark.endswith("answered oppositely: probabilities 0.05 and 0.95.")


def test_the_pipeline_abstains_with_the_reason(tmp_path: Path) -> None:
    sure = build_tiny_bundles(tmp_path / "sure")
    unsure = shutil.copytree(sure, tmp_path / "unsure")
    path = unsure / "tiny_fracture" / MANIFEST
    path.write_text(path.read_text() + "coverage = 0.97\nfracture_at_least = 0.1\nno_fracture_at_most = 0.999\n")
    pixels = np.full((100, 100), 0.3, np.float32)
    pixels[40:60, 40:60] = 1
    one, other = (Pipeline.load(folder, threads=1).analyse(Radiograph(pixels=pixels)) for folder in (sure, unsure))
    assert one.fracture == other.fracture
    assert (one.decision, one.reason) == (Decision.FRACTURE, "")
    assert other.decision is Decision.UNCERTAIN
    assert other.reason == "conformal prediction with a coverage of 97% rules out neither answer"


def test_half_a_promise_in_a_manifest_is_refused(tmp_path: Path) -> None:
    path = build_tiny_bundles(tmp_path) / "tiny_fracture" / MANIFEST
    path.write_text(path.read_text() + "coverage = 0.9\n")
    with pytest.raises(BundleError, match="belong together"):
        load_bundle(path.parent)
