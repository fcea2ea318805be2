"""Figures of predictions, on tables whose figures are known."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from models.calibration import CalibrationError, expected_calibration_error
from models.evaluation import FOne, Share, average_precision, bootstrap, bootstrap_all, bound_share, count_share, share
from models.fracture_figures import fracture_figures, lies_inside, play_pointing_game
from models.label_figures import region_figures, scope_figures, type_figures
from models.predictions import FracturePredictions, RegionPredictions, TypePredictions

# Ten hands, five fractures and then five without one; one in the middle of each tenth.
PROBABILITIES = np.array([0.95, 0.85, 0.65, 0.45, 0.15, 0.75, 0.55, 0.35, 0.25, 0.05])
FRACTURED = np.arange(10) < 5


def build_table(**changed: object) -> FracturePredictions:
    count = len(PROBABILITIES)
    columns = {
        "image": [f"{index}.jpg" for index in range(count)],
        "fold": np.zeros(count),
        "cluster": np.arange(count),
        "region": ["HAND"] * count,
        "fractured": FRACTURED,
        "usable": np.ones(count),
        "output": ["ANY"] * count,
        "logit": np.log(PROBABILITIES / (1 - PROBABILITIES)),
        "probability": PROBABILITIES,
        "sensitive": np.full(count, 0.3),
        "specific": np.full(count, 0.7),
        "peak_x": np.zeros(count),
        "peak_y": np.zeros(count),
        "final_logit": np.zeros(count),
    }
    return FracturePredictions(**{**columns, **changed})


def test_figures_of_ten_hands() -> None:
    figures = fracture_figures(build_table(), regions=("HAND", "LEG"))
    found = {name: item["value"] if isinstance(item, dict) else item for name, item in figures["all"].items()}
    assert found == {
        "radiographs": 10,
        "fractures": 5,
        # Pairs in order: 0.95 and 0.85 beat all five, 0.65 beats four, 0.45 three, 0.15 one.
        "auc": 18 / 25,
        "average_precision": pytest.approx((1 + 1 + 3 / 4 + 4 / 6 + 5 / 9) / 5, abs=1e-4),
        "sensitivity_at_sensitive_point": 0.8,
        "specificity_at_sensitive_point": 0.4,
        "accuracy_at_sensitive_point": 0.6,
        "precision_at_sensitive_point": pytest.approx(4 / 7, abs=1e-4),
        "f1_at_sensitive_point": pytest.approx(8 / 12, abs=1e-4),
        "sensitivity_at_specific_point": 0.4,
        "specificity_at_specific_point": 0.8,
        "accuracy_at_specific_point": 0.6,
        "precision_at_specific_point": pytest.approx(2 / 3, abs=1e-4),
        "f1_at_specific_point": 0.5,
        # Between 0.3 and 0.7 lie 0.65 and 0.45 (fractures), 0.55 and 0.35.
        "uncertain": 0.4,
        "fractures_among_uncertain": 0.5,
        # Wrong and sure: the fracture at 0.15 and the hand without one at 0.75.
        "coverage": 0.8,
        "accuracy_when_decided": pytest.approx(4 / 6, abs=1e-4),
        "brier_score": pytest.approx(np.mean((PROBABILITIES - FRACTURED) ** 2), abs=1e-4),
        "expected_calibration_error": pytest.approx(np.abs(PROBABILITIES - FRACTURED).mean(), abs=1e-4),
    }
    assert figures["regions"]["HAND"] == figures["all"]
    assert figures["regions"]["LEG"]["radiographs"] == 0
    assert figures["regions"]["LEG"]["auc"] == {"value": None, "low": None, "high": None}


def test_average_precision_is_that_of_scikit_learn_ties_included() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        scores, positive = rng.integers(0, 8, 30) / 8, rng.random(30) < 0.4
        assert average_precision(scores, positive) == pytest.approx(average_precision_score(positive, scores))
    assert np.isnan(average_precision(np.zeros(3), np.zeros(3, bool)))


def test_radiographs_that_nothing_answers_or_whose_twin_disagrees_take_no_part() -> None:
    usable, output = np.ones(10, bool), np.array(["ANY"] * 10)
    usable[5], output[4] = False, ""
    figures = fracture_figures(build_table(usable=usable, output=output))["all"]
    assert (figures["radiographs"], figures["fractures"]) == (8, 4)
    # 0.45 loses against 0.55 alone.
    assert figures["auc"]["value"] == 15 / 16


def test_every_row_is_judged_by_its_own_operating_points() -> None:
    own = build_table(sensitive=np.where(FRACTURED, 0.0, 1.0), specific=np.where(FRACTURED, 0.0, 1.0))
    found = fracture_figures(own)["all"]
    assert found["sensitivity_at_sensitive_point"]["value"] == 1.0
    assert found["specificity_at_specific_point"]["value"] == 1.0


def test_pointing_game_counts_outlined_fractures_whose_peak_lies_in_a_box() -> None:
    # 0 in its first box, 1 in none, 2 without a peak, 3 without a box, 5 with a box but without a fracture.
    boxes = {"0.jpg": [(8.0, 8.0, 4.0, 4.0), (50.0, 50.0, 9.0, 9.0)], "1.jpg": [(20.0, 0.0, 5.0, 5.0)]}
    boxes |= {"2.jpg": [(-5.0, -5.0, 90.0, 90.0)], "5.jpg": [(0.0, 0.0, 90.0, 90.0)]}
    peaks = {"peak_x": np.array([10, 10, -1, *[10] * 7]), "peak_y": np.array([9, 9, -1, *[9] * 7])}
    found = play_pointing_game(build_table(**peaks), boxes, regions=("HAND", "LEG"))
    assert found["all"]["value"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["HAND"] == found["all"]
    assert "LEG" not in found


@pytest.mark.parametrize(
    ("peak", "inside"),
    [((10, 20), True), ((13, 20), True), ((14, 20), False), ((10, 27), True), ((10, 28), False), ((9, 20), False)],
)
def test_a_peak_is_the_middle_of_its_pixel(peak: tuple[int, int], inside: bool) -> None:
    assert lies_inside(peak, [(10.0, 20.0, 4.0, 8.0)]) is inside


def build_regions() -> RegionPredictions:
    return RegionPredictions(
        image=[f"{index}.jpg" for index in range(6)],
        fold=np.zeros(6),
        cluster=np.arange(6),
        region=["HAND", "HAND", "HAND", "LEG", "LEG", "OTHER"],
        predicted=["HAND", "HAND", "LEG", "LEG", "KNEE", "HAND"],
        confidence=[0.95, 0.85, 0.45, 0.75, 0.35, 0.25],
        distance=[1.0, 1.0, 1.0, 1.0, 3.0, 3.0],
        final_region=["HAND"] * 6,
        final_confidence=np.ones(6),
    )


def test_figures_of_named_regions() -> None:
    figures = region_figures(build_regions(), regions=("HAND", "LEG"))
    assert figures["radiographs"] == 5
    assert figures["accuracy"]["value"] == 0.6
    values = {name: figures["regions"]["HAND"][name]["value"] for name in ("recall", "precision", "f1")}
    assert values == {"recall": pytest.approx(2 / 3, abs=1e-4), "precision": 1.0, "f1": 0.8}
    assert figures["macro_f1"]["value"] == pytest.approx((0.8 + 0.5) / 2, abs=1e-4)
    assert figures["confusion"] == {
        # In the order of all regions, those that the data set does not know among them.
        "labels": ["HAND", "KNEE", "LEG"],
        "rows_are_actual": [[2, 0, 1], [0, 0, 0], [0, 1, 1]],
    }
    stated, right = np.array([0.95, 0.85, 0.45, 0.75, 0.35]), np.array([1, 1, 0, 1, 0])
    assert figures["expected_calibration_error"]["value"] == pytest.approx(np.abs(stated - right).mean(), abs=1e-4)


def test_scope_refuses_by_distance_and_by_confidence() -> None:
    found = scope_figures(build_regions(), threshold=2.0, least_confidence=0.5, regions=("HAND", "LEG"))
    assert (found["threshold"], found["least_confidence"]) == (2.0, 0.5)
    assert found["refused_of_named_regions"]["value"] == 0.4
    assert found["refused_of_other_regions"] == {"value": 1.0, "low": 0.025, "high": 1.0}


def test_figures_of_types() -> None:
    types = ("IMPACTED", "OBLIQUE", "SPIRAL", "TRANSVERSE")
    table = TypePredictions(
        image=["a", "b", "c", "d"], fold=[0] * 4, cluster=[0, 1, 2, 3],
        type=["SPIRAL", "OBLIQUE", "OBLIQUE", "IMPACTED"], predicted=["SPIRAL"] * 4, confidence=[0.9, 0.6, 0.6, 0.7],
        rank=[1, 3, 4, 2], final_type=["SPIRAL"] * 4, final_confidence=[1.0] * 4,
    )  # fmt: skip
    figures = type_figures(table, types)
    assert figures["types"]["SPIRAL"]["precision"]["value"] == 0.25
    assert figures["types"]["SPIRAL"]["recall"]["value"] == 1.0
    assert figures["types"]["SPIRAL"]["f1"]["value"] == 0.4
    assert figures["types"]["TRANSVERSE"]["recall"] == {"value": None, "low": None, "high": None}
    assert figures["confusion"]["rows_are_actual"] == [[0, 0, 1, 0], [0, 0, 2, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert figures["accuracy"]["value"] == 0.25
    assert figures["top_3_accuracy"]["value"] == 0.75
    assert figures["top_3_accuracy"]["low"] < 0.75 < figures["top_3_accuracy"]["high"]
    assert "labels" not in figures


def test_figures_of_the_same_rows_come_from_the_same_resampled_clusters() -> None:
    values = np.random.default_rng(0).random(60)
    clusters = np.arange(60) // 3
    together = bootstrap_all(
        {"mean": lambda at: share(values[at]), "twice": lambda at: 2 * share(values[at])}, 60, clusters=clusters
    )
    assert together["mean"] == bootstrap(lambda at: share(values[at]), 60, clusters=clusters)
    assert together["twice"]["low"] == pytest.approx(2 * together["mean"]["low"], abs=2e-4)


@pytest.mark.parametrize(("hits", "low", "high"), [(True, 0.7529, 1.0), (False, 0.0, 0.2471)])
def test_all_or_none_of_thirteen_has_the_exact_interval(hits: bool, low: float, high: float) -> None:
    # Clopper and Pearson: 0.025 ** (1 / 13).
    found = bootstrap(count_share(np.full(13, hits)), 13, clusters=np.arange(13))
    assert found == {"value": float(hits), "low": low, "high": high}


def test_rows_of_one_cluster_are_one_trial_and_others_than_those_counted_none() -> None:
    among = np.arange(20) < 13
    figure = Share(hits=np.ones(20, bool), among=among)
    found = bootstrap(figure, 20, clusters=np.where(among, np.arange(20) % 4, np.arange(20)))
    assert found["low"] == pytest.approx(0.025 ** (1 / 4), abs=1e-4)


def test_one_cluster_tells_nothing_of_another() -> None:
    found = bootstrap(count_share(np.arange(3) < 2), 3, clusters=np.zeros(3, int))
    assert found == {"value": pytest.approx(2 / 3, abs=1e-4), "low": 0.0, "high": 1.0}


def test_a_share_that_varies_keeps_its_percentiles() -> None:
    hits, among = np.random.default_rng(1).random((2, 40)) < 0.6
    clusters = np.arange(40) // 2
    plain = bootstrap(lambda at: share(hits[at][among[at]]), 40, clusters=clusters)
    assert bootstrap(Share(hits=hits, among=among), 40, clusters=clusters) == plain


def test_f1_follows_from_its_share_and_so_does_its_exact_interval() -> None:
    alarm, wanted = np.random.default_rng(1).random((2, 40)) < 0.6
    value = bootstrap(FOne(hits=alarm & wanted, among=alarm | wanted), 40, clusters=np.arange(40))["value"]
    assert value == pytest.approx(2 * (alarm & wanted).sum() / (alarm.sum() + wanted.sum()), abs=1e-4)
    perfect = bootstrap(FOne(hits=wanted, among=wanted), 40, clusters=np.arange(40))
    low, _ = bound_share(1.0, int(wanted.sum()))
    assert perfect == {"value": 1.0, "low": pytest.approx(2 * low / (1 + low), abs=1e-4), "high": 1.0}


def test_figures_of_few_fractures_all_found_have_a_width() -> None:
    row = fracture_figures(build_table(sensitive=np.full(10, 0.1)))["all"]["sensitivity_at_sensitive_point"]
    assert row["value"] == row["high"] == 1.0
    assert row["low"] == pytest.approx(0.025 ** (1 / 5), abs=1e-4)


def test_the_interval_of_the_calibration_error_holds_the_error() -> None:
    # Ten bins of 20, each with as many fractures as are stated.
    stated = np.repeat(np.arange(10) / 10 + 0.05, 20)
    observed = np.tile(np.arange(20), 10) < 20 * stated - 1e-9
    plain = bootstrap(lambda at: expected_calibration_error(stated[at], observed[at]), 200, clusters=np.arange(200))
    assert plain["value"] == 0.0
    assert plain["low"] > 0.03, "resamples err more than the radiographs do"
    found = bootstrap(CalibrationError(stated=stated, observed=observed), 200, clusters=np.arange(200))
    assert found == plain | {"low": 0.0}


def test_the_interval_of_the_calibration_error_reaches_as_far_below_it_as_above() -> None:
    stated, observed = np.full(100, 0.45), np.arange(100) < 90
    found = bootstrap(CalibrationError(stated=stated, observed=observed), 100, clusters=np.arange(100))
    assert found["value"] == 0.45
    assert found["value"] - found["low"] == pytest.approx(found["high"] - found["value"], abs=2e-4)
    assert found["low"] < 0.4
