"""What serving compares its radiographs with: distributions of a bundle's out-of-fold predictions."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from inference.bundle import REFERENCE, SCOPE, Answer, Bundle, Manifest, write_manifest
from inference.drift import Reference, ScoreReference, describe_distribution
from inference.model import Model
from inference.scope import Scope
from inference.types import Float32Array, Radiograph, Task
from models.datasets import Sample, read_unit_pixels
from models.predictions import FracturePredictions, Predictions, RegionPredictions
from models.recipe import Progress

LEAST = 20
"""Fewer radiographs than this have no distribution over ten bins."""


def build_reference(predictions: Predictions, answers: Iterable[Answer]) -> Reference | None:
    """Return the reference that follows from the predictions; None where there is nothing to compare with."""
    if isinstance(predictions, FracturePredictions):
        scores = [score for answer in answers for score in _describe_answer(predictions, answer)]
        return Reference(scores=tuple(scores)) if scores else None
    if isinstance(predictions, RegionPredictions) and len(predictions) >= LEAST:
        distances = predictions.distance[np.isfinite(predictions.distance)]
        regions = dict(sorted(Counter(predictions.predicted.tolist()).items()))
        return Reference(scope_distance=describe_distribution(distances), regions=regions)
    return None


def measure_reference(
    model: Model, samples: Sequence[Sample], *, region: str | None, progress: Progress
) -> Reference | None:
    """Return the reference of a site's own radiographs, as its usual days bring them; None where they are too few.

    `region` is that of all radiographs where the data set names none. Whether they are fractured is not asked.
    """
    manifest = model.bundle.manifest
    steps = progress(range(len(samples)), "radiographs")
    radiographs = (Radiograph(pixels=read_unit_pixels(samples[row].path)) for row in steps)
    if manifest.task is Task.FRACTURE:
        serving = {name: answer for answer in manifest.answers for name in answer.regions}
        logits: dict[Answer, list[float]] = {answer: [] for answer in manifest.answers}
        for sample, radiograph in zip(samples, radiographs, strict=True):
            if answer := serving.get(region or sample.region):
                logits[answer].append(model.look_for(answer.output, radiograph).logit)
        scores = [
            one for answer, said in logits.items() for one in _describe_scores(answer, np.array(said, np.float32))
        ]
        return Reference(scores=tuple(scores)) if scores else None
    looks = [model.run(radiograph)[0] for radiograph in radiographs]
    if manifest.task is not Task.REGION or len(looks) < LEAST:
        return None
    scope = Scope.load(model.bundle.folder / SCOPE)
    distances = scope.distances(np.stack([look.embedding for look in looks]))
    names = Counter(manifest.labels[int(look.logits.argmax())] for look in looks)
    return Reference(scope_distance=describe_distribution(distances), regions=dict(sorted(names.items())))


def write_reference(folder: Path, reference: Reference) -> None:
    """Write `reference.json`; the manifest that names its digest is the caller's to write."""
    (folder / REFERENCE).write_text(reference.model_dump_json(indent=1, exclude_none=True) + "\n", encoding="utf-8")


def add_reference(bundle: Bundle, reference: Reference) -> Manifest:
    """Give a bundle a reference, or another one. No answer changes, and so the version stays."""
    write_reference(bundle.folder, reference)
    kept = bundle.manifest.model_dump(mode="json", exclude_none=True, exclude={"digests"})
    files = dict.fromkeys([*bundle.manifest.digests, REFERENCE])
    return write_manifest(bundle.folder, kept, tuple(files))


def _describe_answer(predictions: FracturePredictions, answer: Answer) -> list[ScoreReference]:
    mine = predictions.usable & (predictions.output == answer.output) & np.isin(predictions.region, answer.regions)
    return _describe_scores(answer, predictions.logit[mine & np.isfinite(predictions.logit)])


def _describe_scores(answer: Answer, logits: Float32Array) -> list[ScoreReference]:
    """Return the distribution of the logits of an answer; nothing where they are too few."""
    if len(logits) < LEAST:
        return []
    return [ScoreReference(output=answer.output, regions=answer.regions, logits=describe_distribution(logits))]
