"""Figures of predictions that name one of several labels: a region or a type."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from models.calibration import CalibrationError
from models.datasets import REGIONS
from models.evaluation import (
    BoolArray,
    Figure,
    FOne,
    IntArray,
    Share,
    bootstrap,
    bootstrap_all,
    confusion,
    count_share,
    share,
)
from models.predictions import NumberColumn, Predictions, RegionPredictions, TextColumn, TypePredictions

TOP = 3
"""Beside the accuracy: how often the radiograph's own type is among so many of the most probable."""


def region_figures(predictions: RegionPredictions, regions: Sequence[str] = REGIONS) -> dict[str, Any]:
    """Return the figures over radiographs whose own region is one of `regions`; those of each under `regions`."""
    figures = _figures(predictions, predictions.region, predictions.predicted, predictions.confidence, regions)
    figures["regions"] = figures.pop("labels")
    return figures


def type_figures(predictions: TypePredictions, types: Sequence[str]) -> dict[str, Any]:
    """Return the figures over radiographs whose own type is one of `types`; those of each under `types`."""
    figures = _figures(predictions, predictions.type, predictions.predicted, predictions.confidence, types)
    figures["types"] = figures.pop("labels")
    known = predictions.select(np.isin(predictions.type, types))
    near = (known.rank >= 1) & (known.rank <= TOP)
    figures[f"top_{TOP}_accuracy"] = bootstrap(count_share(near), len(near), clusters=known.cluster)
    return figures


def scope_figures(
    predictions: RegionPredictions, *, threshold: float, least_confidence: float, regions: Sequence[str] = REGIONS
) -> dict[str, float | Figure]:
    """Return the scope's two limits, and the share of radiographs they refuse, in named regions and in others."""
    refused = (predictions.distance > threshold) | (predictions.confidence < least_confidence)
    named = np.isin(predictions.region, regions)
    figures = {
        "refused_of_named_regions": Share(hits=refused, among=named),
        "refused_of_other_regions": Share(hits=refused, among=~named),
    }
    return {
        "threshold": round(threshold, 4),
        "least_confidence": round(least_confidence, 4),
        **bootstrap_all(figures, len(predictions), clusters=predictions.cluster),
    }


def _figures(
    predictions: Predictions, actual: TextColumn, predicted: TextColumn, confidence: NumberColumn, labels: Sequence[str]
) -> dict[str, Any]:
    known = np.isin(actual, labels)
    actual, predicted, shares = actual[known], predicted[known], confidence[known].astype(np.float64)
    right = actual == predicted
    is_actual, is_predicted = (np.array([names == label for label in labels]) for names in (actual, predicted))
    figures: dict[str, Callable[[IntArray], float]] = {
        "accuracy": count_share(right),
        "macro_f1": lambda at: _macro_f1(is_actual[:, at], is_predicted[:, at]),
        "expected_calibration_error": CalibrationError(stated=shares, observed=right),
    }
    for index, label in enumerate(labels):
        figures |= _of_one(label, is_actual[index], is_predicted[index])
    found = bootstrap_all(figures, len(right), clusters=predictions.cluster[known])
    apart = {
        label: {"radiographs": int(is_actual[index].sum())}
        | {name: found.pop(f"{name} {label}") for name in ("recall", "precision", "f1")}
        for index, label in enumerate(labels)
    }
    # A label that the model names and the data set does not know has a column of its own.
    used = {*labels, *predicted.tolist()}
    columns = [name for name in dict.fromkeys([*REGIONS, *labels, *sorted(used)]) if name in used]
    places = {label: place for place, label in enumerate(columns)}
    table = confusion(
        np.array([places[name] for name in predicted], np.int64),
        np.array([places[name] for name in actual], np.int64),
        classes=len(columns),
    )
    return {
        "radiographs": len(right),
        **found,
        "mean_confidence": round(share(shares), 4) if len(shares) else None,
        "labels": apart,
        "confusion": {"labels": columns, "rows_are_actual": table},
    }


def _of_one(label: str, is_actual: BoolArray, is_predicted: BoolArray) -> dict[str, Callable[[IntArray], float]]:
    return {
        f"recall {label}": Share(hits=is_predicted, among=is_actual),
        f"precision {label}": Share(hits=is_actual, among=is_predicted),
        f"f1 {label}": FOne(hits=is_actual & is_predicted, among=is_actual | is_predicted),
    }


def _macro_f1(is_actual: BoolArray, is_predicted: BoolArray) -> float:
    """Return the mean F1 over the labels that occur."""
    occurring = is_actual.any(axis=1)
    right, said = (is_actual & is_predicted).sum(axis=1), is_actual.sum(axis=1) + is_predicted.sum(axis=1)
    return share(2 * right[occurring] / said[occurring])
