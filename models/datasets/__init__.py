"""Radiographs with their labels, and splits that do not leak.

A layout reads one published folder structure into `Sample`s. Layouts by name: `LAYOUTS`.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from inference.types import Task
from models.datasets.folders import load_folders
from models.datasets.fracatlas import load_fracatlas
from models.datasets.mura import load_mura
from models.datasets.reading import read_pixels, read_unit_pixels
from models.datasets.sample import REGIONS, Dataset, DatasetError, Sample
from models.datasets.splits import BLOCK, assign_folds, inseparable_units, official_parts

__all__ = [
    "BLOCK",
    "LAYOUTS",
    "REGIONS",
    "Dataset",
    "DatasetError",
    "Layout",
    "Sample",
    "assign_folds",
    "inseparable_units",
    "load_folders",
    "load_fracatlas",
    "load_mura",
    "official_parts",
    "read_pixels",
    "read_unit_pixels",
]


class Layout(Protocol):
    """Reads a folder; a task makes it refuse labels that do not tell what the task asks for."""

    def __call__(self, folder: Path, task: Task | None = None) -> Dataset:
        """Raise `DatasetError` where the folder does not hold what the layout promises."""


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "fracatlas": load_fracatlas,
        "mura": load_mura,
        "folders": load_folders,
    }
)
