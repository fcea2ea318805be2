"""What was computed from other inputs is not found again: the folder that keeps it has another name."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.datasets import Sample, load_fracatlas
from models.inputs import name_inputs
from models.recipe import Recipe
from tests.drawn_pool import write_pool

FOLDS = np.arange(16) % 2


def _give_new_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def _relabel(samples: list[Sample]) -> None:
    samples[7] = replace(samples[7], fractured=not samples[7].fractured)


def _move_outline(samples: list[Sample]) -> None:
    samples[0] = replace(samples[0], polygons=(((0.0, 0.0), (9.0, 0.0), (9.0, 9.0)),))


@pytest.fixture
def name(tmp_path: Path) -> Callable[..., str]:
    """Name the inputs of a pool and of a weights file, after a change to its samples and to its folds."""
    folder = write_pool(tmp_path / "pool")
    (tmp_path / "given.keras").write_bytes(b"weights")

    def _name(change: Callable[[list[Sample]], None] | None = None, folds: np.ndarray = FOLDS) -> str:
        samples = list(load_fracatlas(folder).samples)
        if change is not None:
            change(samples)
        weights = str(tmp_path / "given.keras")
        recipe = Recipe(
            architecture="custom_cnn", image_size=64, weights=weights, epochs=1, batch_size=4, learning_rate=1e-3
        )
        return name_inputs(samples, recipe, folds[: len(samples)])

    return _name


def test_the_same_inputs_bear_the_same_name(name: Callable[..., str]) -> None:
    assert name() == name()


@pytest.mark.parametrize("change", [_relabel, _move_outline])
def test_a_label_or_an_outline_that_changed_gives_another_name(
    name: Callable[..., str], change: Callable[[list[Sample]], None]
) -> None:
    assert name(change) != name()


def test_other_folds_give_another_name(name: Callable[..., str]) -> None:
    assert name(folds=np.arange(16) % 3) != name()


@pytest.mark.parametrize("file", ["pool/images/IMG0000700.png", "given.keras"])
def test_other_bytes_under_the_same_path_give_another_name(name: Callable[..., str], tmp_path: Path, file: str) -> None:
    before = name()
    _give_new_bytes(tmp_path / file)
    assert name() != before
