"""A fracture bundle from each layout of data, by the command, to the pipeline that serves it."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_limbs import draw_limb
from PIL import Image
from typer.testing import CliRunner

from inference.bundle import load_bundle
from models.cli import app

pytestmark = [
    pytest.mark.tensorflow,
    # Keras and TensorFlow warn about each other's internals; nothing here can mend that.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
pytest.importorskip("tensorflow", reason="TensorFlow is not installed", exc_type=ImportError)

SIDE = 48


@pytest.fixture(autouse=True)
def _claim_whatever_was_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch teaches nothing, and these tests are of the layouts: regions are served that have enough fractures."""
    monkeypatch.setattr("models.claims.CLAIM_AUC", 0.0)


def draw_plate(number: int, *, fractured: bool) -> tuple[np.ndarray, tuple[int, int]]:
    """Draw a limb, and a chequered square for its fracture: pixels, and its left and top."""
    limb = draw_limb(number, rows=96, columns=96)
    left, top = (int(value) for value in np.random.default_rng(number).integers(8, 40, 2))
    if fractured:
        limb[top : top + SIDE, left : left + SIDE] = 255 * (np.indices((SIDE, SIDE)).sum(axis=0) // 8 % 2)
    return limb, (left, top)


def write_plate(path: Path, number: int, *, fractured: bool) -> tuple[int, int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels, corner = draw_plate(number, fractured=fractured)
    Image.fromarray(pixels).save(path)
    return corner


def train(data: Path, layout: str, out: Path, **options: Any) -> tuple[int, str]:
    chosen = {
        "layout": layout,
        "data": data,
        "task": "fracture",
        "model": "custom_cnn",
        "weights": "random",
        "image-size": 64,
        "epochs": 1,
        "batch-size": 8,
        "learning-rate": 1e-3,
        "close-ups": 0,
        "folds": 2,
        "out": out / "bundles" / "drawn",
        "store": out / "store",
        **options,
    }
    words = [word for name, value in chosen.items() for word in (f"--{name}", str(value))]
    result = CliRunner().invoke(app, ["train", *words])
    return result.exit_code, " ".join(result.output.split())


def list_served(out: Path) -> set[str]:
    manifest = load_bundle(out / "bundles" / "drawn").manifest
    return {region for answer in manifest.answers for region in answer.regions}


def read_figures(out: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((out / "bundles" / "drawn" / "metrics.json").read_text(encoding="utf-8"))
    return metrics


def write_folders(folder: Path, parts: dict[str, int]) -> Path:
    """Write so many radiographs in each part, every other one fractured; a part without a name is the folder itself."""
    number = 0
    for part, count in parts.items():
        for _ in range(count):
            number += 1
            fractured = number % 2 == 0
            write_plate(
                folder / part / ("fractured" if fractured else "normal") / f"{number}.png", number, fractured=fractured
            )
    return folder


def test_folders_that_name_no_region_make_a_bundle_for_the_region_told(tmp_path: Path) -> None:
    data = write_folders(tmp_path / "wrists", {"": 48})
    code, output = train(data, "folders", tmp_path, region="FOREARM")
    assert code == 0, output
    assert list_served(tmp_path) == {"FOREARM"}
    assert load_bundle(tmp_path / "bundles" / "drawn").manifest.second_look is None
    metrics = read_figures(tmp_path)
    assert metrics["figures"]["all"]["radiographs"] == 48
    assert "--region FOREARM" in metrics["command"]
    card = (tmp_path / "bundles" / "drawn" / "card.md").read_text(encoding="utf-8")
    assert "No fracture is outlined in this data set" in card
    assert "each file is taken for a patient of its own" in output
    assert "each file was taken for a patient of its own" in card
    assert "| HAND | 0 | 0 | - | - | - | no |" in card


def test_of_folders_with_parts_only_the_training_part_is_learned(tmp_path: Path) -> None:
    data = write_folders(tmp_path / "wrists", {"train": 44, "validation": 6, "test": 6})
    code, output = train(data, "folders", tmp_path, region="HAND", **{"patient-from": "(\\d+)[.]png"})
    assert code == 0, output
    assert "--patient-from '(\\d+)[.]png'" in read_figures(tmp_path)["command"]
    assert "patient of its own" not in (tmp_path / "bundles" / "drawn" / "card.md").read_text(encoding="utf-8")
    assert "learning from the 44 radiographs of the official part 'train' alone" in output
    assert read_figures(tmp_path)["data"]["samples"] == 44
    assert list_served(tmp_path) == {"HAND"}


def test_mura_as_published_makes_a_bundle_for_the_regions_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As with MURA's thousands: each of its regions has an output of its own, and the others have no radiograph.
    monkeypatch.setattr("models.fracture_outputs.OWN_FROM", 10)
    places = ("XR_ELBOW", "XR_FINGER", "XR_FOREARM", "XR_HUMERUS", "XR_SHOULDER")
    number = 0
    for place in places:
        for patient in range(24):
            number += 1
            study = f"study1_{'positive' if patient % 2 else 'negative'}"
            path = tmp_path / "MURA-v1.1" / "train" / place / f"patient{number:05}" / study / "image1.png"
            write_plate(path, number, fractured=bool(patient % 2))
    write_plate(tmp_path / "MURA-v1.1/valid/XR_WRIST/patient90000/study1_positive/image1.png", 90000, fractured=True)
    code, output = train(tmp_path, "mura", tmp_path)
    assert code == 0, output
    assert list_served(tmp_path) == {"ELBOW", "HAND", "FOREARM", "HUMERUS", "SHOULDER"}
    regions = read_figures(tmp_path)["figures"]["regions"]
    assert (regions["KNEE"]["radiographs"], regions["KNEE"]["served"]) == (0, False)
    assert regions["ELBOW"]["radiographs"] == 24
    verified = CliRunner().invoke(app, ["verify", str(tmp_path / "bundles" / "drawn")])
    assert verified.exit_code == 0, verified.output


def test_fracatlas_as_published_makes_a_bundle_for_the_regions_it_names(tmp_path: Path) -> None:
    data = write_published(tmp_path / "FracAtlas", count=72)
    code, output = train(data, "fracatlas", tmp_path, localisation=5)
    assert code == 0, output
    assert list_served(tmp_path) == {"HIP", "SHOULDER"}
    figures = read_figures(tmp_path)["figures"]
    assert figures["all"]["radiographs"] == 48
    assert figures["grad_cam_peak_in_box"]["all"]["value"] is not None


def write_published(folder: Path, *, count: int) -> Path:
    """Write hips, shoulders and hands as on figshare, every other pair fractured; numbers far apart."""
    parts = ("hand", "leg", "hip", "shoulder", "mixed")
    images, marks, rows = [], [], []
    for index in range(count):
        fractured, part = index % 2 == 1, ("hip", "shoulder", "hand")[index % 3]
        name = f"IMG{index * 40:07}.jpg"
        place = folder / "images" / ("Fractured" if fractured else "Non_fractured") / name
        left, top = write_plate(place, index, fractured=fractured)
        rows.append([name, *(int(one == part) for one in parts), int(fractured)])
        images.append({"id": index, "file_name": name})
        if fractured:
            corners = [left, top, left + SIDE, top, left + SIDE, top + SIDE, left, top + SIDE]
            marks.append({"id": index, "image_id": index, "bbox": [left, top, SIDE, SIDE], "segmentation": [corners]})
    annotations = folder / "Annotations" / "COCO JSON"
    annotations.mkdir(parents=True)
    coco = json.dumps({"images": images, "annotations": marks})
    (annotations / "COCO_fracture_masks.json").write_text(coco, encoding="utf-8")
    with (folder / "dataset.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["image_id", *parts, "fractured"], *rows])
    return folder


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "names no region"),
        ({"region": "WRIST"}, "WRIST"),
        ({"region": "HAND", "task": "type"}, "fracture alone"),
    ],
)
def test_what_could_not_be_served_is_refused_before_training(tmp_path: Path, options: dict[str, Any], why: str) -> None:
    data = write_folders(tmp_path / "wrists", {"": 24})
    code, output = train(data, "folders", tmp_path, **options)
    assert code != 0
    assert why in output
    assert not (tmp_path / "store").exists()


def test_too_few_fractures_for_a_claim_are_refused_before_training(tmp_path: Path) -> None:
    data = write_folders(tmp_path / "wrists", {"": 18})
    code, output = train(data, "folders", tmp_path, region="HAND")
    assert code == 1
    assert "no region could be served" in output
    assert not (tmp_path / "store").exists()


def test_a_region_is_not_told_to_a_data_set_that_names_them(tmp_path: Path) -> None:
    data = write_published(tmp_path / "FracAtlas", count=6)
    code, output = train(data, "fracatlas", tmp_path, region="HIP")
    assert code != 0
    assert "this one does" in output


def test_what_cannot_be_trained_from_is_refused_before_a_radiograph_is_rendered(tmp_path: Path) -> None:
    data = write_folders(tmp_path / "wrists", {"": 48})
    (tmp_path / "broken.keras").write_bytes(b"no weights")
    for options, why in (
        ({"frozen-until": "block2_poll"}, "custom_cnn has no layer block2_poll: did you mean block2_out"),
        ({"weights": tmp_path / "broken.keras"}, "broken.keras does not hold weights of custom_cnn"),
    ):
        code, output = train(data, "folders", tmp_path, region="FOREARM", **options)
        assert (code, why in output) == (1, True), output
    assert not list((tmp_path / "store").glob("looks-*"))
