"""The pictures that follow from a bundle's table of predictions: drawn in training, and again by `card --write`."""

from pathlib import Path
from typing import Any

import numpy as np

from inference.types import Decision
from models.evaluation import confusion, share
from models.figures import draw_confusion, draw_precision_recall, draw_reliability, draw_roc
from models.fracture_figures import select_answered
from models.predictions import FracturePredictions, Predictions, RegionPredictions, TypePredictions

DECISIONS = (Decision.FRACTURE, Decision.UNCERTAIN, Decision.NO_FRACTURE)


def draw_table(folder: Path, predictions: Predictions, labels: tuple[str, ...]) -> None:
    """Draw the curves and matrices of predictions on radiographs the models did not see.

    `labels` are those of the manifest.
    """
    if isinstance(predictions, FracturePredictions):
        _draw_fractures(folder, select_answered(predictions))
    elif isinstance(predictions, RegionPredictions):
        _draw_labels(folder, predictions, predictions.region, labels, title="Regions, out of fold")
    elif isinstance(predictions, TypePredictions):
        _draw_labels(folder, predictions, predictions.type, labels, title="Types, out of fold")


def _draw_fractures(folder: Path, answered: FracturePredictions) -> None:
    title = "Fracture, out of fold"
    curves: dict[str, Any] = {
        "probabilities": answered.probability.astype(np.float64),
        "fractured": answered.fractured.astype(float),
    }
    affirmed, flagged = answered.probability >= answered.specific, answered.probability >= answered.sensitive
    draw_roc(
        folder / "roc.png",
        **curves,
        title=title,
        points={
            name: (share(alarm[~answered.fractured]), share(alarm[answered.fractured]))
            for name, alarm in (("sensitive", flagged), ("specific", affirmed))
        },
    )
    draw_precision_recall(folder / "precision_recall.png", **curves, title=title)
    draw_reliability(folder / "reliability.png", **curves, title=title)
    decided = np.where(affirmed, 0, np.where(flagged, 1, 2))
    counts = confusion(decided, np.where(answered.fractured, 0, 1), classes=len(DECISIONS))[:2]
    columns = [decision.value for decision in DECISIONS]
    draw_confusion(folder / "confusion.png", counts, ["fracture", "no fracture"], columns=columns, title=title)


def _draw_labels(
    folder: Path,
    predictions: RegionPredictions | TypePredictions,
    actual: np.ndarray,
    labels: tuple[str, ...],
    *,
    title: str,
) -> None:
    known = np.isin(actual, labels)
    places = {label: place for place, label in enumerate(labels)}
    rows, columns = (
        np.array([places[name] for name in names[known]], np.int64) for names in (actual, predictions.predicted)
    )
    counts = confusion(columns, rows, classes=len(labels))
    draw_confusion(folder / "confusion.png", counts, list(labels), title=title)
    draw_reliability(
        folder / "reliability.png",
        predictions.confidence[known].astype(np.float64),
        rows == columns,
        title=title,
        across="confidence",
        up="share named rightly",
    )
