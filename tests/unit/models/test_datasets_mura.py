"""MURA v1.1 as published, drawn."""

from pathlib import Path

import pytest
from drawn_limbs import draw_limb, write_limb
from PIL import Image

from inference.types import Task
from models.datasets import DatasetError, assign_folds, inseparable_units, load_mura, official_parts

STUDIES = (
    ("train", "XR_ELBOW", "patient00011", "study1_negative", 2),
    ("train", "XR_FINGER", "patient00012", "study1_positive", 2),
    ("train", "XR_WRIST", "patient00012", "study2_negative", 1),
    ("train", "XR_HUMERUS", "patient00013", "study1_positive", 3),
    ("valid", "XR_FOREARM", "patient11185", "study1_positive", 1),
    ("valid", "XR_HAND", "patient11186", "study1_negative", 1),
    ("valid", "XR_SHOULDER", "patient11187", "study1_negative", 1),
)


def build_mura(folder: Path) -> Path:
    """Write the studies with their images, and what else the archive holds; return the folder above."""
    root = folder / "MURA-v1.1"
    number = 0
    for *place, count in STUDIES:
        for image in range(1, count + 1):
            number += 1
            write_limb(root.joinpath(*place, f"image{image}.png"), number)
    (root / "train_image_paths.csv").write_text("MURA-v1.1/train/XR_ELBOW/…\n", encoding="utf-8")
    fork = root / "train/XR_FINGER/patient00012/study1_positive/._image1.png"
    fork.write_bytes(b"\x00\x05\x16\x07")
    return folder


@pytest.mark.parametrize("above", [False, True])
def test_each_image_has_its_studys_label_region_patient_and_part(tmp_path: Path, above: bool) -> None:
    build_mura(tmp_path)
    dataset = load_mura(tmp_path if above else tmp_path / "MURA-v1.1")
    assert len(dataset.samples) == 11
    assert not dataset.left_out
    found = {(s.region, s.fractured, s.label, s.patient, s.split) for s in dataset.samples}
    assert found == {
        ("ELBOW", False, "negative", "patient00011", "train"),
        ("HAND", True, "positive", "patient00012", "train"),
        ("HAND", False, "negative", "patient00012", "train"),
        ("HUMERUS", True, "positive", "patient00013", "train"),
        ("FOREARM", True, "positive", "patient11185", "validation"),
        ("HAND", False, "negative", "patient11186", "validation"),
        ("SHOULDER", False, "negative", "patient11187", "validation"),
    }
    assert len({sample.number for sample in dataset.samples}) == 11


def test_the_command_says_that_abnormal_is_not_only_fractured(tmp_path: Path) -> None:
    remarks = load_mura(build_mura(tmp_path), Task.FRACTURE).remarks()
    assert "abnormal is not only fractured" in remarks[0]
    assert remarks[-1] == "official split: 8 train, 3 validation"


def test_a_patient_is_never_split_though_numbers_mean_nothing(tmp_path: Path) -> None:
    dataset = load_mura(build_mura(tmp_path))
    units = inseparable_units(dataset.samples)
    assert len(set(units.tolist())) == len({sample.patient for sample in dataset.samples}) == 6
    folds = assign_folds(dataset.samples, folds=2, seed=1)
    places = {(sample.patient, int(fold)) for sample, fold in zip(dataset.samples, folds, strict=True)}
    assert len(places) == 6


def test_studies_of_one_patient_may_differ_without_contradiction(tmp_path: Path) -> None:
    assert not any(sample.contradicted for sample in load_mura(build_mura(tmp_path)).samples)


def test_a_copy_in_the_other_part_is_told_and_kept_out_of_training(tmp_path: Path) -> None:
    root = build_mura(tmp_path) / "MURA-v1.1"
    copied = root / "valid/XR_HAND/patient11186/study1_negative/image1.png"
    Image.fromarray(draw_limb(3)[:, ::-1]).save(copied)  # the finger of patient00012, positive
    dataset = load_mura(tmp_path)
    first = "train/XR_FINGER/patient00012/study1_positive/image1.png"
    assert dataset.found == ((first, copied.relative_to(root).as_posix()),)
    assert sum(sample.contradicted for sample in dataset.samples) == 2
    training = official_parts(dataset.samples)["train"]
    assert "patient00012" not in {dataset.samples[row].patient for row in training}
    assert dataset.remarks()[-1].endswith("1 of train show a radiograph that is also held out")


def test_a_broken_image_is_named_by_its_way(tmp_path: Path) -> None:
    root = build_mura(tmp_path) / "MURA-v1.1"
    name = "train/XR_ELBOW/patient00011/study1_negative/image2.png"
    (root / name).write_bytes((root / name).read_bytes()[:500])
    dataset = load_mura(tmp_path)
    assert dataset.left_out == {name: "unreadable: OSError"}
    assert len(dataset.samples) == 10


def test_another_folder_and_another_task_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="study"):
        load_mura(tmp_path)
    with pytest.raises(DatasetError, match="type of a fracture"):
        load_mura(build_mura(tmp_path), Task.TYPE)
