"""Splits that do not leak, and files that are left out by name."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.datasets import BLOCK, DatasetError, Sample, assign_folds, load_fracatlas

COLUMNS = ("image", "region", "fractured", "duplicate_group", "truncated")


def build_pool(folder: Path, rows: list[tuple[str, str, int, str, int]]) -> Path:
    """Write a pool of small grey radiographs in the FracAtlas layout."""
    (folder / "images").mkdir()
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    outline = [{"box": [1, 2, 3, 4], "polygons": [[1, 2, 4, 2, 4, 6]]}]
    (folder / "fractures.json").write_text(json.dumps({row[0]: outline for row in rows if row[2]}), encoding="utf-8")
    for row in rows:
        Image.fromarray(np.full((40, 30), 90, np.uint8)).save(folder / "images" / row[0], quality=90)
    return folder


def test_labels_outlines_and_groups_are_read(tmp_path: Path) -> None:
    rows = [("IMG0000001.jpg", "HAND", 1, "", 0), ("IMG0000025.jpg", "KNEE", 0, "", 0)]
    hand, knee = load_fracatlas(build_pool(tmp_path, rows)).samples
    assert (hand.region, hand.fractured, hand.number) == ("HAND", True, 1)
    assert hand.polygons == (((1, 2), (4, 2), (4, 6)),)
    assert hand.boxes == ((1, 2, 3, 4),)
    assert (knee.fractured, knee.polygons) == (False, ())
    assert hand.group != knee.group


def test_broken_and_truncated_files_are_named_and_left_out(tmp_path: Path) -> None:
    names = [f"IMG000000{digit}.jpg" for digit in range(5)]
    build_pool(tmp_path, [(name, "HAND", 0, "", int(name == names[1])) for name in names])
    broken, empty, missing = (tmp_path / "images" / name for name in names[2:])
    broken.write_bytes(broken.read_bytes()[:-200])
    empty.write_bytes(b"")
    missing.unlink()
    dataset = load_fracatlas(tmp_path)
    assert [sample.path.name for sample in dataset.samples] == [names[0]]
    assert set(dataset.left_out) == set(names[1:])
    assert dataset.left_out[names[1]] == "published file ends early"
    assert dataset.left_out[names[2]].startswith("unreadable")
    assert dataset.left_out[names[4]] == "missing"


def test_twins_with_both_labels_are_marked(tmp_path: Path) -> None:
    rows = [
        ("IMG0000001.jpg", "HAND", 1, "twin", 0),
        ("IMG0000090.jpg", "HAND", 0, "twin", 0),
        ("IMG0000091.jpg", "HAND", 0, "", 0),
    ]
    assert [sample.contradicted for sample in load_fracatlas(build_pool(tmp_path, rows)).samples] == [True, True, False]


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"fractures\.json is missing"):
        load_fracatlas(tmp_path)


def build_samples(count: int, *, seed: int) -> list[Sample]:
    rng = np.random.default_rng(seed)
    twins = {int(number): f"twin{number % 12}" for number in rng.choice(count, 36, replace=False)}
    regions = ("HAND", "KNEE", "HIP")
    return [
        Sample(
            path=Path(f"{number}.jpg"),
            number=number,
            region=regions[int(rng.integers(3))],
            fractured=bool(rng.random() < 0.2),
            group=twins.get(number, f"single{number}"),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_no_fold_separates_a_group_or_a_block_of_numbers(seed: int) -> None:
    samples = build_samples(2000, seed=seed)
    folds = assign_folds(samples, folds=5, seed=seed)
    assert set(folds) == set(range(5))
    for key in (lambda s: s.group, lambda s: s.number // BLOCK):
        seen: dict[object, set[int]] = {}
        for sample, fold in zip(samples, folds, strict=True):
            seen.setdefault(key(sample), set()).add(int(fold))
        assert all(len(places) == 1 for places in seen.values())


def test_folds_hold_about_as_many_fractures_each() -> None:
    samples = build_samples(3000, seed=7)
    folds = assign_folds(samples, folds=5, seed=7)
    counts = [sum(s.fractured for s, fold in zip(samples, folds, strict=True) if fold == k) for k in range(5)]
    assert min(counts) > 0.6 * max(counts)
