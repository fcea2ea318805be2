"""Make a fracture bundle: cross-validate, decide which region is answered how, then train on everything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from inference.types import Float32Array
from models.calibration import (
    OperatingPoints,
    Platt,
    brier_score,
    choose_operating_points,
    expected_calibration_error,
    fit_platt,
)
from models.datasets import REGIONS, Dataset, Sample, inseparable_units, read_pixels
from models.evaluation import Figure, area_under_curve, bootstrap, points_inside, share
from models.protocol import Experiment, gather_held_out, keep_outputs
from models.recipe import Progress, Recipe
from models.training import UNKNOWN

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

ANY = "ANY"
"""The output trained on every region."""
OWN_FROM = 60
"""Fractures in the pool from which on a region gets an output, a calibration and operating points of its own."""
CLAIM_FROM = 10
"""Fewer fractures than this support no claim about a region."""
CLAIM_AUC = 0.6
"""A region is served when the lower end of its AUC's interval reaches this."""


@dataclass(frozen=True, kw_only=True)
class Validated:
    """Out-of-fold predictions of the pool, as columns."""

    region: NDArray[np.str_]
    fractured: BoolArray
    usable: BoolArray
    """Without samples whose twins carry the other label."""
    folds: IntArray
    clusters: IntArray
    """Samples that may show one patient."""
    logits: Float32Array
    """Shape (samples, outputs)."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Regions that share an output, a calibration and operating points."""

    output: str
    regions: tuple[str, ...]
    platt: Platt
    points: OperatingPoints
    rows: IntArray
    probabilities: FloatArray
    """Of `rows`, calibrated by the other folds."""
    flagged: BoolArray
    """Of `rows`: at or above the sensitive point that the other folds chose."""
    affirmed: BoolArray
    """Of `rows`: at or above the specific point that the other folds chose."""


def name_outputs(dataset: Dataset) -> tuple[str, ...]:
    """Return the outputs to train: one for every region together, one for each region with enough fractures."""
    counts = {region: sum(s.fractured and s.region == region for s in dataset.samples) for region in REGIONS}
    return (ANY, *(region for region in REGIONS if counts[region] >= OWN_FROM))


def build_targets(dataset: Dataset, outputs: tuple[str, ...]) -> Float32Array:
    """Return targets (samples, outputs): 0, 1, or UNKNOWN for other regions and contradicted samples."""
    targets = np.full((len(dataset.samples), len(outputs)), UNKNOWN, np.float32)
    for row, sample in enumerate(dataset.samples):
        for column, output in enumerate(outputs):
            if not sample.contradicted and output in {ANY, sample.region}:
                targets[row, column] = sample.fractured
    return targets


def make(
    dataset: Dataset, recipe: Recipe, folds: IntArray, *, progress: Progress, store: Path | None
) -> tuple[keras.Model, dict[str, Any], dict[str, Any], dict[str, FloatArray]]:
    """Return the model, the manifest's fields, the figures, and the curves' columns."""
    outputs = name_outputs(dataset)
    targets = build_targets(dataset, outputs)
    experiment = Experiment(dataset.samples, targets, recipe, exclusive=False, progress=progress, store=store)
    logits, cams = gather_held_out(list(experiment.cross_validate(folds)))
    validated = Validated(
        region=np.array([sample.region for sample in dataset.samples]),
        fractured=np.array([sample.fractured for sample in dataset.samples]),
        usable=np.array([not sample.contradicted for sample in dataset.samples]),
        folds=folds,
        clusters=inseparable_units(dataset.samples),
        logits=logits,
    )
    choice = {region: choose_output(validated, region, outputs) for region in REGIONS}
    groups = form_groups(validated, choice, outputs)
    figures = report(validated, groups, choice)
    figures["grad_cam_peak_in_box"] = play_pointing_game(
        dataset.samples, validated, groups, cams, outputs, image_size=recipe.image_size
    )
    kept = sorted({outputs.index(group.output) for group in groups})
    model = keep_outputs(experiment.train(validated.usable), recipe.architecture, kept)
    served = {region for region in REGIONS if figures["regions"][region]["served"]}
    answers = [answer for answer in (_answer(group, served) for group in groups) if answer["regions"]]
    fields = {"labels": [outputs[index] for index in kept], "answers": answers}
    return model, fields, figures, _curves(validated, groups)


def choose_output(validated: Validated, region: str, outputs: tuple[str, ...]) -> dict[str, Any]:
    """Return which output answers a region, and why: its own only where it beats the shared one beyond doubt."""
    if region not in outputs:
        return {"output": ANY, "why": f"fewer than {OWN_FROM} fractures"}
    rows = np.flatnonzero(validated.usable & (validated.region == region))
    own, fractured = outputs.index(region), validated.fractured

    def gain(chosen: IntArray) -> float:
        at = rows[chosen]
        scores = validated.logits[at]
        return area_under_curve(scores[:, own], fractured[at]) - area_under_curve(scores[:, 0], fractured[at])

    found = bootstrap(gain, len(rows), clusters=validated.clusters[rows], level=0.8)
    better = found["low"] is not None and found["low"] > 0
    return {"output": region if better else ANY, "why": "AUC of its own output less that of the shared one", **found}


def form_groups(
    validated: Validated, choice: Mapping[str, Mapping[str, Any]], outputs: tuple[str, ...]
) -> tuple[Group, ...]:
    """Return a group for each region with enough fractures, and one for the rest together."""
    alone = [region for region in REGIONS if region in outputs]
    rest = tuple(region for region in REGIONS if region not in outputs)
    members = [(choice[region]["output"], (region,)) for region in alone] + ([(ANY, rest)] if rest else [])
    return tuple(_calibrate(validated, output, regions, outputs.index(output)) for output, regions in members)


def _calibrate(validated: Validated, output: str, regions: tuple[str, ...], column: int) -> Group:
    rows = np.flatnonzero(validated.usable & np.isin(validated.region, regions))
    logits, fractured, folds = validated.logits[rows, column], validated.fractured[rows], validated.folds[rows]
    probabilities = np.zeros(len(rows))
    flagged, affirmed = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    for fold in np.unique(folds):
        here = folds == fold
        platt = fit_platt(logits[~here], fractured[~here])
        points = choose_operating_points(platt.apply(logits[~here]), fractured[~here])
        probabilities[here] = platt.apply(logits[here])
        flagged[here] = probabilities[here] >= points.sensitive
        affirmed[here] = probabilities[here] >= points.specific
    platt = fit_platt(logits, fractured)
    return Group(
        output=output,
        regions=regions,
        platt=platt,
        points=choose_operating_points(platt.apply(logits), fractured),
        rows=rows,
        probabilities=probabilities,
        flagged=flagged,
        affirmed=affirmed,
    )


def report(validated: Validated, groups: tuple[Group, ...], choice: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of all regions together and of each one."""
    rows = np.concatenate([group.rows for group in groups])
    columns = {
        name: np.concatenate([getattr(group, name) for group in groups])
        for name in ("probabilities", "flagged", "affirmed")
    }
    together = _figures(validated, rows, columns)
    regions: dict[str, Any] = {}
    for region in REGIONS:
        here = validated.region[rows] == region
        found = _figures(validated, rows[here], {name: column[here] for name, column in columns.items()})
        low = found["auc"]["low"]
        served = found["fractures"] >= CLAIM_FROM and low is not None and low >= CLAIM_AUC
        regions[region] = {**found, "served": served, "output": choice[region]}
    return {"all": together, "regions": regions}


def _figures(validated: Validated, rows: IntArray, columns: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    fractured, probabilities = validated.fractured[rows], columns["probabilities"]
    clusters = validated.clusters[rows]

    def interval(figure: Any) -> Figure:
        return bootstrap(figure, len(rows), clusters=clusters)

    return {
        "radiographs": len(rows),
        "fractures": int(fractured.sum()),
        "auc": interval(lambda at: area_under_curve(probabilities[at], fractured[at])),
        "sensitivity_at_sensitive_point": interval(lambda at: share(columns["flagged"][at][fractured[at]])),
        "specificity_at_sensitive_point": interval(lambda at: share(~columns["flagged"][at][~fractured[at]])),
        "sensitivity_at_specific_point": interval(lambda at: share(columns["affirmed"][at][fractured[at]])),
        "specificity_at_specific_point": interval(lambda at: share(~columns["affirmed"][at][~fractured[at]])),
        "brier_score": interval(lambda at: brier_score(probabilities[at], fractured[at])),
        "expected_calibration_error": interval(
            lambda at: expected_calibration_error(probabilities[at], fractured[at]),
        ),
    }


def play_pointing_game(
    samples: Sequence[Sample],
    validated: Validated,
    groups: tuple[Group, ...],
    cams: Float32Array,
    outputs: tuple[str, ...],
    *,
    image_size: int,
) -> dict[str, Figure]:
    """Return the share of outlined fractures' radiographs whose Grad-CAM peak lies in a box, overall and per region."""
    rows, hits = [], []
    for group in groups:
        for row in group.rows:
            sample = samples[row]
            if sample.fractured and sample.boxes:
                height, width = read_pixels(sample.path).shape
                cam = cams[row, ..., outputs.index(group.output)]
                rows.append(row)
                hits.append(points_inside(cam, sample, rows=height, columns=width, size=image_size))
    where, hit = np.array(rows), np.array(hits)
    found = {"all": bootstrap(lambda at: share(hit[at]), len(hit), clusters=validated.clusters[where])}
    for region in REGIONS:
        here = np.flatnonzero(validated.region[where] == region)
        if here.size:
            inside, units = hit[here], validated.clusters[where[here]]
            found[region] = bootstrap(lambda at, inside=inside: share(inside[at]), len(here), clusters=units)  # type: ignore[misc]  # a bound default
    return found


def _answer(group: Group, served: set[str]) -> dict[str, Any]:
    return {
        "output": group.output,
        "regions": [region for region in group.regions if region in served],
        "slope": group.platt.slope,
        "intercept": group.platt.intercept,
        "sensitive": group.points.sensitive,
        "specific": group.points.specific,
    }


def _curves(validated: Validated, groups: tuple[Group, ...]) -> dict[str, FloatArray]:
    rows = np.concatenate([group.rows for group in groups])
    return {
        "probabilities": np.concatenate([group.probabilities for group in groups]),
        "fractured": validated.fractured[rows].astype(np.float64),
    }
