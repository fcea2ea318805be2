"""MURA v1.1 (Rajpurkar et al. 2018): studies of the upper limb, each called normal or abnormal as a whole."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from inference.types import Task
from models.datasets.gathering import gather
from models.datasets.sample import TRAIN, VALIDATION, Dataset, DatasetError, Sample

_REGIONS: Mapping[str, str] = MappingProxyType(
    {
        "XR_ELBOW": "ELBOW",
        "XR_FINGER": "HAND",
        "XR_FOREARM": "FOREARM",
        "XR_HAND": "HAND",
        "XR_HUMERUS": "HUMERUS",
        "XR_SHOULDER": "SHOULDER",
        # As in the FracAtlas pool: a wrist without the elbow is HAND (602 of 602), with it FOREARM (386 of 386).
        "XR_WRIST": "HAND",
    }
)
_SPLITS: Mapping[str, str] = MappingProxyType({"train": TRAIN, "valid": VALIDATION})
_LABELS: Mapping[str, bool] = MappingProxyType({"positive": True, "negative": False})
_NOTE = (
    "MURA calls a whole study positive (abnormal) or negative, and each of its images is labelled so: abnormal is not "
    "only fractured, it is also metalwork, arthrosis and lesions, and may be seen in one view of several"
)


def load_mura(folder: Path, task: Task | None = None) -> Dataset:
    """Read `train/` and `valid/` of MURA v1.1, in this folder or in `MURA-v1.1/` below it.

    `fractured` is the study's label, abnormal: a model trained on it finds abnormal limbs, among them fractures.

    Raises
    ------
    DatasetError
        The folder holds no such study, or the labels do not tell what the task asks for.
    """
    if task is Task.TYPE:
        raise DatasetError("MURA does not name the type of a fracture")
    root = folder / "MURA-v1.1" if (folder / "MURA-v1.1").is_dir() else folder
    paths = [path for path in sorted(root.glob("*/XR_*/patient*/study*/*.png")) if _is_published(path)]
    if not paths:
        raise DatasetError(f"{folder.name}: no train/XR_*/patient*/study*_positive or study*_negative with images")
    listed = [_build_sample(path, number, root) for number, path in enumerate(paths)]
    return gather(listed, images=root, notes=[_NOTE])


def _is_published(path: Path) -> bool:
    """Tell an image of the data set from the resource forks of another system (`._image1.png`) in its archive."""
    split, region, _, study, name = path.parts[-5:]
    return split in _SPLITS and region in _REGIONS and _label(study) in _LABELS and not name.startswith(".")


def _label(study: str) -> str:
    return study.rpartition("_")[2]


def _build_sample(path: Path, number: int, root: Path) -> Sample:
    split, region, patient, study, _ = path.parts[-5:]
    label = _label(study)
    return Sample(
        path=path,
        number=number,
        region=_REGIONS[region],
        fractured=_LABELS[label],
        group=path.relative_to(root).as_posix(),
        label=label,
        patient=patient,
        split=_SPLITS[split],
        numbered=False,
    )
