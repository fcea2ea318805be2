"""`dicom-node demo` and `dicom-node analyse` as a new user runs them."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

REPOSITORY = Path(__file__).resolve().parents[2]


def find_fracatlas():
    """The FracAtlas folder: named by the environment variable FRACATLAS, or in a data folder beside the repository."""
    named = os.environ.get("FRACATLAS")
    candidates = [Path(named)] if named else sorted(REPOSITORY.parent.glob("*/data/fracatlas"))
    return next((folder for folder in candidates if (folder / "labels.csv").exists()), None)


def run(*arguments):
    command = [sys.executable, "-m", "dicom_node", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, cwd=REPOSITORY, env=environment
    )


@pytest.mark.parametrize("archive", ["builtin", pytest.param("orthanc", marks=pytest.mark.orthanc)])
def test_the_demonstration_answers_every_sample_study(tmp_path, archive):
    finished = run("demo", "--archive", archive, "--out", tmp_path / "out")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    samples = sorted(path.name for path in (REPOSITORY / "sample_studies").iterdir() if path.is_dir())
    for name in samples:
        assert name in finished.stdout
        folder = tmp_path / "out" / name
        (report,) = folder.glob("*-report.dcm")
        assert report.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
        assert len(list(folder.glob("*-capture.dcm"))) == len(list(folder.glob("*-original-and-overlay.png")))
    page = (tmp_path / "out" / "index.html").read_text()
    for link in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert (tmp_path / "out" / link).exists()
    assert "Not for diagnosis" in page


def test_the_demonstration_shows_heat_on_the_original(tmp_path):
    finished = run("demo", REPOSITORY / "sample_studies" / "tibia_jpeg_ls", "--archive", "builtin", "--out", tmp_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (picture,) = tmp_path.rglob("*-original-and-overlay.png")
    pixels = np.asarray(Image.open(picture)).astype(int)
    left, right = np.split(pixels, 2, axis=1)
    assert np.ptp(left, axis=2).max() == 0, "the original is grey"
    assert np.ptp(right, axis=2).max() > 50, "the overlay is coloured somewhere"
    strips = slice(left.shape[0] // 4, -left.shape[0] // 4)
    unchanged = np.abs(left - right)[strips].max(axis=2) <= 2
    assert unchanged.mean() > 0.3, "the overlay is the same picture, in the same place"


def test_the_demonstration_fails_where_there_is_nothing_to_show(tmp_path):
    (tmp_path / "empty").mkdir()
    finished = run("demo", tmp_path / "empty", "--archive", "builtin", "--out", tmp_path / "out")
    assert finished.returncode == 1
    assert "no images found" in finished.stdout


def test_the_demonstration_does_not_empty_a_folder_it_did_not_make(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    finished = run("demo", "--archive", "builtin", "--out", tmp_path)
    assert finished.returncode == 1
    assert "choose another" in finished.stderr
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_analyse_prints_one_json_object_for_each_image():
    finished = run("analyse", "sample_studies", "--json")
    assert finished.returncode == 0, finished.stderr
    records = [json.loads(line) for line in finished.stdout.splitlines()]
    by_path = {Path(record["path"]).parent.name: record for record in records}
    assert by_path["chest"]["decision"] == "not analysed"
    assert "scope" in by_path["chest"]["reason"]
    tibia = by_path["tibia_jpeg_ls"]
    assert set(tibia) == {
        "path",
        "region",
        "region_confidence",
        "fracture_probability",
        "decision",
        "confidence",
        "reason",
        "rois",
        "heatmap_peak",
        "flags",
        "fracture_type",
        "fracture_type_probability",
        "models",
    }
    assert tibia["region"] in {"LEG", "ANKLE_FOOT"}
    assert 0 <= tibia["fracture_probability"] <= 1
    assert tibia["decision"] in {"fracture", "no fracture", "uncertain"}
    assert len(tibia["models"]) == 2
    for x, y, width, height in tibia["rois"]:
        assert 0 <= x < x + width <= 1760
        assert 0 <= y < y + height <= 1760


def test_analyse_reports_a_broken_file_and_goes_on(tmp_path):
    (tmp_path / "a-broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    source = dcmread(next((REPOSITORY / "sample_studies" / "phantom_landscape").glob("*.dcm")))
    source.save_as(tmp_path / "b-good.dcm")
    finished = run("analyse", tmp_path, "--json")
    assert finished.returncode == 0, finished.stderr
    broken, good = [json.loads(line) for line in finished.stdout.splitlines()]
    assert broken["decision"] == "not analysed"
    assert broken["reason"]
    assert good["path"].endswith("b-good.dcm")


def test_analyse_writes_the_result_objects(tmp_path):
    finished = run("analyse", "sample_studies/tibia_jpeg_ls", "--json", "--out", tmp_path)
    assert finished.returncode == 0, finished.stderr
    modalities = sorted(dcmread(path).Modality for path in tmp_path.rglob("*.dcm"))
    assert modalities == ["DOC", "OT", "OT"]


@pytest.mark.skipif(find_fracatlas() is None, reason="no FracAtlas folder: set FRACATLAS to run it")
def test_radiographs_of_the_training_pool_come_back_from_the_archive(tmp_path):
    pool = find_fracatlas()
    with (pool / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    chosen = {row["region"]: pool / "images" / row["image"] for row in rows if row["truncated"] == "0"}
    wanted = [chosen[region] for region in ("HAND", "ANKLE_FOOT", "FOREARM", "KNEE")]
    finished = run("demo", *wanted, "--archive", "builtin", "--out", tmp_path / "out")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    for path in wanted:
        captures = list((tmp_path / "out" / path.stem).glob("*-capture.dcm"))
        assert len(captures) == 1
        with Image.open(path) as picture:
            assert (dcmread(captures[0]).Columns, dcmread(captures[0]).Rows) == picture.size
