"""The hierarchy: one model names the region, that of the region looks for a fracture, and one may name its type."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from inference.bundle import SCOPE, Answer, load_bundles
from inference.errors import BundleError
from inference.grad_cam import quantise
from inference.limb import find_limb
from inference.model import Look, Model
from inference.phrases import Phrase
from inference.quality import object_to
from inference.roi import find_rois
from inference.scope import Scope
from inference.sight import Heat
from inference.types import (
    Decision,
    FracturePrediction,
    ModelIdentity,
    Radiograph,
    RadiographAnalysis,
    RegionPrediction,
    Task,
    TypePrediction,
)
from inference.uncertainty import calibrate, compare_views, decide, explain_doubt, share_out


class Pipeline:
    """One region model, the fracture and type models it leads to, and the way from one radiograph to its analysis."""

    def __init__(
        self,
        region_model: Model,
        fracture_models: tuple[Model, ...],
        scope: Scope,
        *,
        type_models: tuple[Model, ...] = (),
    ) -> None:
        self.region_model = region_model
        self.fracture_models = fracture_models
        self.type_models = type_models
        self._scope = scope
        self._serving: dict[str, tuple[Model, Answer]] = {}
        for model in fracture_models:
            for answer in model.bundle.manifest.answers:
                for region in answer.regions:
                    self._claim(region, model, {name: served for name, (served, _) in self._serving.items()})
                    self._serving[region] = (model, answer)
        self._typing: dict[str, Model] = {}
        for model in type_models:
            table = model.bundle.manifest.type
            for region in (table and table.regions) or region_model.bundle.manifest.labels:
                self._claim(region, model, self._typing)
                self._typing[region] = model

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
        fractures, types = (
            tuple(models[bundle.folder] for bundle in found if bundle.manifest.task is task)
            for task in (Task.FRACTURE, Task.TYPE)
        )
        return cls(models[regions[0].folder], fractures, Scope.load(regions[0].folder / SCOPE), type_models=types)

    @property
    def models(self) -> tuple[ModelIdentity, ...]:
        """Every model loaded, in the order in which they would speak."""
        every = (self.region_model, *self.fracture_models, *self.type_models)
        return tuple(model.bundle.identity for model in every)

    @property
    def regions_served(self) -> tuple[str, ...]:
        """The regions that have a fracture model, in the order of the region model's labels."""
        return tuple(label for label in self.region_model.bundle.manifest.labels if label in self._serving)

    def analyse(self, radiograph: Radiograph, *, region: str | None = None) -> RadiographAnalysis:
        """Return everything the models say about one radiograph.

        With `region` the model of that region is asked, whichever stage 1 names; what stage 1 names is still reported.

        Raises
        ------
        UnsupportedImageError
            Too small, not two-dimensional, or not finite.
        """
        look, _ = self.region_model.run(radiograph)
        spoke = (self.region_model.bundle.identity,)
        seen = self._name_region(look)
        distance = self._scope.distance(look.embedding)
        found = RadiographAnalysis(decision=Decision.NOT_ANALYSED, models=spoke, scope_distance=distance)
        if objection := self._objection(look, seen, distance, told=region is not None):
            return replace(found, reason=Phrase("outside scope: {objection}", objection=objection))
        found = replace(found, region=seen, flags=_doubts(seen))
        region = region or seen.region
        if region not in self._serving:
            return replace(found, reason=Phrase("no validated model for region {region}", region=region))
        return self._look_for_fracture(radiograph, region, found)

    def name_region(self, radiograph: Radiograph) -> RegionPrediction:
        """Return stage 1's answer alone, whatever the scope."""
        return self._name_region(self.region_model.run(radiograph)[0])

    def scope_distance(self, radiograph: Radiograph) -> float:
        """Return how far the radiograph lies from those the models know; see `inference.scope`."""
        return self._scope.distance(self.region_model.run(radiograph)[0].embedding)

    def find_model(self, region: str) -> tuple[Model, Answer]:
        """Return the fracture model that serves a region, and which of its outputs; KeyError for a region unserved."""
        return self._serving[region]

    def _claim(self, region: str, model: Model, taken: Mapping[str, Model]) -> None:
        """Raise BundleError where another model of the same stage serves the region, or none can lead to it."""
        if region in taken:
            other = taken[region].bundle.folder.name
            raise BundleError(f"{other} and {model.bundle.folder.name} both serve region {region}")
        if region not in self.region_model.bundle.manifest.labels:
            raise BundleError(f"{model.bundle.folder.name} serves {region}, which the region model never names")

    def _objection(self, look: Look, seen: RegionPrediction, distance: float, *, told: bool) -> str:
        """Return why the radiograph is outside scope, or nothing; a region that was `told` need not be recognised."""
        table = self.region_model.bundle.manifest.region
        assert table is not None  # noqa: S101 - the manifest of a region bundle always has its table
        limit = table.scope_threshold
        if not distance <= limit:  # so that a distance that is no number refuses too
            said = self._scope.explain(look.embedding)
            return Phrase(
                "{said} (distance {distance:.2f}, limit {limit:.2f})", said=said, distance=distance, limit=limit
            )
        if not told and seen.confidence < table.least_confidence:
            return Phrase(
                "no region recognised (at best {region} with a confidence of {confidence:.0%})",
                region=seen.region,
                confidence=seen.confidence,
            )
        return ""

    def _name_region(self, look: Look) -> RegionPrediction:
        manifest = self.region_model.bundle.manifest
        assert manifest.region is not None  # noqa: S101 - as above
        probabilities = share_out(look.logits, manifest.labels, manifest.region.temperature)
        best = max(probabilities, key=probabilities.__getitem__)
        return RegionPrediction(region=best, confidence=probabilities[best], probabilities=probabilities)

    def _look_for_fracture(self, radiograph: Radiograph, region: str, found: RadiographAnalysis) -> RadiographAnalysis:
        """Add to what stage 1 has found what the model of `region` says."""
        model, answer = self._serving[region]
        sight = model.look_for(answer.output, radiograph)
        probability = calibrate(sight.logit, answer)
        decision = decide(probability, answer)
        # Probabilities of types are given that there is a fracture: beside any other decision they would affirm one.
        typing = self._typing.get(region) if decision is Decision.FRACTURE else None
        spoke = (model, typing) if typing else (model,)
        analysis = replace(
            found,
            decision=decision,
            reason=explain_doubt(probability, answer),
            fracture=FracturePrediction(
                probability=probability, sensitive_threshold=answer.sensitive, specific_threshold=answer.specific
            ),
            fracture_type=_name_type(typing, radiograph) if typing else None,
            models=(*found.models, *(one.bundle.identity for one in spoke)),
            flags=(*found.flags, *filter(None, [compare_views(sight.logits, answer)])),
        )
        heat = sight.spread(rows=radiograph.rows, columns=radiograph.columns)
        return _add_heat(analysis, heat, object_to(sight, find_limb(radiograph), model.bundle.manifest.quality))


def _add_heat(analysis: RadiographAnalysis, heat: Heat, objection: str) -> RadiographAnalysis:
    """Add heat map, boxes and peak, or the reason why they are withheld.

    Where no fracture is found and nothing speaks for one, a map without heat is as it should be.
    """
    sound = analysis.decision is Decision.NO_FRACTURE
    if not objection or (sound and not heat.map.any()):
        rois = () if sound else find_rois(heat.map)
        return replace(analysis, heatmap=quantise(heat.map), rois=rois, heatmap_peak=heat.peak)
    return replace(
        analysis, flags=(*analysis.flags, Phrase("The heat map is withheld: {objection}.", objection=objection))
    )


def _name_type(model: Model, radiograph: Radiograph) -> TypePrediction:
    manifest = model.bundle.manifest
    assert manifest.type is not None  # noqa: S101 - the manifest of a type bundle always has its table
    probabilities = share_out(model.run(radiograph)[0].logits, manifest.labels, manifest.type.temperature)
    best = max(probabilities, key=probabilities.__getitem__)
    return TypePrediction(label=best, confidence=probabilities[best], probabilities=probabilities)


def _doubts(region: RegionPrediction) -> tuple[str, ...]:
    if not region.in_doubt:
        return ()
    said = Phrase(
        "The region is in doubt: {region} with a confidence of {confidence:.0%}.",
        region=region.region,
        confidence=region.confidence,
    )
    return (said,)
