"""The studies that the demonstration sends."""

from dataclasses import dataclass
from pathlib import Path

SAMPLES = Path(__file__).resolve().parents[2] / "sample_studies"


@dataclass(frozen=True, kw_only=True)
class DemoStudy:
    """A study as Part 10 files."""

    label: str
    """Name of its folder or file; also of its folder among the results."""
    study_instance_uid: str
    files: tuple[Path, ...]
