"""The whole pipeline on radiographs it has not been trained on."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inference.pipeline import Pipeline
from inference.types import Decision, Radiograph
from models.calibration import brier_score, expected_calibration_error
from models.datasets import Sample, inseparable_units, read_unit_pixels
from models.evaluation import area_under_curve, bootstrap, share
from models.recipe import Progress


def evaluate_pipeline(bundles: Path, samples: Sequence[Sample], *, progress: Progress) -> dict[str, Any]:
    """Return decisions, region accuracy and fracture figures of the pipeline as it would serve.

    Raises
    ------
    BundleError
        A bundle is refused.
    """
    pipeline = Pipeline.load(bundles)
    analyses = []
    for index in progress(range(len(samples)), "radiographs"):
        pixels = read_unit_pixels(samples[index].path)
        analyses.append(pipeline.analyse(Radiograph(pixels=pixels)))
    clusters = inseparable_units(samples)
    named = np.array(
        [a.region is not None and a.region.region == s.region for a, s in zip(analyses, samples, strict=True)]
    )
    rows = np.array([row for row, analysis in enumerate(analyses) if analysis.fracture is not None])
    probabilities = np.array([a.fracture.probability for a in analyses if a.fracture is not None])
    fractured = np.array([samples[row].fractured for row in rows])
    units = clusters[rows]
    return {
        "radiographs": len(samples),
        "decisions": dict(Counter(analysis.decision.value for analysis in analyses)),
        "outside_scope": sum(a.decision is Decision.NOT_ANALYSED and a.region is None for a in analyses),
        "region_accuracy": bootstrap(lambda at: share(named[at]), len(samples), clusters=clusters),
        "fracture_auc": bootstrap(
            lambda at: area_under_curve(probabilities[at], fractured[at]), len(rows), clusters=units
        ),
        "brier_score": bootstrap(lambda at: brier_score(probabilities[at], fractured[at]), len(rows), clusters=units),
        "expected_calibration_error": round(expected_calibration_error(probabilities, fractured), 4),
    }
