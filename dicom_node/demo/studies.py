"""The studies that the demonstration sends: images grouped by study, each study with a name for people."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from dicom_node.analyse.picture import SkippedFile, read_images
from dicom_node.assemble.study import read_instance

SAMPLES = Path(__file__).resolve().parents[2] / "sample_studies"


@dataclass(frozen=True, kw_only=True)
class DemoStudy:
    """A study as Part 10 files."""

    label: str
    """Made from the name of its folder or file; also the name of its folder among the results."""
    study_instance_uid: str
    files: tuple[Path, ...]


def gather_studies(paths: Sequence[Path], into: Path, console: Console) -> list[DemoStudy]:
    """Find the images below `paths`, group them by study, and say what was skipped."""
    groups: dict[str, list[tuple[Path, Path]]] = {}
    for file in read_images(paths, into=into):
        if isinstance(file, SkippedFile):
            if not file.bystander:
                console.print(f"skipped {file.path}: {file.reason}", highlight=False)
            continue
        uid = str(read_instance(file.path).header.StudyInstanceUID)
        groups.setdefault(uid, []).append((file.source, file.path))
    labels: set[str] = set()
    return [
        DemoStudy(
            label=_label([source for source, _ in files], labels),
            study_instance_uid=uid,
            files=tuple(path for _, path in files),
        )
        for uid, files in groups.items()
    ]


def _label(sources: Sequence[Path], taken: set[str]) -> str:
    """Name a study after its file, or its folder if there are more or the name is only a number; keep names apart."""
    speaks = len(sources) == 1 and re.search("[A-Za-z]", sources[0].stem)
    name = sources[0].stem if speaks else sources[0].resolve().parent.name
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "study"
    label, number = name, 1
    while label in taken:
        number += 1
        label = f"{name}-{number}"
    taken.add(label)
    return label
