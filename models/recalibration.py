"""Fit a bundle's calibration to a site's own radiographs; the weights, and with them the ranking, stay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.bundle import Answer, RegionTable, TypeTable
from inference.model import Model
from inference.types import Float32Array, Radiograph, Task
from inference.uncertainty import share_out
from models.calibration import CalibrationError, Platt, brier_score, fit_temperature
from models.conformal import MISCOVERAGE
from models.datasets import DatasetError, Sample, assign_folds, inseparable_units, read_unit_pixels
from models.evaluation import BoolArray, FloatArray, IntArray, bootstrap_all
from models.held_out import name_types
from models.recipe import Progress
from models.region_calibration import RegionCalibration, calibrate_regions

TextArray = NDArray[np.str_]

LEAST_FRACTURES = 20
"""At a sensitivity of 0.95 one in twenty may be missed; fewer fractures could not show it. As many without."""
LEAST_LABELLED = 50
"""Radiographs for a temperature."""
FOLDS = 5
SEED = 2026


class CannotCalibrateError(Exception):
    """The radiographs give no calibration; the message says why."""


class TooFewError(CannotCalibrateError):
    """Too few radiographs to fit a calibration; the message says how many there are and how many it takes."""


class ReversedError(CannotCalibrateError):
    """Where the model sees more of a fracture there are fewer: no calibration that keeps the ranking fits that."""


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
    ReversedError
        The model's scores say the reverse of the labels.
    """
    manifest = model.bundle.manifest
    usable = [sample for sample in samples if not sample.contradicted]
    if manifest.task is Task.FRACTURE:
        usable = [sample for sample in usable if sample.fractured is not None]
        return _recalibrate_answers(model, usable, [region or sample.region for sample in usable], progress)
    labels = [one.region for one in usable] if manifest.task is Task.REGION else name_types(usable, manifest.labels)
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
        raise TooFewError(_tell_too_few(manifest.answers, rows, fractured))
    fitted = {place: rows[place] for place in np.flatnonzero(enough).tolist()}
    site = _ask_site(model, samples, fitted, progress)
    found, after = site.calibrate(np.ones(len(samples), bool)), _cross_calibrate(site, samples)
    clusters = inseparable_units(samples)
    answers, told = [], []
    for place, (answer, at) in enumerate(zip(manifest.answers, rows, strict=True)):
        one = {"output": answer.output, "regions": list(answer.regions), "fitted": place in fitted}
        one |= {"radiographs": len(at), "fractures": int(fractured[at].sum())}
        if place in fitted:
            before = Platt(slope=answer.slope, intercept=answer.intercept).apply(site.logits[at])
            one |= _figures(before, after[at], fractured[at], clusters[at])
            answer = _refit(answer, found[str(place)])  # noqa: PLW2901 - the refitted one takes its place
        answers.append(answer.model_dump(mode="json", exclude_none=True))
        told.append(one)
    return {"answers": answers}, {"answers": told}


@dataclass(frozen=True, kw_only=True)
class _Site:
    """The site's radiographs, and what the model says of them."""

    answers: Mapping[str, Answer]
    """By their place in the manifest, those that are fitted."""
    place: TextArray
    """Shape (samples,): the place of the answer that each radiograph gets; empty where that is not fitted."""
    logits: FloatArray
    """Of the answer's output; 0 where there is none."""
    fractured: BoolArray

    def calibrate(self, chosen: BoolArray) -> dict[str, RegionCalibration]:
        """Calibrate by some of the radiographs, by training's rule: answers with few share what they say alike."""
        found: dict[str, RegionCalibration] = {}
        for alike in {(answer.output, answer.coverage) for answer in self.answers.values()}:
            places = [place for place, one in self.answers.items() if (one.output, one.coverage) == alike]
            here = chosen & np.isin(self.place, places)
            found |= calibrate_regions(
                self.logits[here],
                self.fractured[here],
                self.place[here],
                places,
                miscoverage=MISCOVERAGE if alike[1] is None else 1 - alike[1],
            )
        return found


def _ask_site(model: Model, samples: Sequence[Sample], fitted: Mapping[int, IntArray], progress: Progress) -> _Site:
    """Ask the model about the rows for which `fitted` says which answer speaks."""
    manifest = model.bundle.manifest
    place, logits = np.full(len(samples), "", "<U8"), np.zeros(len(samples))
    for number, at in fitted.items():
        place[at] = str(number)
    for row in progress(np.flatnonzero(place != "").tolist(), "radiographs"):
        radiograph = Radiograph(pixels=read_unit_pixels(samples[row].path))
        logits[row] = model.look_for(manifest.answers[int(place[row])].output, radiograph).logit
    return _Site(
        answers={str(number): manifest.answers[number] for number in fitted},
        place=place,
        logits=logits,
        fractured=np.array([bool(sample.fractured) for sample in samples], bool),
    )


def _tell_too_few(answers: Sequence[Answer], rows: Sequence[IntArray], fractured: BoolArray) -> str:
    counts = [
        f"{', '.join(answer.regions)}: {fractured[at].sum()} and {(~fractured[at]).sum()}"
        for answer, at in zip(answers, rows, strict=True)
        if len(at)
    ]
    return (
        f"a calibration takes {LEAST_FRACTURES} radiographs with a fracture and {LEAST_FRACTURES} without, "
        f"of what one answer speaks for; found {'; '.join(counts) or 'none of its regions'}"
    )


def _refit(answer: Answer, found: RegionCalibration) -> Answer:
    """Return the answer with calibration, operating points and, where it had them, conformal limits fitted anew."""
    if found.platt.slope <= 0:
        raise ReversedError(
            f"{', '.join(answer.regions)}: the more the model sees of a fracture, the fewer of these radiographs are "
            "labelled as one: labels that are swapped, or radiographs that this model is not for"
        )
    fields = answer.model_dump() | found.platt._asdict() | found.points._asdict()
    if answer.coverage is not None:
        fields |= found.limits._asdict()
    return Answer.model_validate(fields)


def _cross_calibrate(site: _Site, samples: Sequence[Sample]) -> FloatArray:
    """Return the probability of each radiograph by a calibration fitted to other folds; 0 where none is fitted."""
    after = np.zeros(len(samples))
    for here in _each_fold(samples):
        for place in site.answers:
            left = ~here & (site.place == place)
            if site.fractured[left].all() or not site.fractured[left].any():
                raise TooFewError("all fractures, or all radiographs without one, are of one patient or group")
        for place, found in site.calibrate(~here).items():
            mine = here & (site.place == place)
            after[mine] = found.platt.apply(site.logits[mine])
    return after


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
        figures: dict[str, Any] = {
            "brier_score": lambda at, stated=stated: brier_score(stated[at], right[at]),
            "expected_calibration_error": CalibrationError(stated=stated, observed=right),
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
