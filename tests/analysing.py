"""Studies of stored images, and models that answer what they are told to."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from builders import write_part10
from pydicom import Dataset

from dicom_node.assemble.study import read_instance
from dicom_node.values import Instance, Study
from inference.types import Decision, ModelIdentity, Radiograph, RadiographAnalysis, RegionPrediction, Task

LEG = RegionPrediction(region="LEG", confidence=0.9, probabilities={"LEG": 0.9, "KNEE": 0.1})
CLEAR = RadiographAnalysis(decision=Decision.NO_FRACTURE, region=LEG, flags=("A remark.",))


class ScriptedPipeline:
    """Answers what it was told to, and keeps what it was shown."""

    models = (ModelIdentity(name="scripted", version="1", task=Task.FRACTURE, digest="0" * 64),)

    def __init__(self, answer: Callable[[Radiograph], RadiographAnalysis] = lambda _: CLEAR) -> None:
        self._answer = answer
        self.shown: list[tuple[int, int]] = []

    def analyse(self, radiograph: Radiograph, *, region: str | None = None) -> RadiographAnalysis:
        """Give the scripted answer."""
        assert region is None
        self.shown.append((radiograph.rows, radiograph.columns))
        return self._answer(radiograph)


def stored(ds: Dataset, folder: Path) -> Instance:
    """Write an image into a folder and read its header."""
    return read_instance(write_part10(ds, folder / f"{ds.SOPInstanceUID}.dcm"))


def study_of(*instances: Instance) -> Study:
    """Build a study of these instances."""
    return Study(
        study_instance_uid="1.2.3",
        revision="0",
        version=1,
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        instances=instances,
    )
