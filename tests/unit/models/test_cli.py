"""`fracture-models` at the prompt."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from drawn_limbs import write_limb
from drawn_pool import write_pool
from typer.testing import CliRunner

from inference.testing import build_tiny_bundles
from inference.types import Task
from models.cli import app
from models.commands.data import UNTOLD, Layout, load_data, take_part, take_training_part
from models.datasets import inseparable_units
from models.pool import describe

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
    output = " ".join(result.output.split())
    assert "read as layout fracatlas: " in output
    assert "fractures.json is missing; see --layout" in output
    assert not (tmp_path / "out").exists()


def test_the_command_line_answers_without_importing_tensorflow() -> None:
    program = "import sys, models.cli; assert not {'tensorflow', 'keras', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_training_leaves_the_held_out_parts_of_an_official_split_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, place in enumerate(("train/fractured", "train/normal", "test/fractured", "test/normal")):
        write_limb(tmp_path / place / f"{number}.png", number)
    dataset = load_data(Layout("folders"), tmp_path, Task.FRACTURE)
    assert {sample.split for sample in take_training_part(dataset).samples} == {"train"}
    assert "learning from the 2 radiographs" in " ".join(capsys.readouterr().out.split())
    assert [sample.split for sample in take_part(dataset, "test").samples] == ["test", "test"]
    with pytest.raises(typer.Exit):
        take_part(dataset, "validation")


def write_visits(folder: Path) -> Path:
    for number, name in enumerate(("fractured/P1_a.png", "normal/P1_b.png", "fractured/P2_a.png", "normal/P3_a.png")):
        write_limb(folder / name, number)
    return folder


def test_the_patient_in_the_paths_ties_radiographs_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = load_data(Layout("folders"), write_visits(tmp_path), patient_from=r"/(P\d+)_")
    assert [sample.patient for sample in dataset.samples] == ["P1", "P2", "P1", "P3"]
    first, second, third, fourth = inseparable_units(dataset.samples).tolist()
    assert first == third
    assert len({first, second, fourth}) == 3
    output = " ".join(capsys.readouterr().out.split())
    assert "3 patients" in output
    assert UNTOLD not in output
    assert describe(dataset)["tells_patients"] is True


def test_without_anything_that_tells_patients_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = load_data(Layout("folders"), write_visits(tmp_path))
    assert f"{UNTOLD}; --patient-from can tell" in " ".join(capsys.readouterr().out.split())
    assert describe(dataset)["tells_patients"] is False


@pytest.mark.parametrize(
    ("expression", "why"),
    [("(P", "unterminated"), (r"P\d", "no group"), (r"(P\d_a)", "finds none in 1 of 4 paths, as normal/P1_b.png")],
)
def test_an_expression_that_does_not_find_every_patient_is_refused(tmp_path: Path, expression: str, why: str) -> None:
    with pytest.raises(typer.BadParameter, match=why):
        load_data(Layout("folders"), write_visits(tmp_path), patient_from=expression)


def test_patients_that_a_data_set_tells_are_not_told_again(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="this one does"):
        load_data(Layout("fracatlas"), write_pool(tmp_path / "pool"), patient_from="IMG(.)")
