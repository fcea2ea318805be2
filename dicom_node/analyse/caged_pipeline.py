"""The models in a cage: a network that hangs, or eats all memory, costs one image its answer and not the worker."""

from functools import partial
from typing import TYPE_CHECKING

from dicom_node.analyse.cage import Cage
from inference.types import ModelIdentity, Radiograph, RadiographAnalysis

if TYPE_CHECKING:
    from pathlib import Path

    from dicom_node.settings import AnalysisSettings, ModelSettings
    from inference.pipeline import Pipeline


class CagedPipeline:
    """`Pipeline` in a child process with a limit of time."""

    def __init__(self, models: "ModelSettings", settings: "AnalysisSettings") -> None:
        """Load the models and wait until they are ready.

        Raises
        ------
        BundleError
            A bundle is missing, altered or not as its manifest says.
        ChildProcessError
            The process cannot be started.
        """
        prepare = partial(_load, models.bundles, runtime=models.runtime, threads=models.threads)
        self._cage = Cage("the models' process", prepare, limit_s=settings.models_limit_s)
        self._cage.wait_until_ready()

    @property
    def models(self) -> tuple[ModelIdentity, ...]:
        """Every model that is loaded: asked for each time, for a process started again may have found newer bundles."""
        models: tuple[ModelIdentity, ...] = self._cage.call(_identify)
        return models

    def analyse(self, radiograph: Radiograph, *, region: str | None = None) -> RadiographAnalysis:
        """Analyse one radiograph, as one of `region` where that is given.

        Raises
        ------
        UnsupportedImageError
            It is outside what the models accept.
        CageError
            The process crashed or ran out of time over it.
        ChildProcessError
            The process cannot be started again.
        """
        analysis: RadiographAnalysis = self._cage.call(_analyse, radiograph, region)
        return analysis

    @property
    def pid(self) -> int | None:
        """Number of the child process; None where none runs."""
        return self._cage.pid

    def close(self) -> None:
        """End the child."""
        self._cage.close()


def _load(bundles: "Path", *, runtime: str, threads: int) -> "Pipeline":
    from inference.pipeline import Pipeline  # noqa: PLC0415 - its runtime belongs into the child alone

    return Pipeline.load(bundles, runtime=runtime, threads=threads)


def _identify(pipeline: "Pipeline") -> tuple[ModelIdentity, ...]:
    return pipeline.models


def _analyse(pipeline: "Pipeline", radiograph: Radiograph, region: str | None) -> RadiographAnalysis:
    return pipeline.analyse(radiograph, region=region)
