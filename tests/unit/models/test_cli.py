"""`fracture-models` at the prompt."""

import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from inference.testing import build_tiny_bundles
from models.cli import app

runner = CliRunner()


def test_verify_shows_digests_and_an_answer(tmp_path: Path) -> None:
    bundle = build_tiny_bundles(tmp_path) / "tiny_fracture"
    result = runner.invoke(app, ["verify", str(bundle)])
    assert result.exit_code == 0
    assert "model.onnx" in result.output
    # A grey square of 0.5: -15 + 20 * 0.5.
    assert "any -5.000" in result.output


def test_verify_refuses_a_changed_model(tmp_path: Path) -> None:
    bundle = build_tiny_bundles(tmp_path) / "tiny_fracture"
    path = bundle / "model.onnx"
    path.write_bytes(path.read_bytes() + b"x")
    result = runner.invoke(app, ["verify", str(bundle)])
    assert result.exit_code == 1
    assert "tiny_fracture/model.onnx is not the file the manifest describes" in " ".join(result.output.split())


def test_a_layout_that_does_not_exist_is_not_offered(tmp_path: Path) -> None:
    options = ["--data", str(tmp_path), "--task", "region", "--out", str(tmp_path / "out"), "--layout", "shelves"]
    result = runner.invoke(app, ["train", *options])
    assert result.exit_code == 2
    assert "fracatlas" in result.output


def test_a_folder_that_is_no_data_set_is_refused(tmp_path: Path) -> None:
    result = runner.invoke(app, ["train", "--data", str(tmp_path), "--task", "region", "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "fractures.json is missing" in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()


def test_the_command_line_answers_without_importing_tensorflow() -> None:
    program = "import sys, models.cli; assert not {'tensorflow', 'keras', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
