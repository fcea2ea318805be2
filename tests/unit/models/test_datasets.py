"""FracAtlas: the pool with its regions, and the data set as published."""

import csv
import json
import re
from pathlib import Path

import pytest
from drawn_limbs import draw_limb, write_limb
from PIL import Image

from inference.types import Task
from models.datasets import DatasetError, load_fracatlas

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
        write_limb(folder / "images" / row[0], int(row[0][3:10]))
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
    assert dataset.left_out[names[3]] == "empty"
    assert dataset.left_out[names[4]] == "missing"
    assert "left out, missing: 1 (IMG0000004.jpg)" in dataset.remarks()


def test_twins_with_both_labels_are_marked(tmp_path: Path) -> None:
    rows = [
        ("IMG0000001.jpg", "HAND", 1, "twin", 0),
        ("IMG0000090.jpg", "HAND", 0, "twin", 0),
        ("IMG0000091.jpg", "HAND", 0, "", 0),
    ]
    dataset = load_fracatlas(build_pool(tmp_path, rows))
    assert [sample.contradicted for sample in dataset.samples] == [True, True, False]
    assert dataset.duplicates == (("IMG0000001.jpg", "IMG0000090.jpg"),)
    assert dataset.found == ()


def test_a_twin_that_is_left_out_still_contradicts(tmp_path: Path) -> None:
    rows = [("IMG0000001.jpg", "HAND", 1, "twin", 0), ("IMG0000090.jpg", "HAND", 0, "twin", 1)]
    assert [sample.contradicted for sample in load_fracatlas(build_pool(tmp_path, rows)).samples] == [True]


def test_twins_that_the_table_does_not_know_are_found_and_join_its_groups(tmp_path: Path) -> None:
    rows = [
        ("IMG0000001.jpg", "HAND", 0, "twin", 0),
        ("IMG0000090.jpg", "HAND", 0, "twin", 0),
        ("IMG0000200.jpg", "HAND", 1, "", 0),
        ("IMG0000300.jpg", "HAND", 0, "", 0),
    ]
    build_pool(tmp_path, rows)
    Image.fromarray(draw_limb(90)[:, ::-1]).save(tmp_path / "images" / "IMG0000200.jpg", quality=60)
    dataset = load_fracatlas(tmp_path)
    groups = [sample.group for sample in dataset.samples]
    assert groups[0] == groups[1] == groups[2] != groups[3]
    assert dataset.found == (("IMG0000001.jpg", "IMG0000090.jpg", "IMG0000200.jpg"),)
    assert [sample.contradicted for sample in dataset.samples] == [True, True, True, False]
    assert (
        "of these, told by the pixels alone: 1 (IMG0000001.jpg = IMG0000090.jpg = IMG0000200.jpg)" in dataset.remarks()
    )


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"fractures\.json is missing"):
        load_fracatlas(tmp_path)
    (tmp_path / "fractures.json").write_text("{", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"fractures\.json is no JSON"):
        load_fracatlas(tmp_path)
    (tmp_path / "fractures.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"labels\.csv is missing"):
        load_fracatlas(tmp_path)


def test_a_column_that_is_missing_is_named(tmp_path: Path) -> None:
    build_pool(tmp_path, [("IMG0000001.jpg", "HAND", 1, "", 0)])
    table = tmp_path / "labels.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("truncated", "cut"), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"labels\.csv has no column truncated"):
        load_fracatlas(tmp_path)
    (tmp_path / "published" / "Annotations" / "COCO JSON").mkdir(parents=True)
    coco = tmp_path / "published" / "Annotations" / "COCO JSON" / "COCO_fracture_masks.json"
    coco.write_text('{"images": [], "annotations": []}', encoding="utf-8")
    (tmp_path / "published" / "dataset.csv").write_text("image_id,fractured,hand,leg,hip\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"dataset\.csv has no column mixed, shoulder"):
        load_fracatlas(tmp_path / "published")


@pytest.mark.parametrize(
    ("outlines", "why"),
    [
        ([], "holds no object"),
        ({"IMG0000001.jpg": [{"box": [1, 2, 3, 4]}]}, "IMG0000001.jpg: its fractures are not outlined"),
        ({"IMG0000001.jpg": [{"box": [1, 2, 3, 4], "polygons": [[1, 2, 3]]}]}, "not outlined"),
        ({"IMG0000001.jpg": 3}, "not outlined"),
    ],
)
def test_outlines_that_are_none_are_refused(tmp_path: Path, outlines: object, why: str) -> None:
    build_pool(tmp_path, [("IMG0000001.jpg", "HAND", 1, "", 0)])
    (tmp_path / "fractures.json").write_text(json.dumps(outlines), encoding="utf-8")
    with pytest.raises(DatasetError, match=why):
        load_fracatlas(tmp_path)


@pytest.mark.parametrize("coco", [{}, {"images": [{"id": 0}], "annotations": []}, {"images": 3, "annotations": []}])
def test_annotations_that_are_none_are_refused(tmp_path: Path, coco: object) -> None:
    build_published(tmp_path, PUBLISHED)
    place = tmp_path / "Annotations" / "COCO JSON" / "COCO_fracture_masks.json"
    place.write_text(json.dumps(coco), encoding="utf-8")
    with pytest.raises(DatasetError, match="not as COCO has them"):
        load_fracatlas(tmp_path)


def test_a_table_that_is_not_text_is_refused(tmp_path: Path) -> None:
    build_pool(tmp_path, [("IMG0000001.jpg", "HAND", 1, "", 0)])
    (tmp_path / "labels.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DatasetError, match=r"labels\.csv is no table"):
        load_fracatlas(tmp_path)


@pytest.mark.parametrize("name", ["wrist19.jpg", "IMG.jpg", "IMG12a.jpg", ""])
def test_an_image_without_a_number_is_named(tmp_path: Path, name: str) -> None:
    build_pool(tmp_path, [("IMG0000001.jpg", "HAND", 1, "", 0)])
    with (tmp_path / "labels.csv").open("a", encoding="utf-8") as table:
        table.write(f"{name},HAND,0,,0\n")
    with pytest.raises(DatasetError, match="FracAtlas calls its images IMG and a number"):
        load_fracatlas(tmp_path)


@pytest.mark.parametrize("said", ["1.0", "", "True", "yes"])
def test_a_label_that_is_neither_one_nor_zero_is_refused(tmp_path: Path, said: str) -> None:
    """A spreadsheet writes 1 as 1.0 where the column has gaps: all would be taken for radiographs without fracture."""
    build_pool(tmp_path, [("IMG0000001.jpg", "HAND", 1, "", 0)])
    with (tmp_path / "labels.csv").open("a", encoding="utf-8") as table:
        table.write(f"IMG0000025.jpg,HAND,{said},,0\n")
    with pytest.raises(DatasetError, match=f"IMG0000025.jpg: fractured is '{said}', neither 1 nor 0"):
        load_fracatlas(tmp_path)


def test_a_label_as_published_that_is_neither_one_nor_zero_is_refused(tmp_path: Path) -> None:
    build_published(tmp_path, PUBLISHED)
    table = tmp_path / "dataset.csv"
    table.write_text(re.sub(",1$", ",1.0", table.read_text(encoding="utf-8"), flags=re.MULTILINE), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"fractured is '1\.0', neither 1 nor 0"):
        load_fracatlas(tmp_path)


def test_a_region_that_is_none_is_refused(tmp_path: Path) -> None:
    build_pool(tmp_path, [("IMG0000001.jpg", "Wrist", 0, "", 0)])
    with pytest.raises(DatasetError, match=r"IMG0000001\.jpg: region 'Wrist' is none of HAND, FOREARM, .* OTHER"):
        load_fracatlas(tmp_path)


PARTS = ("hand", "leg", "hip", "shoulder", "mixed")
VIEWS = ("hardware", "multiscan", "fracture_count", "frontal", "lateral", "oblique")


def build_published(folder: Path, rows: list[tuple[str, set[str], int]]) -> Path:
    """Write radiographs as on figshare: name, the flags that are set, fractured."""
    marks = [
        {"id": 1, "image_id": 0, "bbox": [1, 2, 3, 4], "segmentation": [[1, 2, 4, 2, 4, 6]], "category_id": 1},
        {"id": 2, "image_id": 0, "bbox": [9, 9, 5, 5], "segmentation": {"counts": [1], "size": [4, 4]}},
    ]
    coco = {"images": [{"id": 0, "file_name": rows[0][0], "width": 150, "height": 180}], "annotations": marks}
    place = folder / "Annotations" / "COCO JSON"
    place.mkdir(parents=True)
    (place / "COCO_fracture_masks.json").write_text(json.dumps(coco), encoding="utf-8")
    with (folder / "dataset.csv").open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image_id", *PARTS, *VIEWS, "fractured"))
        for name, told, fractured in rows:
            writer.writerow((name, *(int(part in told) for part in PARTS), *[0] * len(VIEWS), fractured))
            write_limb(folder / "images" / ("Fractured" if fractured else "Non_fractured") / name, int(name[3:10]))
    return folder


PUBLISHED = [
    ("IMG0000019.jpg", {"hip"}, 1),
    ("IMG0000060.jpg", {"shoulder"}, 0),
    ("IMG0000100.jpg", {"hand"}, 0),
    ("IMG0000140.jpg", {"leg"}, 0),
    ("IMG0000180.jpg", {"hip", "leg", "mixed"}, 0),
]


@pytest.mark.parametrize("above", [False, True])
def test_fracatlas_is_read_as_published(tmp_path: Path, above: bool) -> None:
    build_published(tmp_path / "FracAtlas", PUBLISHED)
    dataset = load_fracatlas(tmp_path if above else tmp_path / "FracAtlas", Task.FRACTURE)
    first = dataset.samples[0]
    assert [sample.fractured for sample in dataset.samples] == [True, False, False, False, False]
    assert (first.number, first.numbered, first.boxes) == (19, True, ((1, 2, 3, 4), (9, 9, 5, 5)))
    assert first.polygons == (((1, 2), (4, 2), (4, 6)),)
    assert not dataset.left_out


def test_a_coarse_part_of_the_body_gives_a_region_only_where_it_means_one(tmp_path: Path) -> None:
    dataset = load_fracatlas(build_published(tmp_path, PUBLISHED))
    assert [sample.region for sample in dataset.samples] == ["HIP", "SHOULDER", "", "", ""]
    assert "leave the region open" in dataset.remarks()[0]


def test_files_that_were_published_truncated_are_named(tmp_path: Path) -> None:
    build_published(tmp_path, PUBLISHED)
    damaged = tmp_path / "images" / "Non_fractured" / "IMG0000100.jpg"
    damaged.write_bytes(damaged.read_bytes()[:-300])
    assert load_fracatlas(tmp_path).left_out == {"Non_fractured/IMG0000100.jpg": "unreadable: OSError"}


def test_what_the_labels_do_not_tell_is_refused(tmp_path: Path) -> None:
    build_published(tmp_path, PUBLISHED)
    with pytest.raises(DatasetError, match="too coarse"):
        load_fracatlas(tmp_path, Task.REGION)
    with pytest.raises(DatasetError, match="type of a fracture"):
        load_fracatlas(tmp_path, Task.TYPE)
