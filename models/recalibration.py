"""Fit a bundle's calibration to a site's own radiographs; the weights, and with them the ranking, stay."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from inference.bundle import Answer, RegionTable, TypeTable
from inference.model import Model
from inference.types import Float32Array, Radiograph, Task
from inference.uncertainty import share_out
from models.calibration import (
    Platt,
    brier_score,
    choose_operating_points,
    expected_calibration_error,
    fit_platt,
    fit_temperature,
)
from models.conformal import fit_conformal
from models.datasets import DatasetError, Sample, assign_folds, inseparable_units, read_unit_pixels
from models.evaluation import BoolArray, FloatArray, IntArray, bootstrap_all
from models.recipe import Progress

LEAST_FRACTURES = 20
"""At a sensitivity of 0.95 one in twenty may be missed; fewer fractures could not show it. As many without."""
LEAST_LABELLED = 50
"""Radiographs for a temperature."""
FOLDS = 5
SEED = 2026


class TooFewError(Exception):
    """Too few radiographs to fit a calibration; the message says how many there are and how many it takes."""


def recalibrate(
    model: Model, samples: Sequence[Sample], *, region: str | None, progress: Progress
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the manifest's fields that change, and what `metrics.json` says of it under `calibration`.

    `region` is that of all radiographs where the data set names none. The figures before and after are those of the
    site's radiographs; those after are cross-fitted, from calibrations that did not see the radiograph.

    Raises
    ------
    TooFewError
        Too few radiographs, with or without a fracture.
    """
    manifest = model.bundle.manifest
    usable = [sample for sample in samples if not sample.contradicted]
    if manifest.task is Task.FRACTURE:
        usable = [sample for sample in usable if sample.fractured is not None]
        return _recalibrate_answers(model, usable, [region or sample.region for sample in usable], progress)
    labels = [sample.region if manifest.task is Task.REGION else sample.label for sample in usable]
    kept = [row for row, label in enumerate(labels) if label in manifest.labels]
    table = manifest.region or manifest.type
    assert table is not None  # noqa: S101 - one of the two kinds that name labels
    return _recalibrate_labels(model, table, [usable[row] for row in kept], [labels[row] for row in kept], progress)


def _recalibrate_answers(
    model: Model, samples: Sequence[Sample], regions: Sequence[str], progress: Progress
) -> tuple[dict[str, Any], dict[str, Any]]:
    manifest = model.bundle.manifest
    rows = [np.flatnonzero(np.isin(np.array(regions, str), answer.regions)) for answer in manifest.answers]
    fractured = np.array([bool(sample.fractured) for sample in samples], bool)
    enough = [min(fractured[at].sum(), (~fractured[at]).sum()) >= LEAST_FRACTURES for at in rows]
    if not any(enough):
        counts = "; ".join(
            f"{', '.join(answer.regions)}: {fractured[at].sum()} and {(~fractured[at]).sum()}"
            for answer, at in zip(manifest.answers, rows, strict=True)
        )
        raise TooFewError(
            f"a calibration takes {LEAST_FRACTURES} radiographs with a fracture and {LEAST_FRACTURES} without, "
            f"of the regions that share it; found {counts}"
        )
    logits = _ask_all(model, samples, progress)
    answers, told = [], []
    for answer, at, fit in zip(manifest.answers, rows, enough, strict=True):
        one = {"output": answer.output, "regions": list(answer.regions), "fitted": bool(fit)}
        one |= {"radiographs": len(at), "fractures": int(fractured[at].sum())}
        if fit:
            chosen = [samples[row] for row in at.tolist()]
            column = logits[at, manifest.labels.index(answer.output)].astype(np.float64)
            one |= _judge_platt(answer, column, fractured[at], chosen)
            answer = _fit_answer(answer, column, fractured[at])  # noqa: PLW2901 - the refitted one takes its place
        answers.append(answer.model_dump(mode="json", exclude_none=True))
        told.append(one)
    return {"answers": answers}, {"answers": told}


def _fit_answer(answer: Answer, logits: FloatArray, fractured: BoolArray) -> Answer:
    """Return the answer with calibration, operating points and, where it had them, conformal limits fitted anew."""
    platt = fit_platt(logits, fractured)
    probabilities = platt.apply(logits)
    points = choose_operating_points(probabilities, fractured)
    fields = answer.model_dump() | platt._asdict() | points._asdict()
    if answer.coverage is not None:
        fields |= fit_conformal(probabilities, fractured, miscoverage=1 - answer.coverage)._asdict()
    return Answer.model_validate(fields)


def _judge_platt(answer: Answer, logits: FloatArray, fractured: BoolArray, samples: Sequence[Sample]) -> dict[str, Any]:
    before = Platt(slope=answer.slope, intercept=answer.intercept).apply(logits)
    after = np.zeros(len(logits))
    for here in _each_fold(samples):
        after[here] = fit_platt(logits[~here], fractured[~here]).apply(logits[here])
    return _figures(before, after, fractured, inseparable_units(samples))


def _recalibrate_labels(
    model: Model,
    table: RegionTable | TypeTable,
    samples: Sequence[Sample],
    labels: Sequence[str],
    progress: Progress,
) -> tuple[dict[str, Any], dict[str, Any]]:
    names = model.bundle.manifest.labels
    if len(samples) < LEAST_LABELLED:
        raise TooFewError(f"a temperature takes {LEAST_LABELLED} radiographs of its labels; found {len(samples)}")
    logits, number = _ask_all(model, samples, progress), np.array([names.index(label) for label in labels])
    temperature = fit_temperature(logits, number)
    before = _confidence(logits, names, table.temperature)
    after = np.zeros(len(samples))
    for here in _each_fold(samples):
        after[here] = _confidence(logits[here], names, fit_temperature(logits[~here], number[~here]))
    told = {"radiographs": len(samples), "temperature": temperature}
    told |= _figures(before, after, logits.argmax(axis=1) == number, inseparable_units(samples))
    task = model.bundle.manifest.task.value
    return {task: table.model_dump(mode="json") | {"temperature": temperature}}, told


def _figures(before: FloatArray, after: FloatArray, right: BoolArray, clusters: IntArray) -> dict[str, Any]:
    """Return Brier score and calibration error of the calibration as it was, and of one fitted to other radiographs."""
    found = {}
    for when, stated in (("before", before), ("after", after)):
        figures = {
            "brier_score": lambda at, stated=stated: brier_score(stated[at], right[at]),
            "expected_calibration_error": lambda at, stated=stated: expected_calibration_error(stated[at], right[at]),
        }
        found[when] = bootstrap_all(figures, len(right), clusters=clusters)
    return found


def _each_fold(samples: Sequence[Sample]) -> list[BoolArray]:
    try:
        folds = assign_folds(samples, folds=FOLDS, seed=SEED)
    except DatasetError as error:
        raise TooFewError(str(error)) from error
    return [folds == fold for fold in range(FOLDS)]


def _ask_all(model: Model, samples: Sequence[Sample], progress: Progress) -> Float32Array:
    steps = progress(range(len(samples)), "radiographs")
    pixels = (Radiograph(pixels=read_unit_pixels(samples[row].path)) for row in steps)
    return np.stack([model.run(radiograph)[0].logits for radiograph in pixels])


def _confidence(logits: Float32Array, names: Sequence[str], temperature: float) -> FloatArray:
    return np.array([max(share_out(row, names, temperature).values()) for row in logits])
