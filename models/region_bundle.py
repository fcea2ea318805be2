"""A region bundle: temperature, scope, and what it reaches, all out of fold."""

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from inference.scope import Scope
from inference.types import Float32Array, Task
from models.bundle_writer import Made
from models.calibration import cross_calibrate, fit_temperature
from models.datasets import Dataset
from models.evaluation import Figure, bootstrap, count_share
from models.exported import open_export
from models.label_figures import region_figures, scope_figures
from models.lessons import name_regions
from models.pool import name_images
from models.predictions import RegionPredictions
from models.protocol import SHIFTED, Answers, Trained, keep_outputs
from models.scope_eye import attach_eye, build_eye
from models.scope_fit import Gate, View, embed, fit_gate, gather_outsiders, look, measure_gate
from models.scope_limits import LIMIT, find_least_confidence

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def make(dataset: Dataset, trained: Trained) -> Made:
    """Turn the answers of all folds into a calibrated model with its scope and figures."""
    regions = np.array([sample.region for sample in dataset.samples])
    names = name_regions(dataset)
    known = np.isin(regions, names)
    unseen, seen = trained.unseen(Task.REGION), trained.seen[Task.REGION]
    label = np.array([names.index(region) if region in names else -1 for region in regions])
    temperature = fit_temperature(unseen.both[known], label[known])
    shares = cross_calibrate(unseen.both, label, trained.fold)
    final = softmax(seen.both / temperature, axis=1)
    labels = np.array(names)
    eye = build_eye(trained.recipe)
    scope, gate, distances = set_scope(dataset, trained, known, eye)
    predictions = RegionPredictions(
        image=np.array(name_images(dataset.samples)),
        fold=trained.fold,
        cluster=trained.cluster,
        region=regions,
        predicted=labels[shares.argmax(axis=1)],
        confidence=shares.max(axis=1),
        distance=distances,
        final_region=labels[final.argmax(axis=1)],
        final_confidence=final.max(axis=1),
    )
    least = find_least_confidence(predictions)
    figures = region_figures(predictions, names)
    figures["scope"] = {**scope_figures(predictions, threshold=LIMIT, least_confidence=least), **gate.figures}
    figures["shifted"] = {"accuracy": _accuracy_of_shifted(unseen, label, predictions)}
    table = {"temperature": temperature, "scope_threshold": LIMIT, "least_confidence": least}
    return Made(
        model=attach_eye(keep_outputs(trained.final, trained.recipe, Task.REGION, range(len(names))), eye),
        scope=scope,
        fields={"labels": names, "region": table, "mirrored": True},
        figures=figures,
        predictions=predictions,
    )


def set_scope(
    dataset: Dataset, trained: Trained, known: BoolArray, eye: keras.Model
) -> tuple[Scope, Gate, Float32Array]:
    """Return the scope, what it reaches out of fold, and each sample's distance by a scope that knew it not."""
    answer = open_export(eye)
    outsiders = gather_outsiders(dataset.samples, trained.fold, seed=trained.recipe.seed)
    outside = embed(answer, outsiders.pictures, trained.preprocessing)
    plain, shifted = (
        look(answer, dataset.samples, trained.preprocessing, seed=seed) for seed in (None, trained.recipe.seed)
    )

    def both(chosen: BoolArray) -> Float32Array:
        return np.concatenate([plain[chosen & known], shifted[chosen & known]])

    folds = [(int(number), trained.fold == number) for number in np.unique(trained.fold)]
    views = [View(fold=number, seen=both(~here), unseen=both(here), outside=outside) for number, here in folds]
    gate = measure_gate(views, outsiders)
    distances = np.zeros(len(known), np.float32)
    for number, here in folds:
        distances[here] = gate.scopes[number].distances(plain[here])
    everything = both(np.ones(len(known), bool))
    return fit_gate(everything, outside, outsiders.family, limits=gate.limits), gate, distances


def _accuracy_of_shifted(answers: Answers, label: IntArray, predictions: RegionPredictions) -> Figure:
    """Return the accuracy on the same radiographs made to look as if they came from elsewhere."""
    rows = np.flatnonzero(label >= 0)
    right = answers.logits[rows, SHIFTED].argmax(axis=1) == label[rows]
    return bootstrap(count_share(right), len(rows), clusters=predictions.cluster[rows])
