"""A bundle made from one part of an official split knows that part again, and only that part."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from inference.types import Task
from models.datasets import Dataset, load_folders, official_parts
from models.pool import describe, name_images, warn_of_seen
from tests.drawn_fractures import write_drawn_fractures


@pytest.fixture
def whole(tmp_path: Path) -> Dataset:
    """Two parts whose files are called alike, class by class."""
    for seed, part in enumerate(("train", "test")):
        write_drawn_fractures(tmp_path / "data" / part, each=2, seed=seed)
    return load_folders(tmp_path / "data", Task.TYPE)


def take(whole: Dataset, part: str) -> Dataset:
    return replace(whole, samples=tuple(whole.samples[row] for row in official_parts(whole.samples)[part]))


@pytest.fixture
def bundle(whole: Dataset, tmp_path: Path) -> Path:
    """What tells of the training part in the bundle made from it."""
    train = take(whole, "train")
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps({"data": describe(train)}), encoding="utf-8")
    (folder / "out_of_fold.csv").write_text("\n".join(["image", *name_images(train.samples)]), encoding="utf-8")
    return folder


def test_the_part_that_was_held_out_was_not_seen(bundle: Path, whole: Dataset) -> None:
    assert warn_of_seen(bundle, take(whole, "test")) == ""


def test_the_part_that_was_learned_from_is_known_again_alone_and_in_the_whole(bundle: Path, whole: Dataset) -> None:
    assert "trained on these very radiographs" in warn_of_seen(bundle, take(whole, "train"))
    assert "trained on 8 of these 16 radiographs" in warn_of_seen(bundle, whole)
    assert set(name_images(take(whole, "train").samples)) < set(name_images(whole.samples))
