"""A region bundle: temperature, scope, and what it reaches, all out of fold."""

from typing import Any

import numpy as np
from scipy.special import softmax

from inference.scope import fit_scope
from inference.types import Float32Array, Task
from models.bundle_writer import Made
from models.calibration import fit_temperature
from models.datasets import REGIONS, Dataset
from models.label_figures import region_figures, scope_figures
from models.pool import name_images
from models.predictions import RegionPredictions
from models.protocol import Trained, keep_outputs

SCOPE_AXES = 64
TOO_FAR, TOO_VAGUE = 0.015, 0.005
"""Shares of out-of-fold limbs that distance and confidence may refuse, 2 % together."""


def make(dataset: Dataset, trained: Trained) -> Made:
    """Turn the answers of all folds into a calibrated model with its scope and figures."""
    regions = np.array([sample.region for sample in dataset.samples])
    known = np.isin(regions, REGIONS)
    unseen, seen = trained.unseen(Task.REGION), trained.seen[Task.REGION]
    label = np.array([REGIONS.index(region) if region in REGIONS else -1 for region in regions])
    temperature = fit_temperature(unseen.logits[known, 0], label[known])
    shares, final = (
        cross_calibrate(unseen.logits[:, 0], label, trained),
        softmax(seen.logits[:, 0] / temperature, axis=1),
    )
    names = np.array(REGIONS)
    predictions = RegionPredictions(
        image=np.array(name_images(dataset.samples)),
        fold=trained.fold,
        cluster=trained.cluster,
        region=regions,
        predicted=names[shares.argmax(axis=1)],
        confidence=shares.max(axis=1),
        distance=measure_scope(trained, known),
        final_region=names[final.argmax(axis=1)],
        final_confidence=final.max(axis=1),
    )
    threshold = float(np.quantile(predictions.distance[known], 1 - TOO_FAR))
    least = float(np.quantile(predictions.confidence[known], TOO_VAGUE))
    figures = region_figures(predictions)
    figures["scope"] = scope_figures(predictions, threshold=threshold, least_confidence=least)
    table = {"temperature": temperature, "scope_threshold": threshold, "least_confidence": least}
    return Made(
        model=keep_outputs(trained.final, trained.recipe, Task.REGION, range(len(REGIONS))),
        scope=fit_scope(seen.embeddings[known], axes=SCOPE_AXES),
        fields={"labels": REGIONS, "region": table},
        figures=figures,
        predictions=predictions,
    )


def cross_calibrate(logits: Float32Array, label: np.ndarray[Any, Any], trained: Trained) -> Float32Array:
    """Return probabilities (samples, classes) by a temperature from the other folds; labels below 0 teach nothing."""
    shares = np.zeros_like(logits)
    for fold in np.unique(trained.fold):
        here = trained.fold == fold
        others = ~here & (label >= 0)
        shares[here] = softmax(logits[here] / fit_temperature(logits[others], label[others]), axis=1)
    return shares


def measure_scope(trained: Trained, known: np.ndarray[Any, Any]) -> Float32Array:
    """Return each sample's distance under the scope of the fold that did not see it."""
    distances = np.zeros(len(known), np.float32)
    for fold in trained.folds:
        scope = fit_scope(fold.seen[Task.REGION], axes=SCOPE_AXES)
        distances[fold.held_out] = scope.distances(fold.answers[Task.REGION].embeddings)
    return distances
