"""A folder per class, with or without an official split."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from drawn_limbs import write_limb

from inference.types import Task
from models.datasets import DatasetError, load_folders


def build_folders(folder: Path, names: Iterable[str], *, each: int = 2, suffix: str = ".png") -> Path:
    """Write limbs, no two alike, to each of the folders."""
    number = 0
    for name in names:
        for _ in range(each):
            number += 1
            write_limb(folder / name / f"{number}{suffix}", number)
    return folder


def test_classes_are_types_of_fracture_by_whatever_name(tmp_path: Path) -> None:
    dataset = load_folders(build_folders(tmp_path, ["Avulsion fracture", "spiral"]), Task.TYPE)
    assert [sample.label for sample in dataset.samples] == ["Avulsion fracture"] * 2 + ["spiral"] * 2
    assert {(s.region, s.fractured, s.split, s.numbered) for s in dataset.samples} == {("", None, "", False)}
    assert len({sample.group for sample in dataset.samples}) == 4


@pytest.mark.parametrize(
    ("positive", "negative"),
    [
        ("fractured", "not fractured"),
        ("Fractured", "Non_fractured"),
        ("fracture", "No-Fracture"),
        ("POSITIVE", "negative"),
        ("abnormal", "normal"),
        ("1", "0"),
    ],
)
def test_two_classes_that_say_so_are_fractured_and_not(tmp_path: Path, positive: str, negative: str) -> None:
    build_folders(tmp_path, [positive, negative])
    for task in (Task.FRACTURE, None):
        found = {sample.label: sample.fractured for sample in load_folders(tmp_path, task).samples}
        assert found == {positive: True, negative: False}


def test_classes_are_regions_however_they_are_spelled(tmp_path: Path) -> None:
    build_folders(tmp_path, ["hand", "Ankle Foot", "ELBOW", "other"])
    for task in (Task.REGION, None):
        found = {sample.label: sample.region for sample in load_folders(tmp_path, task).samples}
        assert found == {"hand": "HAND", "Ankle Foot": "ANKLE_FOOT", "ELBOW": "ELBOW", "other": "OTHER"}


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    "parts",
    [
        {"Train": "train", "val": "validation", "testing": "test"},
        {"training_set": "train", "Validation Set": "validation", "test-set": "test"},
    ],
)
def test_parts_of_a_split_are_known_around_the_classes_and_in_them(
    tmp_path: Path, inside: bool, parts: dict[str, str]
) -> None:
    ways = [(name, part) for part in parts for name in ("normal", "fractured")]
    build_folders(tmp_path, [f"{name}/{part}" if inside else f"{part}/{name}" for name, part in ways])
    samples = load_folders(tmp_path, Task.FRACTURE).samples
    assert len(samples) == 12
    for sample in samples:
        name, part = (sample.path.parts[-3:-1]) if inside else (sample.path.parts[-2], sample.path.parts[-3])
        assert (sample.label, sample.split) == (name, parts[part])


def test_a_class_spelled_in_two_ways_is_one_class(tmp_path: Path) -> None:
    build_folders(tmp_path, ["test/Oblique", "test/spiral", "train/oblique", "train/Spiral"])
    assert {sample.label for sample in load_folders(tmp_path, Task.TYPE).samples} == {"Oblique", "spiral"}


def test_folders_below_a_class_belong_to_it(tmp_path: Path) -> None:
    build_folders(tmp_path, ["fractured/wrist/left", "normal/wrist"])
    assert {sample.label for sample in load_folders(tmp_path).samples} == {"fractured", "normal"}


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".tif", ".TIFF", ".bmp"])
def test_every_kind_of_image_is_read_and_other_files_are_not(tmp_path: Path, suffix: str) -> None:
    build_folders(tmp_path, ["spiral", "oblique"], suffix=suffix)
    (tmp_path / "spiral" / "readme.txt").write_text("no image", encoding="utf-8")
    (tmp_path / "spiral" / "._1.png").write_bytes(b"\x00\x05\x16\x07")
    dataset = load_folders(tmp_path)
    assert len(dataset.samples) == 4
    assert not dataset.left_out


def test_broken_images_and_images_in_no_class_are_named_and_left_out(tmp_path: Path) -> None:
    build_folders(tmp_path, ["spiral", "oblique"])
    (tmp_path / "spiral" / "broken.png").write_bytes(b"broken")
    write_limb(tmp_path / "overview.png", 99)
    assert load_folders(tmp_path).left_out == {
        "overview.png": "in no class",
        "spiral/broken.png": "unreadable: UnidentifiedImageError",
    }


def test_a_radiograph_in_two_classes_is_contradicted(tmp_path: Path) -> None:
    build_folders(tmp_path, ["spiral", "oblique"])
    write_limb(tmp_path / "oblique" / "again.jpg", 1)
    dataset = load_folders(tmp_path)
    assert dataset.found == (("oblique/again.jpg", "spiral/1.png"),)
    assert {s.path.name for s in dataset.samples if s.contradicted} == {"again.jpg", "1.png"}


@pytest.mark.parametrize(
    ("names", "task", "message"),
    [
        ([], Task.TYPE, "found: none"),
        (["spiral"], Task.TYPE, "found: spiral"),
        (["train/spiral", "test/Spiral"], Task.TYPE, "found: Spiral"),
        (["fractured", "healthy"], Task.FRACTURE, "found: fractured, healthy"),
        (["normal", "negative"], Task.FRACTURE, "found: negative, normal"),
        (["hand", "skull", "chest"], Task.REGION, "chest, skull is none of HAND"),
    ],
)
def test_classes_that_do_not_say_what_is_asked_are_refused_by_name(
    tmp_path: Path, names: list[str], task: Task, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        load_folders(build_folders(tmp_path, names), task)


def test_classes_that_are_links_to_folders_elsewhere_are_read_and_a_link_back_ends(tmp_path: Path) -> None:
    build_folders(tmp_path / "elsewhere", ["spiral"])
    build_folders(tmp_path / "data", ["avulsion", "oblique"])
    (tmp_path / "data" / "spiral").symlink_to(tmp_path / "elsewhere" / "spiral")
    (tmp_path / "data" / "oblique" / "again").symlink_to(tmp_path / "data")
    labels = [sample.label for sample in load_folders(tmp_path / "data", Task.TYPE).samples]
    assert labels == ["avulsion"] * 2 + ["oblique"] * 2 + ["spiral"] * 2
