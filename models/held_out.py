"""What bundles say about labelled radiographs, as the tables that figures are computed from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from inference.errors import UnsupportedImageError
from inference.types import (
    Decision,
    Radiograph,
    RadiographAnalysis,
)
from models.asking import Asked
from models.datasets import Sample, read_unit_pixels
from models.evaluation import IntArray
from models.predictions import FracturePredictions, RegionPredictions, TypePredictions
from models.recipe import Progress

OUTSIDE_SCOPE = "outside scope"
"""Stands for the region of a radiograph that stage 1 refused."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Radiographs in order, and what was said about each."""

    samples: tuple[Sample, ...]
    names: tuple[str, ...]
    clusters: IntArray
    analyses: tuple[RadiographAnalysis, ...]
    """Without their heat maps, which would fill the memory."""


def answer_all(
    asked: Asked, samples: Sequence[Sample], names: Sequence[str], clusters: IntArray, *, progress: Progress
) -> Answers:
    """Show every radiograph once; one that the models do not accept is answered with `not analysed`."""
    analyses = []
    for index in progress(range(len(samples)), "radiographs"):
        radiograph = Radiograph(pixels=read_unit_pixels(samples[index].path))
        try:
            analyses.append(replace(asked.answer(radiograph, samples[index]), heatmap=None))
        except UnsupportedImageError as error:
            analyses.append(RadiographAnalysis(decision=Decision.NOT_ANALYSED, reason=f"not accepted: {error}"))
    return Answers(samples=tuple(samples), names=tuple(names), clusters=clusters, analyses=tuple(analyses))


def tabulate_regions(answers: Answers) -> RegionPredictions:
    """Return stage 1's answers; a radiograph refused counts as named `OUTSIDE_SCOPE`."""
    named = [analysis.region for analysis in answers.analyses]
    predicted = np.array([region.region if region else OUTSIDE_SCOPE for region in named])
    confidence = np.array([region.confidence if region else 0.0 for region in named])
    nothing = np.full(len(named), np.nan)
    return RegionPredictions(
        image=np.array(answers.names),
        fold=np.zeros(len(named), np.int64),
        cluster=answers.clusters,
        region=np.array([sample.region for sample in answers.samples]),
        predicted=predicted,
        confidence=confidence,
        distance=nothing,
        final_region=predicted,
        final_confidence=confidence,
    )


def tabulate_fractures(answers: Answers) -> FracturePredictions:
    """Return stage 2's answers, to all radiographs; where it did not speak, the output is empty."""
    spoke = [analysis.fracture for analysis in answers.analyses]
    peaks = [analysis.heatmap_peak or (-1, -1) for analysis in answers.analyses]
    nothing = np.full(len(spoke), np.nan)
    regions = [
        s.region or (a.region.region if a.region else "")
        for s, a in zip(answers.samples, answers.analyses, strict=True)
    ]
    return FracturePredictions(
        image=np.array(answers.names),
        fold=np.zeros(len(spoke), np.int64),
        cluster=answers.clusters,
        region=np.array(regions),
        fractured=np.array([bool(sample.fractured) for sample in answers.samples]),
        usable=np.array([sample.fractured is not None and not sample.contradicted for sample in answers.samples]),
        output=np.array(["fracture" if found else "" for found in spoke]),
        logit=nothing,
        probability=np.array([found.probability if found else np.nan for found in spoke]),
        sensitive=np.array([found.sensitive_threshold if found else np.nan for found in spoke]),
        specific=np.array([found.specific_threshold if found else np.nan for found in spoke]),
        peak_x=np.array([x for x, _ in peaks]),
        peak_y=np.array([y for _, y in peaks]),
        final_logit=nothing,
    )


def tabulate_types(answers: Answers, labels: Sequence[str]) -> TypePredictions:
    """Return stage 3's answers where it spoke; the data set's classes are the bundle's labels, however spelled.

    A radiograph whose twin carries another label has no type of its own.
    """
    rows = [row for row, analysis in enumerate(answers.analyses) if analysis.fracture_type is not None]
    found = [analysis.fracture_type for analysis in answers.analyses if analysis.fracture_type is not None]
    own = name_types([answers.samples[row] for row in rows], labels)
    ranks = [
        sum(share > one.probabilities[label] for share in one.probabilities.values()) + 1 if label else 0
        for one, label in zip(found, own, strict=True)
    ]
    predicted, confidence = np.array([one.label for one in found], str), np.array([one.confidence for one in found])
    return TypePredictions(
        image=np.array([answers.names[row] for row in rows], str),
        fold=np.zeros(len(rows), np.int64),
        cluster=answers.clusters[rows],
        type=np.array(own, str),
        predicted=predicted,
        confidence=confidence,
        rank=np.array(ranks, np.int64),
        final_type=predicted,
        final_confidence=confidence,
    )


def name_types(samples: Sequence[Sample], labels: Sequence[str]) -> list[str]:
    """Return which of a bundle's labels each sample's class is, however spelled; empty where none or contradicted."""
    known = {_plain(label): label for label in labels}
    return ["" if one.contradicted else known.get(_plain(one.label), "") for one in samples]


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
