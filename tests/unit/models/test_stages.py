"""Training in stages: every fold goes on from what it learned on smaller squares, and from nothing else."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from inference.types import Task
from models.cli import app
from models.commands.train import put_first
from models.datasets import Sample
from models.recipe import Progress, Recipe
from models.variations import schedule

pytestmark = [
    pytest.mark.tensorflow,
    # Keras and TensorFlow warn about each other's internals; nothing here can mend that.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
pytest.importorskip("tensorflow", reason="TensorFlow is not installed", exc_type=ImportError)

RECIPE = Recipe(
    architecture="custom_cnn",
    weights="random",
    image_size=96,
    epochs=1,
    batch_size=2,
    learning_rate=1e-3,
)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, list[int], float]]:
    """Note the side, the samples and a weight at the start of each training; a training adds 1 to that weight."""
    from models import protocol

    noted: list[tuple[int, list[int], float]] = []

    def fit(
        top: Any, _features: Any, _lessons: Any, chosen: Any, _recipe: Recipe, *, state: Path, progress: Progress
    ) -> Any:
        assert progress is not None
        layer = next(layer for layer in top.layers if layer.weights)
        first, *others = layer.get_weights()
        noted.append((top.input.shape[1], np.flatnonzero(chosen).tolist(), float(first.flat[0])))
        layer.set_weights([np.full_like(first, np.rint(first.flat[0]) + 1), *others])
        return [{"epoch": 1, "loss": float(len(noted)), "state": state.name}]

    monkeypatch.setattr(protocol, "fit", fit)
    # The features of radiographs that do not exist.
    monkeypatch.setattr(protocol.Experiment, "_features", None)
    return noted


def _experiment(store: Path, recipe: Recipe) -> Any:
    from models.protocol import Experiment
    from models.training import Lesson

    samples = [Sample(path=Path(f"{n}.png"), number=n, region="HAND", fractured=n > 1, group=str(n)) for n in range(4)]
    lesson = Lesson(task=Task.TYPE, targets=np.eye(2, dtype=np.float32)[np.arange(4) % 2])
    return Experiment(samples, [lesson], recipe, progress=lambda rows, _: iter(rows), store=store)


def test_each_stage_goes_on_from_the_weights_of_the_one_before_on_the_same_samples(
    tmp_path: Path, runs: list[tuple[int, list[int], float]]
) -> None:
    experiment = _experiment(tmp_path, put_first(["64:1", "80:1"], RECIPE))
    chosen = np.array([True, False, True, True])
    experiment.train(chosen, name="fold0", fold=0)
    assert [(side, rows) for side, rows, _ in runs] == [(64, [0, 2, 3]), (80, [0, 2, 3]), (96, [0, 2, 3])]
    assert [round(weight) for _, _, weight in runs] == [0, 1, 2]
    assert [epoch["epoch"] for epoch in experiment.read_history("fold0")] == [1, 2, 3]


def test_a_finished_stage_is_not_trained_again(tmp_path: Path, runs: list[tuple[int, list[int], float]]) -> None:
    _experiment(tmp_path, replace(RECIPE, image_size=64)).train(np.ones(4, bool))
    _experiment(tmp_path, put_first(["64:1"], RECIPE)).train(np.ones(4, bool))
    assert [side for side, _, _ in runs] == [64, 96]


def test_without_a_stage_before_it_training_starts_from_the_weights_that_the_recipe_names(
    tmp_path: Path, runs: list[tuple[int, list[int], float]]
) -> None:
    _experiment(tmp_path, RECIPE).train(np.ones(4, bool))
    assert [(side, round(weight)) for side, _, weight in runs] == [(96, 0)]


def test_a_last_stage_without_epochs_only_reads_larger_squares(
    tmp_path: Path, runs: list[tuple[int, list[int], float]]
) -> None:
    recipe = put_first(["64:1"], replace(RECIPE, epochs=0))
    experiment = _experiment(tmp_path, recipe)
    network = experiment.train(np.ones(4, bool), name="fold0", fold=0)
    assert [side for side, _, _ in runs] == [64]
    model = network.models[Task.TYPE]
    assert model.input.shape[1] == 96
    first = next(layer for layer in model.layers if layer.weights)
    assert np.all(first.get_weights()[0] == 1), "what was learned on the smaller squares"
    assert [epoch["epoch"] for epoch in experiment.read_history("fold0")] == [1]
    assert schedule(experiment.samples, recipe).size == 0


def test_no_epochs_and_nothing_before_is_refused(tmp_path: Path) -> None:
    options = ["--data", str(tmp_path), "--task", "region", "--out", str(tmp_path / "out"), "--epochs", "0"]
    result = CliRunner().invoke(app, ["train", *options])
    assert result.exit_code == 2
    assert "it needs a stage before it" in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize("stage", ["320", "320:", "32:4", "320:0", "wide:4", "320:four"])
def test_a_stage_that_cannot_be_read_is_refused(tmp_path: Path, stage: str) -> None:
    options = ["--data", str(tmp_path), "--task", "region", "--out", str(tmp_path / "out"), "--first", stage]
    result = CliRunner().invoke(app, ["train", *options])
    assert result.exit_code == 2
    assert "write the side of the square and the epochs" in " ".join(result.output.replace("│", " ").split())


def test_wide_kernels_are_trained_apart_and_what_was_trained_without_them_keeps_its_place(tmp_path: Path) -> None:
    from models.protocol import name_training

    samples = _experiment(tmp_path, RECIPE).samples
    without, with_them = (name_training(samples, [], replace(RECIPE, wide_kernels=wide)) for wide in (False, True))
    assert without != with_them
    assert "wide_kernels" not in repr(RECIPE), "the name of a training rests on this text"
