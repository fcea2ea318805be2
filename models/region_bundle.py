"""Make a region bundle: cross-validate, set temperature and scope, train on everything, write it all down."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from inference.scope import Scope, fit_scope
from inference.types import Float32Array
from models.calibration import fit_temperature
from models.datasets import REGIONS, Dataset, inseparable_units
from models.evaluation import bootstrap, confusion, share
from models.protocol import Experiment, Fold, gather_held_out
from models.recipe import Progress, Recipe
from models.training import UNKNOWN

IntArray = NDArray[np.int64]

SCOPE_AXES = 64
TOO_FAR, TOO_VAGUE = 0.015, 0.005
"""Shares of out-of-fold limbs that distance and confidence may refuse, 2 % together."""


def build_targets(dataset: Dataset) -> Float32Array:
    """Return targets (samples, regions); a sample of a region that is not named has none."""
    targets = np.full((len(dataset.samples), len(REGIONS)), UNKNOWN, np.float32)
    for row, sample in enumerate(dataset.samples):
        if sample.region in REGIONS:
            targets[row] = [sample.region == region for region in REGIONS]
    return targets


def make(
    dataset: Dataset, recipe: Recipe, folds: IntArray, *, progress: Progress, store: Path | None
) -> tuple[keras.Model, Scope, dict[str, Any], dict[str, Any]]:
    """Return the model, its scope, the manifest's fields, and the figures."""
    targets = build_targets(dataset)
    known = targets[:, 0] != UNKNOWN
    experiment = Experiment(dataset.samples, targets, recipe, exclusive=True, progress=progress, store=store)
    answered = list(experiment.cross_validate(folds))
    distances = measure_scope(answered, known)
    logits, _ = gather_held_out(answered)
    temperature = fit_temperature(logits[known], targets[known].argmax(axis=1))
    confidence = softmax(logits / temperature, axis=1).max(axis=1)
    threshold = float(np.quantile(distances[known], 1 - TOO_FAR))
    least = float(np.quantile(confidence[known], TOO_VAGUE))
    refused = (distances > threshold) | (confidence < least)
    figures = report(dataset, targets, logits, known, folds)
    figures["scope"] = {
        "threshold": round(threshold, 4),
        "least_confidence": round(least, 4),
        "refused_of_named_regions": round(float(refused[known].mean()), 4),
        "refused_of_other_regions": round(float(refused[~known].mean()), 4) if (~known).any() else 0.0,
    }
    model = experiment.train(known)
    scope = fit_scope(experiment.answer(model).embeddings[known], axes=SCOPE_AXES)
    table = {"temperature": temperature, "scope_threshold": threshold, "least_confidence": least}
    return model, scope, {"labels": REGIONS, "region": table}, figures


def measure_scope(folds: list[Fold], known: NDArray[np.bool_]) -> Float32Array:
    """Return each sample's distance under the scope of the fold that did not see it."""
    distances = np.zeros(len(known), np.float32)
    for fold in folds:
        scope = fit_scope(fold.answers.embeddings[known & ~fold.held_out], axes=SCOPE_AXES)
        distances[fold.held_out] = scope.distances(fold.answers.embeddings[fold.held_out])
    return distances


def report(
    dataset: Dataset, targets: Float32Array, logits: Float32Array, known: NDArray[np.bool_], folds: IntArray
) -> dict[str, Any]:
    """Return accuracy, recall of every region, calibration, and the confusion matrix, out of fold."""
    rows = np.flatnonzero(known)
    actual, predicted = targets[rows].argmax(axis=1), logits[rows].argmax(axis=1)
    clusters = inseparable_units(dataset.samples)[rows]
    right = actual == predicted
    recall = {}
    for index, region in enumerate(REGIONS):
        here = np.flatnonzero(actual == index)
        correct = right[here]
        found = bootstrap(lambda at, correct=correct: share(correct[at]), len(here), clusters=clusters[here])  # type: ignore[misc]  # a bound default
        recall[region] = {"radiographs": len(here), "recall": found}
    confidence = _cross_fitted_confidence(logits[rows], actual, folds[rows])
    return {
        "radiographs": len(rows),
        "accuracy": bootstrap(lambda at: share(right[at]), len(rows), clusters=clusters),
        "mean_confidence": round(float(confidence.mean()), 4),
        "regions": recall,
        "confusion": {"labels": list(REGIONS), "rows_are_actual": confusion(predicted, actual, classes=len(REGIONS))},
    }


def _cross_fitted_confidence(logits: Float32Array, actual: IntArray, folds: IntArray) -> NDArray[np.float64]:
    confidence = np.zeros(len(logits))
    for fold in np.unique(folds):
        here = folds == fold
        temperature = fit_temperature(logits[~here], actual[~here])
        confidence[here] = softmax(logits[here] / temperature, axis=1).max(axis=1)
    return confidence
