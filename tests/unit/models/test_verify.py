"""`fracture-models verify`: what a bundle states is computed again."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_pool import MIXED, write_pool
from typer.testing import CliRunner

from inference.bundle import ONNX, load_bundle, read_bundle, write_manifest
from inference.model import Model
from inference.testing import build_tiny_bundles
from inference.types import Radiograph
from models.answer_calibration import calibrate_answers
from models.calibrated_bundle import write_calibrated
from models.cli import app
from models.datasets import read_unit_pixels
from models.predictions import FracturePredictions, RegionPredictions, write_predictions
from models.scope_limits import find_least_confidence
from models.statements import compare_card, compare_manifest
from models.verification import compute_figures, read_table

BUNDLES = Path(__file__).parents[3] / "models" / "bundles"
runner = CliRunner()
COUNT = len(MIXED)


def run(bundle: Path, *options: str) -> tuple[int, str]:
    result = runner.invoke(app, ["verify", str(bundle), *options])
    return result.exit_code, " ".join(result.output.split())


def tabulate_fractures(pool: Path, logits: list[float]) -> FracturePredictions:
    rng = np.random.default_rng(0)
    return FracturePredictions(
        image=sorted(path.name for path in (pool / "images").iterdir()),
        fold=np.arange(COUNT) % 4,
        cluster=np.arange(COUNT),
        region=[drawn.region for drawn in MIXED],
        fractured=[drawn.fractured for drawn in MIXED],
        usable=np.ones(COUNT),
        output=["any"] * COUNT,
        logit=rng.normal(size=COUNT),
        probability=rng.random(COUNT),
        sensitive=np.full(COUNT, 0.3),
        specific=np.full(COUNT, 0.6),
        peak_x=[drawn.at[0] for drawn in MIXED],
        peak_y=[drawn.at[1] for drawn in MIXED],
        final_logit=logits,
    )


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return write_pool(tmp_path / "pool")


@pytest.fixture
def bundle(tmp_path: Path, pool: Path) -> Path:
    """Return a fracture bundle with a table, and figures computed from it."""
    folder = build_tiny_bundles(tmp_path / "bundles") / "tiny_fracture"
    loaded = Model.load(load_bundle(folder), runtime="onnx", threads=1)
    paths = sorted((pool / "images").iterdir())
    logits = [float(loaded.run(Radiograph(pixels=read_unit_pixels(path)))[0].logits[0]) for path in paths]
    table = tabulate_fractures(pool, logits)
    state_answers(folder, table)
    write(folder, table, boxes={path.name: one.box for path, one in zip(paths, MIXED, strict=True)})
    return folder


def state_answers(folder: Path, table: FracturePredictions) -> None:
    """Write the answers that follow from the table into the manifest."""
    given = load_bundle(folder).manifest.model_dump(mode="json", exclude_none=True, exclude={"digests", "answers"})
    found = calibrate_answers(table.logit, table.fractured, table.region, dict.fromkeys(("HAND", "LEG"), "any"))
    answers = [
        {"output": "any", "regions": [region], **one.platt._asdict(), **one.points._asdict(), **one.limits._asdict()}
        for region, one in found.items()
    ]
    write_manifest(folder, given | {"answers": answers}, (ONNX,))


def write(folder: Path, table: Any, boxes: dict[str, Any] | None = None) -> None:
    write_predictions(folder / "out_of_fold.csv", table)
    outlined = {name: [box] for name, box in (boxes or {}).items() if box}
    figures = compute_figures(load_bundle(folder), table, outlined)
    for region, found in figures["regions"].items():
        found["served"] = region in {"HAND", "LEG"}
    # What does not follow from the table is named, and no more.
    (folder / "metrics.json").write_text(json.dumps({"figures": {**figures, "shifted": {"auc": 0.5}}}))


def spoil(path: Path, *keys: str, by: float) -> None:
    metrics = json.loads(path.read_text())
    place = metrics["figures"]
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] += by
    path.write_text(json.dumps(metrics))


def add(path: Path, key: str, stated: dict[str, Any]) -> None:
    metrics = json.loads(path.read_text())
    metrics["figures"][key] |= stated
    path.write_text(json.dumps(metrics))


def test_figures_follow_from_the_table(bundle: Path) -> None:
    code, output = run(bundle)
    assert code == 0, output
    assert "numbers of metrics.json computed again from out_of_fold.csv: all as stated" in output
    assert "17 statements of manifest.toml computed again from out_of_fold.csv: all as stated" in output
    assert "not in out_of_fold.csv, so not computed again: grad_cam_peak_in_box, regions … served, shifted" in output


@pytest.mark.parametrize(
    "keys",
    [
        ("all", "auc", "value"),
        ("conformal", "fracture", "value"),
        ("conformal", "regions", "LEG", "both", "high"),
        ("all", "auc", "low"),
        ("regions", "HAND", "fractures"),
        ("all", "uncertain", "high"),
    ],
)
def test_a_figure_that_does_not_follow_from_the_table_is_shown(bundle: Path, keys: tuple[str, ...]) -> None:
    spoil(bundle / "metrics.json", *keys, by=1 if keys[-1] == "fractures" else 0.001)
    code, output = run(bundle)
    assert code == 1
    assert "1 differ" in output
    assert keys[-1] in output


def restate(folder: Path, field: str, value: float, *, of: int = 0) -> None:
    """Set a field of the manifest, the first or a later one of that name."""
    path = folder / "manifest.toml"
    lines = path.read_text().splitlines()
    at = [number for number, line in enumerate(lines) if line.startswith(f"{field} = ")][of]
    lines[at] = f"{field} = {value}"
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("slope", 0.5),
        ("intercept", 3.0),
        ("sensitive", 0.0),
        ("specific", 0.9999),
        ("coverage", 0.99),
        ("fracture_at_least", 0.123),
        ("no_fracture_at_most", 0.001),
    ],
)
def test_an_answer_that_does_not_follow_from_the_table_is_shown(bundle: Path, field: str, value: float) -> None:
    restate(bundle, field, value)
    code, output = run(bundle)
    assert code == 1, output
    assert "17 statements of manifest.toml computed again from out_of_fold.csv: 1 differ" in output
    assert f"manifest, HAND: {field}" in output


def test_a_region_that_is_answered_and_not_said_to_be_is_shown(bundle: Path) -> None:
    path = bundle / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics["figures"]["regions"]["LEG"]["served"] = False
    path.write_text(json.dumps(metrics))
    code, output = run(bundle)
    assert (code, "manifest, regions answered" in output) == (1, True), output


def test_the_answers_of_a_bundle_that_was_calibrated_again_are_not_checked(bundle: Path) -> None:
    path = bundle / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"calibration": {}}))
    restate(bundle, "slope", 0.5)
    code, output = run(bundle)
    assert code == 0, output
    assert "that calibration is not checked" in output


@pytest.fixture(params=["fracture", "region"])
def shipped(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a copy of a shipped bundle's manifest, table, metrics and card."""
    names = ("manifest.toml", "out_of_fold.csv", "metrics.json", "card.md")
    for name in names:
        shutil.copy(BUNDLES / request.param / name, tmp_path / name)
    return tmp_path


def test_manifest_and_card_of_the_shipped_bundles_follow_from_what_they_carry(shipped: Path) -> None:
    bundle = read_bundle(shipped)
    table = read_table(bundle)
    assert table is not None
    compared = compare_manifest(bundle, table)
    assert compared
    assert [one for one in compared if not one.agrees] == []
    assert compare_card(bundle) == []


def test_the_shipped_bundle_serves_the_regions_whose_figures_support_it() -> None:
    regions = json.loads((BUNDLES / "fracture" / "metrics.json").read_text())["figures"]["regions"]
    assert {name: row["served"] for name, row in regions.items()} == {
        name: row["fractures"] >= 10 and row["auc"]["low"] >= 0.6 for name, row in regions.items()
    }


def test_a_figure_changed_on_the_card_is_shown(shipped: Path) -> None:
    path = shipped / "card.md"
    lines = path.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if "expected calibration error | ≤ 0.04" in line)
    lines[at] = lines[at].replace("| 0.0", "| 0.1")
    path.write_text("\n".join(lines) + "\n")
    [one] = compare_card(read_bundle(shipped))
    assert one.name == f"card.md, line {at + 1}"
    assert one.stated == lines[at] != one.found


def test_the_card_of_a_bundle_that_was_calibrated_again_is_compared_with_its_section_on_that(tmp_path: Path) -> None:
    figures = {key: {"value": 0.1, "low": 0.0, "high": 0.2} for key in ("brier_score", "expected_calibration_error")}
    fitted = {"regions": ["HAND"], "fitted": True, "radiographs": 60, "fractures": 30}
    told = {
        "data": {"samples": 60, "folder": "site", "layout": "folders", "digest": "0" * 64},
        "answers": [fitted | {"before": figures, "after": figures}],
    }
    write_calibrated(load_bundle(BUNDLES / "fracture"), tmp_path / "again", {}, told)
    bundle = read_bundle(tmp_path / "again")
    assert compare_card(bundle) == []
    card = tmp_path / "again" / "card.md"
    card.write_text(card.read_text().replace("fitted to 60 radiographs", "fitted to 600 radiographs"))
    [one] = compare_card(bundle)
    assert "fitted to 600 radiographs" in str(one.stated)


def test_a_bracket_on_the_card_is_shown_as_it_stands(bundle: Path) -> None:
    shutil.copy(BUNDLES / "fracture" / "metrics.json", bundle / "metrics.json")
    (bundle / "card.md").write_text("[/red] no style\n")
    code, output = run(bundle)
    assert (code, "[/red] no" in output) == (1, True), output


def test_a_card_is_compared_where_there_is_one(bundle: Path) -> None:
    assert "no card.md: card.md is not checked" in run(bundle)[1]
    (bundle / "card.md").write_text("# A card\n")
    assert "metrics.json says nothing of 'data': card.md is not checked" in run(bundle)[1]
    shutil.copy(BUNDLES / "fracture" / "metrics.json", bundle / "metrics.json")
    code, output = run(bundle)
    assert (code, "card.md, line 1" in output) == (1, True), output


def test_the_shipped_model_answers_what_it_answered_in_training(bundle: Path, pool: Path) -> None:
    code, output = run(bundle, "--data", str(pool), "--sample", "5")
    assert code == 0, output
    assert "5 answers of the shipped model compared: all as stated" in output


def test_the_pointing_game_needs_the_boxes_of_the_pool(bundle: Path, pool: Path) -> None:
    spoil(bundle / "metrics.json", "grad_cam_peak_in_box", "all", "value", by=0.1)
    assert run(bundle)[0] == 0
    code, output = run(bundle, "--data", str(pool))
    assert code == 1
    assert "grad_cam_peak_in_box all value" in output


def test_another_answer_of_the_shipped_model_is_shown(bundle: Path, pool: Path) -> None:
    from models.predictions import read_predictions

    table = read_predictions(bundle / "out_of_fold.csv", FracturePredictions)
    moved = table.final_logit.copy()
    moved[3] += 0.02
    write_predictions(bundle / "out_of_fold.csv", replace(table, final_logit=moved))
    code, output = run(bundle, "--data", str(pool))
    assert code == 1
    assert "16 answers of the shipped model compared: 1 differ" in output
    assert "IMG0000300.png: logit" in output


def test_another_data_set_is_not_taken_for_the_pool(bundle: Path, tmp_path: Path) -> None:
    code, output = run(bundle, "--data", str(write_pool(tmp_path / "other", MIXED[:9])))
    assert code == 1
    assert "7 of 16 radiographs of out_of_fold.csv are not in other" in output


def test_a_region_bundle_is_verified_with_its_scope(tmp_path: Path, pool: Path) -> None:
    folder = build_tiny_bundles(tmp_path / "bundles") / "tiny_region"
    table = RegionPredictions(
        image=sorted(path.name for path in (pool / "images").iterdir()),
        fold=np.zeros(COUNT),
        cluster=np.arange(COUNT),
        region=[drawn.region for drawn in MIXED],
        predicted=["HAND"] * COUNT,
        confidence=np.linspace(0.3, 0.99, COUNT),
        distance=np.linspace(0.1, 1.2, COUNT),
        final_region=["HAND"] * COUNT,
        # softmax of 10 and nine times 0.
        final_confidence=np.full(COUNT, 1 / (1 + 9 * np.exp(-10))),
    )
    restate(folder, "least_confidence", find_least_confidence(table))
    write(folder, table)
    code, output = run(folder, "--data", str(pool))
    assert code == 0, output
    assert "so not computed again: regions … served, shifted, temperature" in output
    add(folder / "metrics.json", "scope", {"outsiders_refused": {"chest": 1.0}, "limbs_refused": 0.01})
    code, output = run(folder)
    assert (code, "scope limbs_refused, scope outsiders_refused, shifted, temp" in output) == (0, True), output
    restate(folder, "least_confidence", 0.25)
    write(folder, table)
    code, output = run(folder)
    assert (code, "manifest, least_confidence" in output) == (1, True), output
    restate(folder, "least_confidence", find_least_confidence(table))
    write(folder, table)
    spoil(folder / "metrics.json", "scope", "refused_of_named_regions", "value", by=0.01)
    assert run(folder)[0] == 1


def test_a_bundle_without_a_table_says_so(tmp_path: Path, pool: Path) -> None:
    folder = build_tiny_bundles(tmp_path / "bundles") / "tiny_fracture"
    code, output = run(folder)
    assert (code, "cannot be computed again" in output) == (0, True)
    code, output = run(folder, "--data", str(pool))
    assert (code, "carries no out_of_fold.csv" in output) == (1, True)
