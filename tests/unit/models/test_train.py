"""`fracture-models train`: what would end in nothing is refused before anything is trained."""

import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from drawn_pool import MIXED, Drawn, write_pool
from typer.testing import CliRunner

from inference.testing import build_tiny_bundles
from inference.types import Task
from models.cli import app
from models.commands.train import EXAMPLES, put_first, weigh_outlines
from models.datasets import load_fracatlas
from models.recipe import ARCHITECTURES, Recipe

BUNDLES = Path(__file__).parents[3] / "models" / "bundles"
runner = CliRunner()


def run(tmp_path: Path, *options: str, task: str = "fracture", data: Path | None = None) -> tuple[int, str]:
    """Train in a folder without data, which is refused after all that is asked for was found possible."""
    data = data or tmp_path
    words = ["train", "--data", str(data), "--task", task, "--store", str(tmp_path / "store"), *options]
    result = runner.invoke(app, words)
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--bundle-version", "v2", "--out", "wrist"), "three numbers, as in 1.0.0"),
        (("--bundle-version", "1.0", "--out", "wrist"), "three numbers, as in 1.0.0"),
        (("--out", "My_Bundle"), "lower case letters"),
        (("--out", "."), "lower case letters"),
    ],
)
def test_a_name_or_version_that_no_bundle_may_have_is_refused_first(
    tmp_path: Path, options: tuple[str, ...], why: str
) -> None:
    code, output = run(tmp_path, *options)
    assert code == 1, output
    assert why in output
    assert "fractures.json" not in output


def test_a_bundle_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    bundle = build_tiny_bundles(tmp_path / "bundles") / "tiny_fracture"
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    code, output = run(tmp_path, "--out", str(bundle))
    assert (code, "holds a bundle already" in output) == (1, True), output
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before


def test_a_closer_look_is_for_fractures_alone(tmp_path: Path) -> None:
    code, output = run(tmp_path, "--second-look", "0.7", "--out", "wrist", task="region")
    assert (code, "--second-look is for a fracture bundle" in output) == (2, True), output


def test_of_several_tasks_the_folder_of_each_is_looked_at(tmp_path: Path) -> None:
    bundles = build_tiny_bundles(tmp_path / "bundles")
    (bundles / "tiny_fracture").rename(bundles / "fracture")
    code, output = run(tmp_path, "--task", "region", "--out", str(bundles))
    assert (code, "holds a bundle already" in output) == (1, True), output


@pytest.mark.parametrize("option", ["--out", "--store"])
def test_a_folder_that_cannot_be_made_is_refused_first(tmp_path: Path, option: str) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    code, output = run(tmp_path, "--out", "wrist", option, str(tmp_path / "file" / "wrist"))
    assert (code, f"{tmp_path / 'file'} is a file" in output) == (1, True), output


@pytest.mark.parametrize("left", [(), ("figures/history.png", "model.onnx")])
def test_what_an_interrupted_run_left_does_not_stand_in_the_way(tmp_path: Path, left: tuple[str, ...]) -> None:
    for name in left:
        path = tmp_path / "wrist" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    code, output = run(tmp_path, "--out", str(tmp_path / "wrist"))
    assert (code, "fractures.json is missing" in output) == (2, True), output


def test_data_are_checked_before_tensorflow_is_imported(tmp_path: Path) -> None:
    program = """
import sys
from typer.testing import CliRunner
from models.cli import app
words = ["train", "--data", sys.argv[1], "--task", "region", "--out", sys.argv[1] + "/out"]
assert CliRunner().invoke(app, words).exit_code == 2
assert not {"tensorflow", "keras", "torch"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60)


def parse(command: str, data: Path) -> dict[str, Any]:
    """Return what the options of a written command come to, defaults included."""
    words = shlex.split(re.sub(r"PATH/\S+", data.as_posix(), command))
    assert words[:2] == ["fracture-models", "train"]
    group = typer.main.get_command(app)
    return group.commands["train"].make_context("train", words[2:]).params  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["fracture", "region"])
def test_the_examples_make_the_shipped_bundles(name: str, tmp_path: Path) -> None:
    """Whatever decides the outcome: neither the version nor weights of losses that are not there."""
    made_by = json.loads((BUNDLES / name / "metrics.json").read_text(encoding="utf-8"))["command"]
    example = re.search(rf"As the shipped {name} bundle was made.*?\n(fracture-models.*?)\n\n", EXAMPLES, re.DOTALL)
    assert example
    shipped, written = parse(made_by, tmp_path), parse(example[1], tmp_path)
    apart = {"bundle_version", "out"}
    if len(shipped["task"]) == 1:
        apart.add("region_weight")
    if written["localisation"] is None:
        assert shipped["localisation"] == (5 if Task.FRACTURE in shipped["task"] else 0)
        apart.add("localisation")
    assert {key: value for key, value in written.items() if key not in apart} == {
        key: value for key, value in shipped.items() if key not in apart
    }


def test_the_help_names_every_architecture() -> None:
    output = runner.invoke(app, ["train", "--help"]).output
    assert all(name in output for name in ARCHITECTURES)


def test_an_architecture_that_there_is_not_is_refused_with_those_there_are(tmp_path: Path) -> None:
    code, output = run(tmp_path, "--model", "resnet18", "--out", str(tmp_path / "wrist"))
    assert (code, "densenet121" in output) == (2, True), output


def test_outlines_are_learned_where_there_are_some_unless_told_otherwise(tmp_path: Path) -> None:
    dataset = load_fracatlas(write_pool(tmp_path / "pool", MIXED[:6]))
    outline = ((0.0, 0.0), (9.0, 0.0), (9.0, 9.0))
    outlined = replace(dataset, samples=(replace(dataset.samples[0], polygons=(outline,)), *dataset.samples[1:]))
    recipe = Recipe(architecture="vgg16", image_size=64, epochs=1, batch_size=1, learning_rate=1)
    recipe = put_first(["64:2"], recipe)
    for given, weight, data, tasks in (
        (None, 5, outlined, [Task.REGION, Task.FRACTURE]),
        (None, 0, outlined, [Task.REGION]),
        (None, 0, dataset, [Task.FRACTURE]),
        (0.0, 0, outlined, [Task.FRACTURE]),
        (2.0, 2, dataset, [Task.FRACTURE]),
    ):
        weighed = weigh_outlines(recipe, given, data, tasks)
        assert weighed.first
        assert (weighed.localisation, weighed.first.localisation) == (weight, weight)


def test_weights_that_have_seen_the_radiographs_are_refused(tmp_path: Path) -> None:
    """No fold could be held out from them."""
    pool = write_pool(tmp_path / "pool", MIXED[:6])
    bundle = tmp_path / "earlier"
    bundle.mkdir()
    (bundle / "model.keras").touch()
    words = ("--weights", str(bundle / "model.keras"), "--model", "vgg16", "--out", str(tmp_path / "wrist"))
    (bundle / "out_of_fold.csv").write_text("image\nIMG0000300.png\nanother.png\n", encoding="utf-8")
    code, output = run(tmp_path, *words, data=pool)
    assert (code, "earlier was trained on 1 of these 6 radiographs" in output) == (1, True), output
    (bundle / "out_of_fold.csv").write_text("image\nanother.png\n", encoding="utf-8")
    assert "was trained on" not in run(tmp_path, *words, data=pool)[1]


def test_a_region_that_nobody_shows_is_not_learned(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed", exc_type=ImportError)
    from models.lessons import name_regions, teach_region
    from models.training import UNKNOWN

    drawn = [Drawn(fractured=False, spot=0.5, region=region) for region in ("LEG", "HAND", "LEG", "OTHER")]
    dataset = load_fracatlas(write_pool(tmp_path / "pool", drawn))
    assert name_regions(dataset) == ("HAND", "LEG")
    assert teach_region(dataset).targets.tolist() == [[0, 1], [1, 0], [0, 1], [UNKNOWN, UNKNOWN]]


def test_of_a_fracture_that_nobody_outlined_no_cell_is_taught() -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed", exc_type=ImportError)
    from models.training import UNKNOWN, _spread

    cover = np.zeros((4, 2, 2), np.float32)
    cover[0, 0, 1] = 0.5
    targets = _spread(np.array([[1], [1], [0], [UNKNOWN]], np.float32), cover)[..., 0]
    assert targets[0].tolist() == [[0, 0.5], [0, 0]]
    assert (targets[1] == UNKNOWN).all()
    assert (targets[2] == 0).all()
    assert (targets[3] == UNKNOWN).all()
