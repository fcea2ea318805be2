"""A fracture bundle: decide which region is answered how, calibrate, and say what it reaches, all out of fold."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.types import Float32Array, Task
from models.answer_calibration import calibrate_answers
from models.bundle_writer import Made
from models.claims import NothingToClaimError, can_be_calibrated, explain_figures, may_be_served
from models.datasets import REGIONS, Dataset
from models.evaluation import area_under_curve, bootstrap
from models.fracture_checks import find_peaks, judge_maps
from models.fracture_figures import cross_coverage, fracture_figures, play_pointing_game
from models.fracture_outputs import ANY, OWN_FROM, list_groups
from models.lessons import name_outputs
from models.pool import name_images
from models.predictions import FracturePredictions
from models.protocol import SHIFTED, Answers, Trained, keep_outputs
from models.region_calibration import RegionCalibration

IntArray = NDArray[np.int64]


def make(dataset: Dataset, trained: Trained) -> Made:
    """Turn the answers of all folds into a calibrated model with its figures."""
    outputs = name_outputs(dataset)
    unseen = trained.unseen(Task.FRACTURE)
    logits = unseen.both
    table = _tabulate(dataset, trained)
    choice = {region: choose_output(table, logits, region, outputs) for region in REGIONS}
    for regions in list_groups({region: choice[region]["output"] for region in REGIONS}):
        rows = table.usable & np.isin(table.region, regions)
        if not can_be_calibrated(table.fractured[rows], table.fold[rows]):
            choice |= {
                region: {"output": "", "why": "too few fractures, or others, to calibrate on"} for region in regions
            }
    chosen = {region: choice[region]["output"] for region in REGIONS}
    calibrations = calibrate(table, logits, chosen, outputs, table.usable)
    predictions = predict(table, logits, chosen, outputs)
    predictions = _add_final(predictions, trained.seen[Task.FRACTURE].both, outputs)
    peaks = find_peaks(predictions, dataset.samples, unseen, outputs, size=trained.recipe.image_size)
    predictions = replace(predictions, peak_x=peaks[:, 0], peak_y=peaks[:, 1])
    figures = fracture_figures(predictions)
    for region, found in figures["regions"].items():
        found["served"] = may_be_served(found)
        found["output"] = choice[region]
    boxes = dict(zip(predictions.image, (sample.boxes for sample in dataset.samples), strict=True))
    figures["grad_cam_peak_in_box"] = play_pointing_game(predictions, boxes)
    figures["heat_maps"] = judge_maps(predictions, dataset.samples, unseen, outputs, size=trained.recipe.image_size)
    figures["conformal"] = cross_coverage(predictions)
    figures["shifted"] = measure_shifted(table, unseen, chosen, outputs)
    served = [region for region in REGIONS if figures["regions"][region]["served"]]
    kept = sorted({outputs.index(output) for output in chosen.values() if output})
    answers = [_answer(region, chosen[region], calibrations[region]) for region in served]
    if not answers:
        raise NothingToClaimError(explain_figures(figures["all"]))
    looks = {"mirrored": True, "second_look": trained.recipe.second_look}
    return Made(
        model=keep_outputs(trained.final, trained.recipe, Task.FRACTURE, kept),
        fields={"labels": [outputs[index] for index in kept], "answers": answers, **looks},
        figures=figures,
        predictions=predictions,
    )


def _tabulate(dataset: Dataset, trained: Trained) -> FracturePredictions:
    """Return a table with what is known of each radiograph, and no answers yet."""
    count = len(dataset.samples)
    empty = np.full(count, np.nan, np.float32)
    return FracturePredictions(
        image=np.array(name_images(dataset.samples)),
        fold=trained.fold,
        cluster=trained.cluster,
        region=np.array([sample.region for sample in dataset.samples]),
        fractured=np.array([bool(sample.fractured) for sample in dataset.samples]),
        usable=np.array([not sample.contradicted and sample.fractured is not None for sample in dataset.samples]),
        output=np.full(count, ""),
        logit=empty,
        probability=empty,
        sensitive=empty,
        specific=empty,
        peak_x=np.full(count, -1),
        peak_y=np.full(count, -1),
        final_logit=empty,
    )


def choose_output(
    table: FracturePredictions, logits: Float32Array, region: str, outputs: tuple[str, ...]
) -> dict[str, Any]:
    """Return which output answers a region, and why: its own only where it beats the shared one beyond doubt."""
    if region not in outputs:
        return {"output": ANY, "why": f"fewer than {OWN_FROM} fractures"}
    rows = np.flatnonzero(table.usable & (table.region == region))
    own, fractured = outputs.index(region), table.fractured

    def gain(chosen: IntArray) -> float:
        at = rows[chosen]
        return area_under_curve(logits[at, own], fractured[at]) - area_under_curve(logits[at, 0], fractured[at])

    found = bootstrap(gain, len(rows), clusters=table.cluster[rows], level=0.8)
    better = found["low"] is not None and found["low"] > 0
    return {"output": region if better else ANY, "why": "AUC of its own output less that of the shared one", **found}


def calibrate(
    table: FracturePredictions,
    logits: Float32Array,
    choice: Mapping[str, str],
    outputs: tuple[str, ...],
    rows: NDArray[np.bool_],
) -> dict[str, RegionCalibration]:
    """Calibrate all regions by these rows, each by the output that answers it."""
    columns = np.array([outputs.index(choice.get(region) or outputs[0]) for region in table.region.tolist()])
    answered = logits[np.arange(len(table)), columns]
    return calibrate_answers(answered[rows], table.fractured[rows], table.region[rows], choice)


def predict(
    table: FracturePredictions,
    logits: Float32Array,
    choice: Mapping[str, str],
    outputs: tuple[str, ...],
    *,
    shown: Float32Array | None = None,
) -> FracturePredictions:
    """Fill in what each region is answered, its calibration and operating points taken from the other folds.

    `shown` are the logits to answer by where radiographs are shown otherwise than those that calibrate.
    """
    answered = logits if shown is None else shown
    columns = {name: getattr(table, name).copy() for name in ("logit", "probability", "sensitive", "specific")}
    output = table.output.astype(f"<U{max(map(len, outputs))}")
    for fold in np.unique(table.fold):
        found = calibrate(table, logits, choice, outputs, table.usable & (table.fold != fold))
        for region, (platt, points, _) in found.items():
            mine = (table.region == region) & (table.fold == fold)
            column = answered[mine, outputs.index(choice[region])]
            output[mine], columns["logit"][mine] = choice[region], column
            columns["probability"][mine] = platt.apply(column)
            columns["sensitive"][mine], columns["specific"][mine] = points
    return replace(table, output=output, **columns)


def _add_final(predictions: FracturePredictions, logits: Float32Array, outputs: tuple[str, ...]) -> FracturePredictions:
    """Fill in what the final model answers."""
    columns = [outputs.index(output) if output else -1 for output in predictions.output]
    final = [row[column] if column >= 0 else np.nan for row, column in zip(logits, columns, strict=True)]
    return replace(predictions, final_logit=np.array(final, np.float32))


def measure_shifted(
    table: FracturePredictions, answers: Answers, choice: Mapping[str, str], outputs: tuple[str, ...]
) -> dict[str, Any]:
    """Return the figures for the same radiographs zoomed, cropped, windowed and marked as they might come elsewhere.

    They are answered as a site's would be: by what calibrated the pool's own.
    """
    shifted = predict(table, answers.both, choice, outputs, shown=answers.logits[:, SHIFTED])
    return dict(fracture_figures(shifted, ())["all"])


def _answer(region: str, output: str, calibration: RegionCalibration) -> dict[str, Any]:
    platt, points, limits = calibration
    return {"output": output, "regions": [region], **platt._asdict(), **points._asdict(), **limits._asdict()}
