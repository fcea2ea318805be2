"""What serving compares its radiographs with: distributions of a bundle's out-of-fold predictions."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from inference.bundle import REFERENCE, Answer, Bundle, Manifest, write_manifest
from inference.drift import Reference, ScoreReference, describe_distribution
from models.predictions import FracturePredictions, Predictions, RegionPredictions

LEAST = 20
"""Fewer radiographs than this have no distribution over ten bins."""


def build_reference(predictions: Predictions, answers: Iterable[Answer]) -> Reference | None:
    """Return the reference that follows from the predictions; None where there is nothing to compare with."""
    if isinstance(predictions, FracturePredictions):
        scores = [score for answer in answers if (score := _describe_answer(predictions, answer)) is not None]
        return Reference(scores=tuple(scores)) if scores else None
    if isinstance(predictions, RegionPredictions) and len(predictions) >= LEAST:
        distances = predictions.distance[np.isfinite(predictions.distance)]
        regions = dict(sorted(Counter(predictions.predicted.tolist()).items()))
        return Reference(scope_distance=describe_distribution(distances), regions=regions)
    return None


def write_reference(folder: Path, reference: Reference) -> None:
    """Write `reference.json`; the manifest that names its digest is the caller's to write."""
    (folder / REFERENCE).write_text(reference.model_dump_json(indent=1, exclude_none=True) + "\n", encoding="utf-8")


def add_reference(bundle: Bundle, reference: Reference) -> Manifest:
    """Add a reference to a bundle that was written without one. No answer changes, and so the version stays."""
    write_reference(bundle.folder, reference)
    kept = bundle.manifest.model_dump(mode="json", exclude_none=True, exclude={"digests"})
    files = dict.fromkeys([*bundle.manifest.digests, REFERENCE])
    return write_manifest(bundle.folder, kept, tuple(files))


def _describe_answer(predictions: FracturePredictions, answer: Answer) -> ScoreReference | None:
    mine = predictions.usable & (predictions.output == answer.output) & np.isin(predictions.region, answer.regions)
    logits = predictions.logit[mine & np.isfinite(predictions.logit)]
    if len(logits) < LEAST:
        return None
    return ScoreReference(output=answer.output, regions=answer.regions, logits=describe_distribution(logits))
