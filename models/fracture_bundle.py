"""A fracture bundle: decide which region is answered how, calibrate, and say what it reaches, all out of fold."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.types import Float32Array, Task
from models.bundle_writer import Made
from models.calibration import OperatingPoints, Platt, choose_operating_points, fit_platt
from models.claims import (
    CLAIM_AUC,
    CLAIM_FROM,
    NothingToClaimError,
    can_be_calibrated,
    explain_figures,
)
from models.conformal import MISCOVERAGE, ConformalLimits, fit_conformal
from models.datasets import REGIONS, Dataset
from models.evaluation import area_under_curve, bootstrap
from models.fracture_checks import find_peaks, judge_maps
from models.fracture_figures import cross_coverage, fracture_figures, play_pointing_game
from models.fracture_outputs import ANY, OWN_FROM, list_groups
from models.lessons import name_outputs
from models.pool import name_images
from models.predictions import FracturePredictions
from models.protocol import SHIFTED, Answers, Trained, keep_outputs

IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Regions that share an output, a calibration and operating points."""

    output: str
    regions: tuple[str, ...]
    platt: Platt
    points: OperatingPoints
    limits: ConformalLimits


def make(dataset: Dataset, trained: Trained) -> Made:
    """Turn the answers of all folds into a calibrated model with its figures."""
    outputs = name_outputs(dataset)
    unseen = trained.unseen(Task.FRACTURE)
    logits = unseen.both
    table = _tabulate(dataset, trained)
    choice = {region: choose_output(table, logits, region, outputs) for region in REGIONS}
    groups = form_groups(table, logits, choice, outputs)
    for region in set(REGIONS).difference(*(group.regions for group in groups)):
        choice[region] = {"output": "", "why": "too few fractures, or others, to calibrate on"}
    predictions = predict(table, logits, groups, outputs)
    predictions = _add_final(predictions, trained.seen[Task.FRACTURE].both, outputs)
    peaks = find_peaks(predictions, dataset.samples, unseen, outputs, size=trained.recipe.image_size)
    predictions = replace(predictions, peak_x=peaks[:, 0], peak_y=peaks[:, 1])
    figures = fracture_figures(predictions)
    for region, found in figures["regions"].items():
        low = found["auc"]["low"]
        found["served"] = found["fractures"] >= CLAIM_FROM and low is not None and low >= CLAIM_AUC
        found["output"] = choice[region]
    boxes = dict(zip(predictions.image, (sample.boxes for sample in dataset.samples), strict=True))
    figures["grad_cam_peak_in_box"] = play_pointing_game(predictions, boxes)
    figures["heat_maps"] = judge_maps(predictions, dataset.samples, unseen, outputs)
    figures["conformal"] = cross_coverage(predictions, [group.regions for group in groups])
    figures["shifted"] = _figures_of_shifted(table, unseen, groups, outputs)
    served = {region for region in REGIONS if figures["regions"][region]["served"]}
    kept = sorted({outputs.index(group.output) for group in groups})
    answers = [answer for answer in (_answer(group, served) for group in groups) if answer["regions"]]
    if not answers:
        raise NothingToClaimError(explain_figures(figures["all"]))
    return Made(
        model=keep_outputs(trained.final, trained.recipe, Task.FRACTURE, kept),
        fields={"labels": [outputs[index] for index in kept], "answers": answers, "mirrored": True},
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


def form_groups(
    table: FracturePredictions,
    logits: Float32Array,
    choice: Mapping[str, Mapping[str, Any]],
    outputs: tuple[str, ...],
) -> tuple[Group, ...]:
    """Return a group for each region with enough fractures, and one for the rest together.

    Regions of which the data set has not enough to calibrate on are in none.
    """
    groups = []
    for regions in list_groups(outputs):
        rows = np.flatnonzero(table.usable & np.isin(table.region, regions))
        if not can_be_calibrated(table.fractured[rows], table.fold[rows]):
            continue
        output = choice[regions[0]]["output"]
        platt, points = calibrate(logits[rows, outputs.index(output)], table.fractured[rows])
        limits = fit_conformal(
            platt.apply(logits[rows, outputs.index(output)]), table.fractured[rows], miscoverage=MISCOVERAGE
        )
        groups.append(Group(output=output, regions=regions, platt=platt, points=points, limits=limits))
    return tuple(groups)


def calibrate(logits: Float32Array, fractured: NDArray[np.bool_]) -> tuple[Platt, OperatingPoints]:
    """Return Platt's calibration and the operating points on it."""
    platt = fit_platt(logits, fractured)
    return platt, choose_operating_points(platt.apply(logits), fractured)


def predict(
    table: FracturePredictions, logits: Float32Array, groups: tuple[Group, ...], outputs: tuple[str, ...]
) -> FracturePredictions:
    """Fill in what each group answers, its calibration and operating points taken from the other folds."""
    columns = {name: getattr(table, name).copy() for name in ("logit", "probability", "sensitive", "specific")}
    output = table.output.astype(f"<U{max(map(len, outputs))}")
    for group in groups:
        here = np.isin(table.region, group.regions)
        column = logits[:, outputs.index(group.output)]
        output[here], columns["logit"][here] = group.output, column[here]
        for fold in np.unique(table.fold):
            others = here & table.usable & (table.fold != fold)
            platt, points = calibrate(column[others], table.fractured[others])
            mine = here & (table.fold == fold)
            columns["probability"][mine] = platt.apply(column[mine])
            columns["sensitive"][mine], columns["specific"][mine] = points
    return replace(table, output=output, **columns)


def _add_final(predictions: FracturePredictions, logits: Float32Array, outputs: tuple[str, ...]) -> FracturePredictions:
    """Fill in what the final model answers."""
    columns = [outputs.index(output) if output else -1 for output in predictions.output]
    final = [row[column] if column >= 0 else np.nan for row, column in zip(logits, columns, strict=True)]
    return replace(predictions, final_logit=np.array(final, np.float32))


def _figures_of_shifted(
    table: FracturePredictions, answers: Answers, groups: tuple[Group, ...], outputs: tuple[str, ...]
) -> dict[str, Any]:
    """Return the figures for the same radiographs zoomed, cropped, windowed and marked as they might come elsewhere."""
    shifted = predict(table, answers.logits[:, SHIFTED], groups, outputs)
    rows = shifted.select(shifted.usable & (shifted.output != ""))
    scores, fractured = rows.probability, rows.fractured
    auc = bootstrap(lambda at: area_under_curve(scores[at], fractured[at]), len(rows), clusters=rows.cluster)
    return {"auc": auc}


def _answer(group: Group, served: set[str]) -> dict[str, Any]:
    return {
        "output": group.output,
        "regions": [region for region in group.regions if region in served],
        "slope": group.platt.slope,
        "intercept": group.platt.intercept,
        "sensitive": group.points.sensitive,
        "specific": group.points.specific,
        **group.limits._asdict(),
    }
