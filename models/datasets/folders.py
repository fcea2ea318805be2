"""A folder per class, with or without folders for training, validation and test, around the classes or in them."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from inference.types import Task
from models.datasets.gathering import gather
from models.datasets.reading import SUFFIXES
from models.datasets.sample import REGIONS, TEST, TRAIN, VALIDATION, Dataset, DatasetError, Sample

_SPLITS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("train", "training"), TRAIN),
        **dict.fromkeys(("val", "valid", "validation"), VALIDATION),
        **dict.fromkeys(("test", "testing"), TEST),
    }
)
_FRACTURED: Mapping[str, bool] = MappingProxyType(
    {
        **dict.fromkeys(("fractured", "fracture", "positive", "abnormal", "1"), True),
        **dict.fromkeys(("notfractured", "nonfractured", "unfractured", "nofracture", "nonfracture"), False),
        **dict.fromkeys(("normal", "negative", "0"), False),
    }
)
_REGIONS: Mapping[str, str] = MappingProxyType({name.replace("_", "").casefold(): name for name in (*REGIONS, "OTHER")})


def load_folders(folder: Path, task: Task | None = None) -> Dataset:
    """Read every image below `folder`; its class is the first folder on its way that is not a part of a split.

    Upper and lower case, spaces, hyphens and underscores do not matter. For regions the classes are those of stage 1
    or `other`; for fractures one class says so (fractured, positive, abnormal, 1) and one says not (normal, negative,
    non_fractured, 0); for types they are whatever they are called. Without a task the names decide. Images in no class
    are left out.

    Raises
    ------
    DatasetError
        There is no image, fewer than two classes, or they are not what the task asks for; the message names them.
    """
    paths = sorted(path for path in _walk(folder) if _is_image(path.relative_to(folder)))
    listed = [_build_sample(path, number, folder) for number, path in enumerate(paths)]
    spelled = {_plain(sample.label): sample.label for sample in reversed(listed) if sample.label}
    if len(spelled) < 2:
        names = ", ".join(spelled.values()) or "none"
        raise DatasetError(f"{folder.name}: needs images in a folder for each of two classes or more; found: {names}")
    task = task or _recognise(spelled)
    _check(spelled, task, folder)
    classless = {sample.path.relative_to(folder).as_posix(): "in no class" for sample in listed if not sample.label}
    return gather([_interpret(sample, spelled, task) for sample in listed], images=folder, left_out=classless)


def _walk(folder: Path) -> Iterator[Path]:
    """Yield every file, also below folders that are links: classes often lie on another disk."""
    for place, folders, files in os.walk(folder, followlinks=True):
        here = Path(place)
        folders[:] = [name for name in folders if not _leads_back(here / name)]
        yield from (here / name for name in files)


def _leads_back(path: Path) -> bool:
    """Tell whether a folder is a link to one that it lies in."""
    return path.is_symlink() and path.parent.resolve().is_relative_to(path.resolve())


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.parts)


def _plain(name: str) -> str:
    """Return the name without what spellings differ in."""
    return "".join(letter for letter in name.casefold() if letter not in " -_")


def _build_sample(path: Path, number: int, folder: Path) -> Sample:
    name = path.relative_to(folder)
    # "training_set" is as good as "training".
    parts = {part: _SPLITS.get(_plain(part).removesuffix("set")) for part in name.parent.parts}
    classes = [part for part, split in parts.items() if split is None]
    splits = [split for split in parts.values() if split is not None]
    return Sample(
        path=path,
        number=number,
        region="",
        fractured=None,
        group=name.as_posix(),
        label=classes[0] if classes else "",
        split=splits[0] if splits else "",
        numbered=False,
    )


def _recognise(plain: Iterable[str]) -> Task:
    names = set(plain)
    if names <= set(_REGIONS):
        return Task.REGION
    return Task.FRACTURE if names <= set(_FRACTURED) else Task.TYPE


def _check(spelled: Mapping[str, str], task: Task, folder: Path) -> None:
    found = ", ".join(spelled[name] for name in sorted(spelled))
    if task is Task.REGION and (strange := _missing(spelled, _REGIONS)):
        raise DatasetError(f"{folder.name}: {', '.join(strange)} is none of {', '.join(REGIONS)}, OTHER")
    if task is Task.FRACTURE and (_missing(spelled, _FRACTURED) or len({_FRACTURED[name] for name in spelled}) < 2):
        raise DatasetError(
            f"{folder.name}: fractures need classes that say so, as fractured and non_fractured; found: {found}"
        )


def _missing(spelled: Mapping[str, str], known: Mapping[str, object]) -> Sequence[str]:
    return [spelled[name] for name in sorted(spelled) if name not in known]


def _interpret(sample: Sample, spelled: Mapping[str, str], task: Task) -> Sample:
    """Return the sample with what its class means for the task, and the class as it is first spelled."""
    plain = _plain(sample.label)
    sample = replace(sample, label=spelled.get(plain, ""))
    if task is Task.REGION:
        return replace(sample, region=_REGIONS.get(plain, ""))
    return replace(sample, fractured=_FRACTURED.get(plain)) if task is Task.FRACTURE else sample
