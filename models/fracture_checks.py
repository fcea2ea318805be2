"""What out-of-fold answers are worth beside the probabilities: where maps point, what is withheld."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inference.bundle import QualityLimits
from inference.limb import find_limb
from inference.preprocessing import Exposed, Letterbox
from inference.quality import object_to
from inference.sight import Sight
from inference.types import Radiograph
from models.datasets import Sample, read_unit_pixels
from models.evaluation import Figure, Share, bootstrap_all
from models.fracture_figures import lies_inside
from models.predictions import FracturePredictions
from models.protocol import MIRRORED, PLAIN, Answers

IntArray = NDArray[np.int64]


def find_peaks(
    predictions: FracturePredictions,
    samples: tuple[Sample, ...],
    answers: Answers,
    outputs: tuple[str, ...],
    *,
    size: int,
) -> IntArray:
    """Return (x, y) of every sample's strongest activation in pixels of its file, shape (samples, 2); -1 without."""
    peaks = np.full((len(samples), 2), -1)
    for row, sample in enumerate(samples):
        if output := predictions.output[row]:
            radiograph = Radiograph(pixels=read_unit_pixels(sample.path))
            sight = recall_sight(answers, row, outputs.index(output), radiograph, size=size)
            peaks[row] = sight.spread(rows=radiograph.rows, columns=radiograph.columns).peak or (-1, -1)
    return peaks


def recall_sight(answers: Answers, row: int, output: int, radiograph: Radiograph, *, size: int) -> Sight:
    """Return what an output said of a sample, as serving has it of that radiograph."""
    first = Sight(
        logits=answers.logits[row, [PLAIN, MIRRORED], output],
        cams=answers.first_cams[row, ..., output],
        box=Letterbox.around(radiograph, size=size),
    )
    part = answers.parts[row, output]
    if not part.any():
        return first
    closer = Letterbox.fit(Exposed(*part.tolist()), pixel_aspect=radiograph.pixel_aspect, size=size)
    return replace(first, cams=answers.cams[row, ..., output], box=closer, first=first)


def judge_maps(
    predictions: FracturePredictions,
    samples: tuple[Sample, ...],
    answers: Answers,
    outputs: tuple[str, ...],
    *,
    size: int,
) -> dict[str, Figure]:
    """Return the shares of outlined fractures' heat maps that the quality gate withholds, peak in a box or not."""
    limits = QualityLimits()
    hits, withheld = np.zeros((2, len(samples)), bool)
    outlined = np.array([bool(sample.boxes) for sample in samples], bool)
    played = predictions.usable & predictions.fractured & (predictions.output != "") & outlined
    for row in np.flatnonzero(played).tolist():
        radiograph = Radiograph(pixels=read_unit_pixels(samples[row].path))
        sight = recall_sight(answers, row, outputs.index(predictions.output[row]), radiograph, size=size)
        hits[row] = lies_inside((int(predictions.peak_x[row]), int(predictions.peak_y[row])), samples[row].boxes)
        withheld[row] = bool(object_to(sight, find_limb(radiograph), limits))
    figures = {
        "withheld_hits": Share(hits=withheld, among=played & hits),
        "withheld_misses": Share(hits=withheld, among=played & ~hits),
    }
    return bootstrap_all(figures, len(samples), clusters=predictions.cluster)
