"""`fracture-models train`: what would end in nothing is refused before anything is trained."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inference.testing import build_tiny_bundles
from models.cli import app

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


def test_of_several_tasks_the_folder_of_each_is_looked_at(tmp_path: Path) -> None:
    bundles = build_tiny_bundles(tmp_path / "bundles")
    (bundles / "tiny_fracture").rename(bundles / "fracture")
    code, output = run(tmp_path, "--task", "region", "--out", str(bundles))
    assert (code, "holds a bundle already" in output) == (1, True), output


def test_a_folder_that_cannot_be_made_is_refused_first(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    code, output = run(tmp_path, "--out", str(tmp_path / "file" / "wrist"))
    assert (code, "or is a file" in output) == (1, True), output


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
