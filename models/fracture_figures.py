"""Figures of fracture predictions: the one way they are computed, in training, evaluation and verification."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from models.calibration import CalibrationError, brier_score
from models.conformal import MISCOVERAGE, keep_answers
from models.datasets import REGIONS
from models.evaluation import (
    BoolArray,
    Figure,
    FOne,
    IntArray,
    Share,
    area_under_curve,
    average_precision,
    bootstrap,
    bootstrap_all,
    count_share,
)
from models.predictions import FracturePredictions
from models.region_calibration import calibrate_regions

Box = tuple[float, float, float, float]
Figures = dict[str, Callable[[IntArray], float]]


def fracture_figures(predictions: FracturePredictions, regions: Sequence[str] = REGIONS) -> dict[str, Any]:
    """Return the figures of all answered radiographs together, under `all`, and of each region, under `regions`.

    Radiographs that no output answers, and those whose twins carry the other label, take no part.
    """
    answered = select_answered(predictions)
    return {
        "all": _figures(answered),
        "regions": {region: _figures(answered.select(answered.region == region)) for region in regions},
    }


def select_answered(predictions: FracturePredictions) -> FracturePredictions:
    """Return the rows that figures rest on."""
    return predictions.select(predictions.usable & (predictions.output != ""))


def play_pointing_game(
    predictions: FracturePredictions, boxes: Mapping[str, Sequence[Box]], regions: Sequence[str] = REGIONS
) -> dict[str, Figure]:
    """Return the share of outlined fractures' radiographs whose strongest activation lies in a radiologist's box.

    `boxes` are (x, y, width, height) in pixels of the file, by the name of the image. Under `all`, and under each
    region that has such radiographs (Zhang et al., IJCV 126, 2018).
    """
    answered = select_answered(predictions)
    outlined = np.array([bool(boxes.get(name)) for name in answered.image], bool)
    played = answered.select(answered.fractured & outlined)
    peaks = zip(played.image, played.peak_x, played.peak_y, strict=True)
    hits = np.array([lies_inside((int(x), int(y)), boxes[name]) for name, x, y in peaks], bool)
    places = {"all": np.arange(len(played))} | {name: np.flatnonzero(played.region == name) for name in regions}
    return {
        name: bootstrap(count_share(hits[rows]), len(rows), clusters=played.cluster[rows])
        for name, rows in places.items()
        if name == "all" or rows.size
    }


def lies_inside(peak: tuple[int, int], boxes: Sequence[Box]) -> bool:
    """Tell whether the middle of a pixel lies in one of the boxes; (-1, -1), no peak, lies in none."""
    x, y = peak[0] + 0.5, peak[1] + 0.5
    inside = (left <= x <= left + width and top <= y <= top + height for left, top, width, height in boxes)
    return min(peak) >= 0 and any(inside)


def _figures(rows: FracturePredictions) -> dict[str, Any]:
    fractured, probability = rows.fractured, rows.probability.astype(np.float64)
    flagged, affirmed = rows.probability >= rows.sensitive, rows.probability >= rows.specific
    figures: Figures = {
        "auc": lambda at: area_under_curve(probability[at], fractured[at]),
        "average_precision": lambda at: average_precision(probability[at], fractured[at]),
        **_at_point("sensitive", flagged, fractured),
        **_at_point("specific", affirmed, fractured),
        **coverage_figures(flagged & ~affirmed, affirmed, fractured),
        "brier_score": lambda at: brier_score(probability[at], fractured[at]),
        "expected_calibration_error": CalibrationError(stated=probability, observed=fractured),
    }
    counts = {"radiographs": len(rows), "fractures": int(fractured.sum())}
    return counts | bootstrap_all(figures, len(rows), clusters=rows.cluster)


def _at_point(point: str, alarm: BoolArray, fractured: BoolArray) -> Figures:
    """Return what holds when everything from an operating point on counts as a fracture."""
    figures: Figures = {
        "sensitivity": Share(hits=alarm, among=fractured),
        "specificity": Share(hits=~alarm, among=~fractured),
        "accuracy": count_share(alarm == fractured),
        "precision": Share(hits=fractured, among=alarm),
        "f1": FOne(hits=alarm & fractured, among=alarm | fractured),
    }
    return {f"{name}_at_{point}_point": figure for name, figure in figures.items()}


def coverage_figures(uncertain: BoolArray, affirmed: BoolArray, fractured: BoolArray) -> Figures:
    """Return what the answer `uncertain` is worth. Covered: the answer is right or leaves the question open."""
    covered = uncertain | (affirmed == fractured)
    return {
        "uncertain": count_share(uncertain),
        "fractures_among_uncertain": Share(hits=fractured, among=uncertain),
        "coverage": count_share(covered),
        "accuracy_when_decided": Share(hits=covered, among=~uncertain),
    }


def cross_coverage(predictions: FracturePredictions) -> dict[str, Any]:
    """Return how often conformal limits from the other folds keep the truth or leave it open, of all and by region."""
    predictions = select_answered(predictions)
    keeps_fracture, keeps_none = np.zeros((2, len(predictions)), bool)
    for output in np.unique(predictions.output):
        here = predictions.output == output
        regions = np.unique(predictions.region[here]).tolist()
        for fold in np.unique(predictions.fold[here]):
            others = predictions.select(here & (predictions.fold != fold))
            calibrations = calibrate_regions(others.logit, others.fractured, others.region, regions)
            for region in regions:
                rows = np.flatnonzero(here & (predictions.fold == fold) & (predictions.region == region))
                platt, _, limits = calibrations[region]
                kept = keep_answers(platt.apply(predictions.logit[rows]), limits)
                keeps_fracture[rows], keeps_none[rows] = kept
    fractured = predictions.fractured

    def measure(rows: IntArray) -> dict[str, Figure]:
        return bootstrap_all(
            coverage_of_classes(keeps_fracture[rows], keeps_none[rows], fractured[rows]),
            len(rows),
            clusters=predictions.cluster[rows],
        )

    places = {name: np.flatnonzero(predictions.region == name) for name in REGIONS}
    by_region = {name: measure(rows) for name, rows in places.items() if rows.size}
    return {"promised": 1 - MISCOVERAGE, **measure(np.arange(len(predictions))), "regions": by_region}


def coverage_of_classes(keeps_fracture: BoolArray, keeps_none: BoolArray, fractured: BoolArray) -> Figures:
    """Return how often conformal prediction keeps the truth, of each class, and how often not one answer alone."""
    return {
        "fracture": Share(hits=keeps_fracture, among=fractured),
        "no_fracture": Share(hits=keeps_none, among=~fractured),
        "both": count_share(keeps_fracture & keeps_none),
        "none": count_share(~keeps_fracture & ~keeps_none),
    }
