"""What out-of-fold answers are worth beside the probabilities: where maps point, what is withheld."""

import numpy as np
from numpy.typing import NDArray

from inference.bundle import QualityLimits
from inference.grad_cam import find_peak, spread_over_source
from inference.preprocessing import Letterbox
from inference.quality import measure_quality
from inference.types import Float32Array, Radiograph
from models.datasets import Sample, read_unit_pixels
from models.evaluation import Figure, Share, bootstrap_all
from models.fracture_figures import lies_inside
from models.predictions import FracturePredictions
from models.protocol import Answers

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
    maps = answers.cams.mean(axis=1)
    for row, sample in enumerate(samples):
        if output := predictions.output[row]:
            peaks[row] = find_source_peak(maps[row, ..., outputs.index(output)], sample, size=size) or (-1, -1)
    return peaks


def find_source_peak(cam: Float32Array, sample: Sample, *, size: int) -> tuple[int, int] | None:
    """Return (x, y) of the strongest activation in pixels of the sample's file, None for a map without heat."""
    radiograph = Radiograph(pixels=read_unit_pixels(sample.path))
    box = Letterbox.around(radiograph, size=size)
    return find_peak(spread_over_source(cam, box, rows=radiograph.rows, columns=radiograph.columns))


def judge_maps(
    predictions: FracturePredictions, samples: tuple[Sample, ...], answers: Answers, outputs: tuple[str, ...]
) -> dict[str, Figure]:
    """Return the shares of outlined fractures' heat maps that the quality gate withholds, peak in a box or not."""
    limits = QualityLimits()
    hits, withheld = np.zeros((2, len(samples)), bool)
    outlined = np.array([bool(sample.boxes) for sample in samples], bool)
    played = predictions.usable & predictions.fractured & (predictions.output != "") & outlined
    for row in np.flatnonzero(played):
        cams = answers.cams[row, ..., outputs.index(predictions.output[row])]
        radiograph = Radiograph(pixels=read_unit_pixels(samples[row].path))
        hits[row] = lies_inside((int(predictions.peak_x[row]), int(predictions.peak_y[row])), samples[row].boxes)
        withheld[row] = bool(measure_quality(cams, radiograph).objection(limits))
    figures = {
        "withheld_hits": Share(hits=withheld, among=played & hits),
        "withheld_misses": Share(hits=withheld, among=played & ~hits),
    }
    return bootstrap_all(figures, len(samples), clusters=predictions.cluster)
