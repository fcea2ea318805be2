"""The hierarchy: the region model names the bone, the model of that bone looks for a fracture."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.bundle import SCOPE, Answer, Bundle, load_bundles
from inference.errors import BundleError
from inference.grad_cam import find_peak, spread_over_source
from inference.preprocessing import Letterbox, prepare
from inference.roi import find_rois
from inference.runtime import Runtime, Scores, load_runtime
from inference.scope import Scope
from inference.types import (
    Decision,
    FracturePrediction,
    ModelIdentity,
    Radiograph,
    RadiographAnalysis,
    RegionPrediction,
    Task,
)

DOUBTFUL_REGION = 0.5
"""Below this confidence the reader is told that the region is in doubt."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A verified bundle and the runtime that runs it."""

    bundle: Bundle
    runtime: Runtime

    @classmethod
    def load(cls, bundle: Bundle, *, runtime: str, threads: int) -> "Model":
        """Load the bundle's model; raises BundleError when it is unusable or answers other outputs than it says."""
        loaded = load_runtime(bundle, runtime=runtime, threads=threads)
        size = bundle.manifest.preprocessing.image_size
        answered = loaded.run(np.zeros((1, size, size, 1), np.float32)).logits.size
        if answered != len(bundle.manifest.labels):
            raise BundleError(f"{bundle.folder.name}: {answered} outputs, {len(bundle.manifest.labels)} labels")
        return cls(bundle=bundle, runtime=loaded)

    def run(self, radiograph: Radiograph) -> tuple[Scores, Letterbox]:
        """Prepare the radiograph as this model wants it, and run the model once."""
        tensor, box = prepare(radiograph, self.bundle.preprocessing)
        return self.runtime.run(tensor), box


class Pipeline:
    """One region model, the fracture models it leads to, and the way from one radiograph to its analysis."""

    def __init__(self, region_model: Model, fracture_models: tuple[Model, ...], scope: Scope) -> None:
        self.region_model = region_model
        self.fracture_models = fracture_models
        self._scope = scope
        self._serving: dict[str, tuple[Model, Answer]] = {}
        for model in fracture_models:
            for answer in model.bundle.manifest.answers:
                for region in answer.regions:
                    self._serve(region, model, answer)

    @classmethod
    def load(cls, bundles: Path, *, runtime: str = "onnx", threads: int = 2) -> "Pipeline":
        """Load and verify every bundle of a folder.

        Raises
        ------
        BundleError
            A bundle is missing, altered or not as its manifest says, or two bundles claim one place.
        ValueError
            No runtime has this name.
        """
        found = load_bundles(bundles)
        regions = [bundle for bundle in found if bundle.manifest.task is Task.REGION]
        if len(regions) != 1:
            raise BundleError(f"{bundles} holds {len(regions)} region bundles; the pipeline needs exactly one")
        models = {bundle.folder: Model.load(bundle, runtime=runtime, threads=threads) for bundle in found}
        fractures = tuple(models[bundle.folder] for bundle in found if bundle.manifest.task is Task.FRACTURE)
        return cls(models[regions[0].folder], fractures, Scope.load(regions[0].folder / SCOPE))

    @property
    def models(self) -> tuple[ModelIdentity, ...]:
        """Every model loaded, the region model first."""
        return (self.region_model.bundle.identity, *(model.bundle.identity for model in self.fracture_models))

    @property
    def regions_served(self) -> tuple[str, ...]:
        """The regions that have a fracture model, in the order of the region model's labels."""
        return tuple(label for label in self.region_model.bundle.manifest.labels if label in self._serving)

    def analyse(self, radiograph: Radiograph) -> RadiographAnalysis:
        """Return everything the models say about one radiograph.

        Raises
        ------
        UnsupportedImageError
            Too small, not two-dimensional, or not finite.
        """
        scores, _ = self.region_model.run(radiograph)
        spoke = (self.region_model.bundle.identity,)
        region = self._name_region(scores)
        if objection := self._objection(scores, region):
            reason = f"outside scope: {objection}"
            return RadiographAnalysis(decision=Decision.NOT_ANALYSED, reason=reason, models=spoke)
        flags = _doubts(region)
        if region.region not in self._serving:
            reason = f"no validated model for region {region.region}"
            return RadiographAnalysis(
                decision=Decision.NOT_ANALYSED, reason=reason, region=region, models=spoke, flags=flags
            )
        return self._look_for_fracture(radiograph, region, flags)

    def name_region(self, radiograph: Radiograph) -> RegionPrediction:
        """Return stage 1's answer alone, whatever the scope."""
        return self._name_region(self.region_model.run(radiograph)[0])

    def scope_distance(self, radiograph: Radiograph) -> float:
        """Return how far the radiograph lies from those the models know; see `inference.scope`."""
        return self._scope.distance(self.region_model.run(radiograph)[0].embedding)

    def find_model(self, region: str) -> tuple[Model, Answer]:
        """Return the fracture model that serves a region, and which of its outputs; KeyError for a region unserved."""
        return self._serving[region]

    def _serve(self, region: str, model: Model, answer: Answer) -> None:
        if region in self._serving:
            other = self._serving[region][0].bundle.folder.name
            raise BundleError(f"{other} and {model.bundle.folder.name} both serve region {region}")
        if region not in self.region_model.bundle.manifest.labels:
            raise BundleError(f"{model.bundle.folder.name} serves {region}, which the region model never names")
        self._serving[region] = (model, answer)

    def _objection(self, scores: Scores, region: RegionPrediction) -> str:
        table = self.region_model.bundle.manifest.region
        assert table is not None  # noqa: S101 - the manifest of a region bundle always has its table
        distance, limit = self._scope.distance(scores.embedding), table.scope_threshold
        if distance > limit:
            return f"not like the limb radiographs the models know (distance {distance:.2f}, limit {limit:.2f})"
        if region.confidence < table.least_confidence:
            return f"no region recognised (at best {region.region} with a confidence of {region.confidence:.0%})"
        return ""

    def _name_region(self, scores: Scores) -> RegionPrediction:
        manifest = self.region_model.bundle.manifest
        assert manifest.region is not None  # noqa: S101 - as above
        scaled = scores.logits.astype(np.float64) / manifest.region.temperature
        shares = np.exp(scaled - scaled.max())
        shares /= shares.sum()
        best = int(shares.argmax())
        return RegionPrediction(
            region=manifest.labels[best],
            confidence=float(shares[best]),
            probabilities={label: float(share) for label, share in zip(manifest.labels, shares, strict=True)},
        )

    def _look_for_fracture(
        self, radiograph: Radiograph, region: RegionPrediction, flags: tuple[str, ...]
    ) -> RadiographAnalysis:
        model, answer = self._serving[region.region]
        scores, box = model.run(radiograph)
        output = model.bundle.manifest.labels.index(answer.output)
        probability = calibrate(float(scores.logits[output]), answer)
        decision = decide(probability, answer)
        cam = scores.cam[..., output]
        heatmap = spread_over_source(cam, box, rows=radiograph.rows, columns=radiograph.columns)
        return RadiographAnalysis(
            decision=decision,
            reason=_explain(decision),
            region=region,
            fracture=FracturePrediction(
                probability=probability, sensitive_threshold=answer.sensitive, specific_threshold=answer.specific
            ),
            heatmap=heatmap,
            rois=() if decision is Decision.NO_FRACTURE else find_rois(heatmap),
            heatmap_peak=find_peak(heatmap),
            models=(self.region_model.bundle.identity, model.bundle.identity),
            flags=flags,
        )


def calibrate(logit: float, answer: Answer) -> float:
    """Return the calibrated probability of a logit (Platt, Advances in Large Margin Classifiers, 1999)."""
    score = answer.slope * logit + answer.intercept
    return 1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score))


def decide(probability: float, answer: Answer) -> Decision:
    """Return the decision by the two operating points."""
    if probability >= answer.specific:
        return Decision.FRACTURE
    return Decision.NO_FRACTURE if probability < answer.sensitive else Decision.UNCERTAIN


def _explain(decision: Decision) -> str:
    return "between the sensitive and the specific operating point" if decision is Decision.UNCERTAIN else ""


def _doubts(region: RegionPrediction) -> tuple[str, ...]:
    if region.confidence >= DOUBTFUL_REGION:
        return ()
    return (f"The region is in doubt: {region.region} with a confidence of {region.confidence:.0%}.",)
