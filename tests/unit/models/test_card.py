"""The card's text, from the metrics of the bundles that ship."""

import json
from pathlib import Path
from typing import Any

import pytest

from inference.bundle import read_bundle
from models.card import render_card

BUNDLES = Path(__file__).parents[3] / "models" / "bundles"


def read_metrics(bundle: str) -> Any:
    return json.loads((BUNDLES / bundle / "metrics.json").read_text(encoding="utf-8"))


def render(bundle: str, metrics: Any) -> str:
    return render_card(read_bundle(BUNDLES / bundle).manifest, metrics)


@pytest.fixture
def fracture() -> Any:
    return read_metrics("fracture")


def test_precision_stands_beside_specificity_for_all_and_for_every_region(fracture: Any) -> None:
    figures = fracture["figures"]
    rows = {"all": figures["all"], **figures["regions"]}
    for number, row in enumerate(rows.values()):
        row["precision_at_specific_point"] = {"value": number / 100, "low": 0.001, "high": 0.999}
    text = render("fracture", fracture)
    _, _, table = text.partition("| region | at the specific point: sensitivity | specificity | precision |")
    for number, name in enumerate(rows):
        [line] = [line for line in table.split("\n\n")[0].splitlines() if line.startswith(f"| {name} |")]
        assert line.endswith(f"| {number / 100:.3f} (0.001 to 0.999) |")


def test_the_card_says_that_no_unlikely_fracture_is_called_one_and_that_two_limits_are_one(fracture: Any) -> None:
    text = render("fracture", fracture)
    assert "the specific point is never below a probability of 0.5" in text
    assert "It is no second opinion" in text
    assert "the specific point is never below" not in render("region", read_metrics("region"))


def test_what_the_node_leaves_open_stands_beside_what_conformal_prediction_does(fracture: Any) -> None:
    fracture["figures"]["regions"]["KNEE"]["uncertain"] = {"value": 0.321, "low": 0.3, "high": 0.4}
    fracture["figures"]["conformal"]["regions"]["KNEE"]["both"] = 0.123
    [row] = [
        line for line in render("fracture", fracture).splitlines() if line.startswith("| KNEE | ") and "0.123" in line
    ]
    assert row.endswith("| 0.123 | 0.321 (0.300 to 0.400) |")


def test_the_calibration_error_of_every_region_stands_beside_its_auc(fracture: Any) -> None:
    elbow = fracture["figures"]["regions"]["ELBOW"]
    elbow["expected_calibration_error"] = {"value": 0.171, "low": 0.1, "high": 0.2}
    start = f"| ELBOW | {elbow['radiographs']} |"
    [row] = [line for line in render("fracture", fracture).splitlines() if line.startswith(start)]
    assert " | 0.171 (0.100 to 0.200) | " in row


def test_the_card_says_how_many_outsiders_of_each_family_were_shown_where_it_is_known() -> None:
    metrics = read_metrics("region")
    scope = metrics["figures"]["scope"]
    scope.pop("outsiders_shown", None)
    scope["outsiders_refused"]["shuffled"] = 0.625
    assert "| shuffled | - | 62.5% |" in render("region", metrics)
    scope["outsiders_shown"] = {"shuffled": 8}
    assert "| shuffled | 8 | 62.5% |" in render("region", metrics)


def test_a_bundle_made_by_the_way_is_not_taken_for_the_one_that_is_served(fracture: Any) -> None:
    said = "the region bundle that comes with it need not be the one that is served"
    fracture["command"] = "fracture-models train --task fracture --task region --out bundles"
    assert said in render("fracture", fracture).partition("## Made by")[2]
    fracture["command"] = "fracture-models train --task fracture --out bundles"
    assert "need not be the one" not in render("fracture", fracture)


def test_a_card_states_of_its_own_pool_what_its_figures_bear_out(fracture: Any) -> None:
    every = fracture["figures"]["all"] = {**fracture["figures"]["all"], "fractures": 40, "radiographs": 80}
    text = render("fracture", fracture).partition("## Known failures")[2]
    assert f"{every['fractures']} of {every['radiographs']}" in text
    assert "hospital" not in text  # of how many a pool is from, nothing tells; FracAtlas is from three
    assert "made to look so" in text


def test_a_card_names_the_confusions_of_the_pool_on_which_they_were_seen() -> None:
    metrics = read_metrics("region")
    assert "elbows as forearms" in render("region", metrics)
    assert "elbows as forearms" not in render("region", {**metrics, "layout": "folders"})


@pytest.mark.parametrize(
    ("bundle", "said"),
    [
        ("fracture", "13 whose duplicates carry another label, and 26 of another region or of none, are left out"),
        ("region", "26 that show none of its regions are left out"),
    ],
)
def test_the_radiographs_used_are_those_of_the_figures_and_those_said_to_be_in_none(bundle: str, said: str) -> None:
    metrics = read_metrics(bundle)
    figures = metrics["figures"]
    in_figures = figures["radiographs"] if bundle == "region" else figures["all"]["radiographs"]
    left_out = sum(int(word) for word in said.split() if word.isdigit())
    assert metrics["data"]["samples"] == in_figures + left_out
    assert said in render(bundle, metrics)


@pytest.mark.parametrize("share", [None, 0.65])
def test_a_closer_look_is_stated_where_one_is_taken(fracture: Any, share: float | None) -> None:
    manifest = read_bundle(BUNDLES / "fracture").manifest.model_copy(update={"second_look": share})
    text = render_card(manifest, fracture)
    assert ("is looked at again, 65% of each side around the hottest place" in text) is (share is not None)
    assert ("looked at again" in text) is (share is not None)
