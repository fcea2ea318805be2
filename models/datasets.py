"""Radiographs with their labels, and splits that do not leak.

A layout reads one published folder structure into `Sample`s. Layouts by name: `LAYOUTS`.
"""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from inference.types import Float32Array

REGIONS = ("HAND", "FOREARM", "ELBOW", "HUMERUS", "SHOULDER", "HIP", "FEMUR", "KNEE", "LEG", "ANKLE_FOOT")
"""The regions stage 1 names."""
BLOCK = 20
"""Neighbouring numbers are usually views of one patient: blocks of this many stay on one side of a split."""

UInt8Array = NDArray[np.uint8]
IntArray = NDArray[np.int64]


class DatasetError(Exception):
    """The folder does not hold what its layout promises."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One radiograph and what is known about it."""

    path: Path
    number: int
    """Position in the data set's own numbering."""
    region: str
    fractured: bool
    group: str
    """Samples of one group show the same radiograph."""
    polygons: tuple[tuple[tuple[float, float], ...], ...] = ()
    """Outlines of the fractures, (x, y) in pixels of the file."""
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    """Boxes (x, y, width, height) of the fractures, pixels of the file."""
    contradicted: bool = False
    """Another sample of its group carries the other fracture label."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The samples of a folder, and the files that were left out."""

    samples: tuple[Sample, ...]
    left_out: Mapping[str, str]
    """File name to the reason."""


def load_fracatlas(folder: Path) -> Dataset:
    """Read `images/`, `labels.csv` and `fractures.json`; unreadable and truncated files are left out by name.

    A truncated file's grey block would teach the model that damage means no fracture (all of them are negative).

    Raises
    ------
    DatasetError
        A table is missing.
    """
    try:
        outlines = json.loads((folder / "fractures.json").read_text(encoding="utf-8"))
        with (folder / "labels.csv").open(encoding="utf-8", newline="") as table:
            rows = list(csv.DictReader(table))
    except FileNotFoundError as error:
        raise DatasetError(f"{folder.name}: {Path(error.filename).name} is missing") from error
    left_out: dict[str, str] = {}
    kept: list[Sample] = []
    contradicted = _contradicted_groups(rows)
    for row in rows:
        path = folder / "images" / row["image"]
        reason = "published file ends early" if row["truncated"] == "1" else _unreadable(path)
        if reason:
            left_out[row["image"]] = reason
        else:
            kept.append(_fracatlas_sample(path, row, outlines.get(row["image"], []), contradicted))
    return Dataset(samples=tuple(kept), left_out=left_out)


LAYOUTS: Mapping[str, Callable[[Path], Dataset]] = MappingProxyType({"fracatlas": load_fracatlas})


def read_pixels(path: Path) -> UInt8Array:
    """Decode a grey image, shape (rows, columns), bone bright."""
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


def read_unit_pixels(path: Path) -> Float32Array:
    """Decode a grey image as serving sees it: float32, range [0, 1], bone bright."""
    return np.asarray(read_pixels(path) / np.float32(255), np.float32)


def assign_folds(samples: Iterable[Sample], *, folds: int, seed: int) -> IntArray:
    """Return the fold of every sample: number blocks and groups stay together, regions and fractures are balanced."""
    listed = list(samples)
    units = inseparable_units(listed)
    strata = [f"{sample.region} {sample.fractured}" for sample in listed]
    _, encoded = np.unique(strata, return_inverse=True)
    assigned = np.full(len(listed), -1, np.int64)
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(np.zeros(len(listed)), encoded, units)):
        assigned[held_out] = fold
    return assigned


def inseparable_units(samples: Sequence[Sample]) -> IntArray:
    """Return the number of each sample's connected component: samples that share a block of numbers or a group."""
    blocks = np.array([sample.number // BLOCK for sample in samples])
    names, groups = np.unique([sample.group for sample in samples], return_inverse=True)
    _, blocks = np.unique(blocks, return_inverse=True)
    nodes = len(names) + int(blocks.max()) + 1
    edges = coo_array((np.ones(len(samples)), (groups, blocks + len(names))), shape=(nodes, nodes))
    _, component = connected_components(edges, directed=False)
    return np.asarray(component[groups], np.int64)


def _unreadable(path: Path) -> str:
    """Return why the file cannot be decoded, or nothing."""
    try:
        with Image.open(path) as image:
            image.draft("L", (64, 64))  # decodes every block of a JPEG, at an eighth of the cost
            image.load()
    except FileNotFoundError:
        return "missing"
    except (OSError, UnidentifiedImageError) as error:
        return f"unreadable: {type(error).__name__}"
    return ""


def _contradicted_groups(rows: list[dict[str, str]]) -> set[str]:
    labels: dict[str, set[str]] = {}
    for row in rows:
        labels.setdefault(row["duplicate_group"] or row["image"], set()).add(row["fractured"])
    return {group for group, seen in labels.items() if len(seen) > 1}


def _fracatlas_sample(path: Path, row: dict[str, str], outlines: list[dict[str, Any]], both: set[str]) -> Sample:
    group = row["duplicate_group"] or row["image"]
    flat = [polygon for outline in outlines for polygon in outline["polygons"]]
    return Sample(
        path=path,
        number=int(path.stem.removeprefix("IMG")),
        region=row["region"],
        fractured=row["fractured"] == "1",
        group=group,
        polygons=tuple(tuple(zip(points[0::2], points[1::2], strict=True)) for points in flat),
        boxes=tuple(tuple(outline["box"]) for outline in outlines),
        contradicted=group in both,
    )
