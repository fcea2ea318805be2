"""FracAtlas (Abedeen et al., Scientific Data 10, 521, 2023): as published, and as the pool with regions read by eye."""

import csv
import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from inference.types import Task
from models.datasets.gathering import gather
from models.datasets.sample import REGIONS, Dataset, DatasetError, Sample

_COARSE: Mapping[str, str] = MappingProxyType({"hip": "HIP", "shoulder": "SHOULDER"})
"""What a coarse label of `dataset.csv` tells where it stands alone."""
_FLAGS = ("hand", "leg", "hip", "shoulder")
_COLUMNS: Mapping[str, Collection[str]] = MappingProxyType(
    {
        "labels.csv": ("image", "fractured", "region", "duplicate_group", "truncated"),
        "dataset.csv": ("image_id", "fractured", "mixed", *_FLAGS),
    }
)
_NOTE = (
    "FracAtlas as published names the body part coarsely: a lone hip or shoulder is taken, "
    "hand (also forearm, elbow) and leg (knee, ankle, foot) leave the region open"
)

Outlines = Mapping[str, Sequence[Mapping[str, Any]]]
"""Image name to its fractures, each with `box` and `polygons`."""


def load_fracatlas(folder: Path, task: Task | None = None) -> Dataset:
    """Read the pool (`labels.csv`, `fractures.json`) or the data set as published (`dataset.csv`, in `FracAtlas/`).

    Raises
    ------
    DatasetError
        A table is missing or not as published, or the labels do not tell what the task asks for.
    """
    if task is Task.TYPE:
        raise DatasetError("FracAtlas does not name the type of a fracture")
    for published in (folder, folder / "FracAtlas"):
        if (published / "dataset.csv").is_file():
            return _load_published(published, task)
    return _load_pool(folder)


def _load_pool(folder: Path) -> Dataset:
    """Read `images/`, `labels.csv` and `fractures.json`; truncated files are left out by name.

    A truncated file's grey block would teach the model that damage means no fracture (all of them are negative).
    """
    outlines = _read_json(folder, "fractures.json")
    rows = _read_table(folder, "labels.csv")
    images = folder / "images"
    ends_early = {row["image"]: "published file ends early" for row in rows if row["truncated"] == "1"}
    listed = [
        _build_sample(
            images / row["image"],
            outlines.get(row["image"], ()),
            region=_read_region(row),
            fractured=_read_fractured(row, "image"),
            group=row["duplicate_group"] or row["image"],
        )
        for row in rows
    ]
    return gather(listed, images=images, left_out=ends_early)


def _load_published(folder: Path, task: Task | None) -> Dataset:
    """Read `images/`, `dataset.csv` and the COCO annotations of figshare 22363012.

    Its region is HIP or SHOULDER where that flag stands alone. In the pool, where each image's region was read by eye,
    hip was HIP in 154 of 154 and shoulder SHOULDER in 80 of 85; hand was HAND in only 602 of 1,050 and leg is six
    regions, so these stay open: such images train what all regions share.
    """
    if task is Task.REGION:
        raise DatasetError("FracAtlas as published does not tell the regions; its body parts are too coarse")
    outlines = _read_coco(_read_json(folder, "Annotations/COCO JSON/COCO_fracture_masks.json"))
    images = folder / "images"
    listed = []
    for row in _read_table(folder, "dataset.csv"):
        name, fractured = row["image_id"], _read_fractured(row, "image_id")
        path = images / ("Fractured" if fractured else "Non_fractured") / name
        region = _read_flags(row)
        listed.append(_build_sample(path, outlines.get(name, ()), region=region, fractured=fractured, group=name))
    return gather(listed, images=images, notes=[_NOTE])


def _build_sample(
    path: Path, outlines: Sequence[Mapping[str, Any]], *, region: str, fractured: bool, group: str
) -> Sample:
    numbered = re.fullmatch(r"(?:IMG)?(\d+)", path.stem)
    if numbered is None:
        raise DatasetError(f"{path.name}: FracAtlas calls its images IMG and a number, as in IMG0000019.jpg")
    try:
        flat = [polygon for outline in outlines for polygon in outline["polygons"]]
        polygons = tuple(tuple(zip(points[0::2], points[1::2], strict=True)) for points in flat)
        boxes = tuple(tuple(outline["box"]) for outline in outlines)
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{path.name}: its fractures are not outlined by boxes and polygons: {error!r}") from error
    return Sample(
        path=path,
        number=int(numbered[1]),
        region=region,
        fractured=fractured,
        group=group,
        polygons=polygons,
        boxes=boxes,
    )


def _read_fractured(row: Mapping[str, str], name: str) -> bool:
    if row["fractured"] not in {"0", "1"}:
        raise DatasetError(f"{row[name]}: fractured is {row['fractured']!r}, neither 1 nor 0")
    return row["fractured"] == "1"


def _read_region(row: Mapping[str, str]) -> str:
    if row["region"] not in {*REGIONS, "OTHER", ""}:
        raise DatasetError(
            f"{row['image']}: region {row['region']!r} is none of {', '.join(REGIONS)}, OTHER, nor empty"
        )
    return row["region"]


def _read_flags(row: Mapping[str, str]) -> str:
    told = [flag for flag in _FLAGS if row[flag] == "1"]
    return _COARSE.get(told[0], "") if len(told) == 1 and row["mixed"] != "1" else ""


def _read_coco(coco: Mapping[str, Any]) -> Outlines:
    """Return the outlines of each image; a mask stored as run lengths gives its box alone."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    try:
        names = {image["id"]: image["file_name"] for image in coco["images"]}
        for mark in coco["annotations"]:
            polygons = mark["segmentation"] if isinstance(mark["segmentation"], list) else []
            found.setdefault(names[mark["image_id"]], []).append({"box": mark["bbox"], "polygons": polygons})
    except (KeyError, TypeError) as error:
        raise DatasetError(f"the annotations are not as COCO has them: {error!r}") from error
    return found


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DatasetError(f"{folder.name}: {name} is missing") from error
    except ValueError as error:
        raise DatasetError(f"{folder.name}: {name} is no JSON") from error
    if not isinstance(found, dict):
        raise DatasetError(f"{folder.name}: {name} holds no object, as FracAtlas' does")
    return found


def _read_table(folder: Path, name: str) -> list[dict[str, str]]:
    try:
        with (folder / name).open(encoding="utf-8-sig", newline="") as table:
            rows = csv.DictReader(table, restval="")
            if missing := [column for column in _COLUMNS[name] if column not in (rows.fieldnames or ())]:
                raise DatasetError(f"{folder.name}: {name} has no column {', '.join(missing)}")
            return list(rows)
    except FileNotFoundError as error:
        raise DatasetError(f"{folder.name}: {name} is missing") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{folder.name}: {name} is no table of commas in UTF-8: {error}") from error
