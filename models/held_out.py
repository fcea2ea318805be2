"""Ask bundles about labelled radiographs, and keep the answers as the tables that figures are computed from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from inference.bundle import MANIFEST, SCOPE, Answer, Bundle, load_bundle
from inference.errors import BundleError, UnsupportedImageError
from inference.grad_cam import find_peak, spread_over_source
from inference.model import Model
from inference.pipeline import Pipeline
from inference.roi import find_rois
from inference.scope import Scope
from inference.types import (
    Decision,
    FracturePrediction,
    ModelIdentity,
    Radiograph,
    RadiographAnalysis,
    Task,
    TypePrediction,
)
from inference.uncertainty import calibrate, decide, explain_doubt, share_out
from models.datasets import Sample, read_unit_pixels
from models.evaluation import IntArray
from models.predictions import FracturePredictions, RegionPredictions, TypePredictions
from models.recipe import Progress

OUTSIDE_SCOPE = "outside scope"
"""Stands for the region of a radiograph that stage 1 refused."""
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
    look, box = model.run(radiograph)
    output = model.bundle.manifest.labels.index(answer.output)
    probability = calibrate(float(look.logits[output]), answer)
    decision = decide(probability, answer)
    heatmap = spread_over_source(look.cam[..., output], box, rows=radiograph.rows, columns=radiograph.columns)
    return RadiographAnalysis(
        decision=decision,
        reason=explain_doubt(probability, answer),
        fracture=FracturePrediction(
            probability=probability, sensitive_threshold=answer.sensitive, specific_threshold=answer.specific
        ),
        heatmap=heatmap,
        rois=() if decision is Decision.NO_FRACTURE else find_rois(heatmap),
        heatmap_peak=find_peak(heatmap),
        models=(model.bundle.identity,),
    )


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Radiographs in order, and what was said about each."""

    samples: tuple[Sample, ...]
    names: tuple[str, ...]
    clusters: IntArray
    analyses: tuple[RadiographAnalysis, ...]
    """Without their heat maps, which would fill the memory."""

    @property
    def models(self) -> tuple[ModelIdentity, ...]:
        """Every model that spoke, once."""
        return tuple(dict.fromkeys(model for analysis in self.analyses for model in analysis.models))


def answer_all(
    asked: Asked, samples: Sequence[Sample], names: Sequence[str], clusters: IntArray, *, progress: Progress
) -> Answers:
    """Show every radiograph once; one that the models do not accept is answered with `not analysed`."""
    analyses = []
    for index in progress(range(len(samples)), "radiographs"):
        radiograph = Radiograph(pixels=read_unit_pixels(samples[index].path))
        try:
            analyses.append(replace(asked.answer(radiograph, samples[index]), heatmap=None))
        except UnsupportedImageError as error:
            analyses.append(RadiographAnalysis(decision=Decision.NOT_ANALYSED, reason=f"not accepted: {error}"))
    return Answers(samples=tuple(samples), names=tuple(names), clusters=clusters, analyses=tuple(analyses))


def tabulate_regions(answers: Answers) -> RegionPredictions:
    """Return stage 1's answers; a radiograph refused counts as named `OUTSIDE_SCOPE`."""
    named = [analysis.region for analysis in answers.analyses]
    predicted = np.array([region.region if region else OUTSIDE_SCOPE for region in named])
    confidence = np.array([region.confidence if region else 0.0 for region in named])
    nothing = np.full(len(named), np.nan)
    return RegionPredictions(
        image=np.array(answers.names),
        fold=np.zeros(len(named), np.int64),
        cluster=answers.clusters,
        region=np.array([sample.region for sample in answers.samples]),
        predicted=predicted,
        confidence=confidence,
        distance=nothing,
        final_region=predicted,
        final_confidence=confidence,
    )


def tabulate_fractures(answers: Answers) -> FracturePredictions:
    """Return stage 2's answers, to all radiographs; where it did not speak, the output is empty."""
    spoke = [analysis.fracture for analysis in answers.analyses]
    peaks = [analysis.heatmap_peak or (-1, -1) for analysis in answers.analyses]
    nothing = np.full(len(spoke), np.nan)
    regions = [
        s.region or (a.region.region if a.region else "")
        for s, a in zip(answers.samples, answers.analyses, strict=True)
    ]
    return FracturePredictions(
        image=np.array(answers.names),
        fold=np.zeros(len(spoke), np.int64),
        cluster=answers.clusters,
        region=np.array(regions),
        fractured=np.array([bool(sample.fractured) for sample in answers.samples]),
        usable=np.array([sample.fractured is not None and not sample.contradicted for sample in answers.samples]),
        output=np.array(["fracture" if found else "" for found in spoke]),
        logit=nothing,
        probability=np.array([found.probability if found else np.nan for found in spoke]),
        sensitive=np.array([found.sensitive_threshold if found else np.nan for found in spoke]),
        specific=np.array([found.specific_threshold if found else np.nan for found in spoke]),
        peak_x=np.array([x for x, _ in peaks]),
        peak_y=np.array([y for _, y in peaks]),
        final_logit=nothing,
    )


def tabulate_types(answers: Answers, labels: Sequence[str]) -> TypePredictions:
    """Return stage 3's answers where it spoke; the data set's classes are the bundle's labels, however spelled."""
    known = {_plain(label): label for label in labels}
    rows = [row for row, analysis in enumerate(answers.analyses) if analysis.fracture_type is not None]
    found = [analysis.fracture_type for analysis in answers.analyses if analysis.fracture_type is not None]
    own = [known.get(_plain(answers.samples[row].label), "") for row in rows]
    ranks = [
        sum(share > one.probabilities[label] for share in one.probabilities.values()) + 1 if label else 0
        for one, label in zip(found, own, strict=True)
    ]
    predicted, confidence = np.array([one.label for one in found], str), np.array([one.confidence for one in found])
    return TypePredictions(
        image=np.array([answers.names[row] for row in rows], str),
        fold=np.zeros(len(rows), np.int64),
        cluster=answers.clusters[rows],
        type=np.array(own, str),
        predicted=predicted,
        confidence=confidence,
        rank=np.array(ranks, np.int64),
        final_type=predicted,
        final_confidence=confidence,
    )


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _check_served(region: str, served: Sequence[str], folder: Path) -> None:
    if region not in served:
        raise BundleError(f"{folder.name} speaks for {', '.join(served)}; {NO_MODEL} {region}")
