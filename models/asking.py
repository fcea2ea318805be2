"""Whom labelled radiographs are shown to: the whole pipeline, or one bundle alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from inference.bundle import MANIFEST, SCOPE, Answer, Bundle, load_bundle
from inference.errors import BundleError
from inference.grad_cam import quantise
from inference.model import Model
from inference.pipeline import Pipeline
from inference.roi import find_rois
from inference.scope import Scope
from inference.types import (
    Decision,
    FracturePrediction,
    Radiograph,
    RadiographAnalysis,
    Task,
    TypePrediction,
)
from inference.uncertainty import calibrate, decide, explain_doubt, share_out
from models.datasets import Sample

NO_MODEL = "no validated model for region"


class Asked(Protocol):
    """Whom radiographs are shown to: the whole pipeline, or one bundle alone."""

    bundles: tuple[Bundle, ...]

    def answer(self, radiograph: Radiograph, sample: Sample) -> RadiographAnalysis:
        """Return the answer; raises UnsupportedImageError."""


class WholePipeline:
    """Stage 1 names the region and leads on; nothing is told."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        models = (pipeline.region_model, *pipeline.fracture_models, *pipeline.type_models)
        self.bundles = tuple(model.bundle for model in models)

    def answer(self, radiograph: Radiograph, _: Sample) -> RadiographAnalysis:
        """Return what the node would say."""
        return self._pipeline.analyse(radiograph)


class FractureModels:
    """Stage 2 alone: the region is told, by the data set's label or for all radiographs at once."""

    def __init__(self, models: Sequence[Model], *, region: str | None) -> None:
        self.bundles = tuple(model.bundle for model in models)
        self._region = region
        self._serving = {
            name: (model, answer)
            for model in models
            for answer in model.bundle.manifest.answers
            for name in answer.regions
        }

    def answer(self, radiograph: Radiograph, sample: Sample) -> RadiographAnalysis:
        """Return the answer of the model that serves the region told."""
        region = self._region or sample.region
        if region not in self._serving:
            return RadiographAnalysis(decision=Decision.NOT_ANALYSED, reason=f"{NO_MODEL} {region}")
        return look_for_fracture(*self._serving[region], radiograph)


class TypeModel:
    """Stage 3 alone, on radiographs that show a fracture."""

    def __init__(self, model: Model) -> None:
        self.bundles: tuple[Bundle, ...] = (model.bundle,)
        self._model = model

    def answer(self, radiograph: Radiograph, _: Sample) -> RadiographAnalysis:
        """Return the type, the fracture taken for granted."""
        manifest = self._model.bundle.manifest
        assert manifest.type is not None  # noqa: S101 - the manifest of a type bundle always has its table
        shares = share_out(self._model.run(radiograph)[0].logits, manifest.labels, manifest.type.temperature)
        best = max(shares, key=shares.__getitem__)
        return RadiographAnalysis(
            decision=Decision.FRACTURE,
            fracture_type=TypePrediction(label=best, confidence=shares[best], probabilities=shares),
            models=(self._model.bundle.identity,),
        )


def load_asked(folder: Path, *, region: str | None = None) -> Asked:
    """Load one bundle, or a folder of bundles as the pipeline; with `region` told, stage 1 is not asked.

    Raises
    ------
    BundleError
        A bundle is refused, or none speaks for `region`.
    """
    if not (folder / MANIFEST).is_file():
        pipeline = Pipeline.load(folder)
        if region is None:
            return WholePipeline(pipeline)
        _check_served(region, pipeline.regions_served, folder)
        return FractureModels(pipeline.fracture_models, region=region)
    model = Model.load(load_bundle(folder), runtime="onnx", threads=2)
    manifest = model.bundle.manifest
    if manifest.task is Task.REGION:
        return WholePipeline(Pipeline(model, (), Scope.load(folder / SCOPE)))
    if manifest.task is Task.TYPE:
        return TypeModel(model)
    if region is not None:
        _check_served(region, [name for answer in manifest.answers for name in answer.regions], folder)
    return FractureModels((model,), region=region)


def look_for_fracture(model: Model, answer: Answer, radiograph: Radiograph) -> RadiographAnalysis:
    """Return the fracture model's answer alone, its heat map whatever its quality."""
    sight = model.look_for(answer.output, radiograph)
    probability = calibrate(sight.logit, answer)
    decision = decide(probability, answer)
    heat = sight.spread(rows=radiograph.rows, columns=radiograph.columns)
    return RadiographAnalysis(
        decision=decision,
        reason=explain_doubt(probability, answer),
        fracture=FracturePrediction(
            probability=probability, sensitive_threshold=answer.sensitive, specific_threshold=answer.specific
        ),
        heatmap=quantise(heat.map),
        rois=() if decision is Decision.NO_FRACTURE else find_rois(heat.map),
        heatmap_peak=heat.peak,
        models=(model.bundle.identity,),
    )


def _check_served(region: str, served: Sequence[str], folder: Path) -> None:
    if region not in served:
        raise BundleError(f"{folder.name} speaks for {', '.join(served)}; {NO_MODEL} {region}")
