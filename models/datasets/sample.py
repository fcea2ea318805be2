"""The values a layout gives: radiographs with what is known about them, and what was left out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

REGIONS = ("HAND", "FOREARM", "ELBOW", "HUMERUS", "SHOULDER", "HIP", "FEMUR", "KNEE", "LEG", "ANKLE_FOOT")
"""The regions stage 1 names."""
TRAIN, VALIDATION, TEST = "train", "validation", "test"
"""The parts of an official split."""
_NAMED = 5
"""A remark names this many files or groups at most."""


class DatasetError(Exception):
    """The folder does not hold what its layout promises."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One radiograph and what is known about it."""

    path: Path
    number: int
    """Position in the data set's own numbering, or in the order of the files where it has none."""
    region: str
    """One of `REGIONS`, `OTHER`, or empty where the data set does not tell."""
    fractured: bool | None
    """None where the data set does not tell."""
    group: str
    """Samples of one group show the same radiograph."""
    polygons: tuple[tuple[tuple[float, float], ...], ...] = ()
    """Outlines of the fractures, (x, y) in pixels of the file."""
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    """Boxes (x, y, width, height) of the fractures, pixels of the file."""
    contradicted: bool = False
    """Another sample of its group carries another label."""
    label: str = ""
    """The class its folder names, as it is spelled there."""
    patient: str = ""
    """Whose radiograph it is; empty where the data set does not tell."""
    split: str = ""
    """Its part of the official split (`train`, `validation`, `test`); empty where there is none."""
    numbered: bool = True
    """Whether neighbouring numbers are likely to be views of one patient."""
    name: str = ""
    """Path below the data set's folder of images."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The samples of a folder, the files that were left out, and what else a reader should know."""

    samples: tuple[Sample, ...]
    left_out: Mapping[str, str]
    """File name (a path below the images' folder where they lie in several) to the reason."""
    duplicates: tuple[tuple[str, ...], ...] = ()
    """Names of the samples that show the same radiograph, group by group."""
    found: tuple[tuple[str, ...], ...] = ()
    """Those of `duplicates` that only their pixels told of."""
    notes: tuple[str, ...] = ()
    """What its labels mean, where that is not what their names say."""

    def take(self, *splits: str) -> "Dataset":
        """Return only the samples of these parts of the official split."""
        return replace(self, samples=tuple(sample for sample in self.samples if sample.split in splits))

    @property
    def tells_patients(self) -> bool:
        """Whether anything beside their pixels tells which radiographs may be of one patient."""
        return any(sample.patient or sample.numbered for sample in self.samples)

    def remarks(self) -> tuple[str, ...]:
        """Return in sentences what was left out, what occurs twice, and how the labels are to be read."""
        lines = list(self.notes)
        for reason, count in Counter(self.left_out.values()).items():
            names = [name for name, why in self.left_out.items() if why == reason]
            lines.append(f"left out, {reason}: {count} ({_name_some(names)})")
        if self.duplicates:
            lines.append(f"same radiograph twice or more: {len(self.duplicates)} groups")
        if self.found:
            groups = [" = ".join(group) for group in self.found]
            lines.append(f"of these, told by the pixels alone: {len(self.found)} ({_name_some(groups)})")
        if contradicted := sum(sample.contradicted for sample in self.samples):
            lines.append(f"same radiograph under different labels: {contradicted} radiographs")
        return (*lines, *self._tell_split())

    def _tell_split(self) -> tuple[str, ...]:
        parts = Counter(sample.split for sample in self.samples if sample.split)
        if not parts:
            return ()
        held_out = {sample.group for sample in self.samples if sample.split not in {TRAIN, ""}}
        again = sum(sample.split == TRAIN and sample.group in held_out for sample in self.samples)
        leak = f"; {again} of {TRAIN} show a radiograph that is also held out" if again else ""
        return ("official split: " + ", ".join(f"{count} {part}" for part, count in parts.items()) + leak,)


def _name_some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
