"""`fracture-models verify`: what a bundle states is computed again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_pool import MIXED, write_pool
from typer.testing import CliRunner

from inference.bundle import load_bundle
from inference.model import Model
from inference.testing import build_tiny_bundles
from inference.types import Radiograph
from models.cli import app
from models.datasets import read_unit_pixels
from models.predictions import FracturePredictions, RegionPredictions, write_predictions
from models.verification import compute_figures

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
    write(
        folder,
        tabulate_fractures(pool, logits),
        boxes={path.name: one.box for path, one in zip(paths, MIXED, strict=True)},
    )
    return folder


def write(folder: Path, table: Any, boxes: dict[str, Any] | None = None) -> None:
    write_predictions(folder / "out_of_fold.csv", table)
    outlined = {name: [box] for name, box in (boxes or {}).items() if box}
    figures = compute_figures(load_bundle(folder), table, outlined)
    # What a bundle states beside what follows from the table is none of this command's business.
    (folder / "metrics.json").write_text(json.dumps({"figures": {**figures, "shifted": {"auc": 0.5}}}))


def spoil(path: Path, *keys: str, by: float) -> None:
    metrics = json.loads(path.read_text())
    place = metrics["figures"]
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] += by
    path.write_text(json.dumps(metrics))


def test_figures_follow_from_the_table(bundle: Path) -> None:
    code, output = run(bundle)
    assert code == 0, output
    assert "computed again from out_of_fold.csv: all as stated" in output
    assert "not in out_of_fold.csv, so not computed again: grad_cam_peak_in_box, shifted" in output


@pytest.mark.parametrize(
    "keys",
    [
        ("all", "auc", "value"),
        ("conformal", "fracture"),
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
    write(folder, table)
    code, output = run(folder, "--data", str(pool))
    assert code == 0, output
    spoil(folder / "metrics.json", "scope", "refused_of_named_regions", by=0.01)
    assert run(folder)[0] == 1


def test_a_bundle_without_a_table_says_so(tmp_path: Path, pool: Path) -> None:
    folder = build_tiny_bundles(tmp_path / "bundles") / "tiny_fracture"
    code, output = run(folder)
    assert (code, "cannot be computed again" in output) == (0, True)
    code, output = run(folder, "--data", str(pool))
    assert (code, "carries no out_of_fold.csv" in output) == (1, True)
