"""The figures of an evaluation, as they go into `report.json`."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from inference.types import Decision, Task
from models.asking import Asked
from models.calibration import CalibrationError
from models.datasets import REGIONS
from models.evaluation import BoolArray, Figure, IntArray, bootstrap, bootstrap_all, count_share
from models.fracture_figures import coverage_figures, fracture_figures, play_pointing_game, select_answered
from models.held_out import OUTSIDE_SCOPE, Answers, tabulate_fractures, tabulate_regions, tabulate_types
from models.label_figures import region_figures, type_figures
from models.predictions import FracturePredictions, RegionPredictions

DECISIONS = (Decision.FRACTURE, Decision.UNCERTAIN, Decision.NO_FRACTURE, Decision.NOT_ANALYSED)


def compute_report(asked: Asked, answers: Answers) -> dict[str, Any]:
    """Return every figure that the bundles' tasks and the data set's labels allow, by task."""
    analyses = answers.analyses
    tasks = {bundle.manifest.task for bundle in asked.bundles}
    report: dict[str, Any] = {
        "models": [
            {"name": one.name, "version": one.version, "task": one.task.value, "digest": one.digest}
            for one in (bundle.identity for bundle in asked.bundles)
        ],
        "radiographs": len(analyses),
        "decisions": dict(Counter(analysis.decision.value for analysis in analyses)),
        "reasons": _count(without_numbers(analysis.reason) for analysis in analyses if analysis.reason),
        "flags": _count(without_numbers(flag) for analysis in analyses for flag in analysis.flags),
    }
    if Task.REGION in tasks:
        report["region"] = _report_regions(asked, answers)
    if Task.FRACTURE in tasks and any(sample.fractured is not None for sample in answers.samples):
        report["fracture"] = _report_fractures(answers)
    types = name_types(asked)
    named = tabulate_types(answers, types)
    if (named.type != "").any():
        report["type"] = type_figures(named, [label for label in types if label in named.type])
    return report


def name_types(asked: Asked) -> tuple[str, ...]:
    """Return the types that the bundles asked can name."""
    return tuple(label for one in asked.bundles if one.manifest.task is Task.TYPE for label in one.manifest.labels)


def list_regions(regions: Iterable[str]) -> tuple[str, ...]:
    """Return the regions that occur, in the order of `REGIONS`, unknown ones last."""
    found = set(regions) - {""}
    return (*(region for region in REGIONS if region in found), *sorted(found - set(REGIONS)))


def _report_regions(asked: Asked, answers: Answers) -> dict[str, Any]:
    table = tabulate_regions(answers)
    labels = {label for one in asked.bundles if one.manifest.task is Task.REGION for label in one.manifest.labels}
    named = np.isin(table.region, list(labels))
    if not named.any():
        return {"scope": _scope(table, named)}
    figures = region_figures(table, list_regions(table.region[named].tolist()))
    # A refusal states no probability that could be right or wrong.
    spoke = table.select(named & (table.predicted != OUTSIDE_SCOPE))
    error = CalibrationError(stated=spoke.confidence.astype(np.float64), observed=spoke.region == spoke.predicted)
    figures["expected_calibration_error"] = bootstrap(error, len(spoke), clusters=spoke.cluster)
    return {**figures, "scope": _scope(table, named)}


def _scope(table: RegionPredictions, named: BoolArray) -> dict[str, Figure]:
    """Return the share that the scope refuses, of regions that stage 1 can name, of all else, and of the unlabelled."""
    refused, told = table.predicted == OUTSIDE_SCOPE, table.region != ""
    return {
        f"refused_of_{which}_regions": _share_of(refused[rows], table.cluster[rows])
        for which, rows in (("named", named), ("other", ~named & told), ("untold", ~told))
    }


def _share_of(hits: BoolArray, clusters: IntArray) -> Figure:
    return bootstrap(count_share(hits), len(hits), clusters=clusters)


def _report_fractures(answers: Answers) -> dict[str, Any]:
    table = tabulate_fractures(answers)
    regions = list_regions(table.region[table.output != ""].tolist())
    boxes = {name: sample.boxes for name, sample in zip(answers.names, answers.samples, strict=True)}
    figures = fracture_figures(table, regions)
    _judge_answers(figures, table, answers)
    if any(boxes.values()):
        figures["grad_cam_peak_in_box"] = play_pointing_game(table, boxes, regions)
        played = select_answered(table)
        outlined = np.array([bool(boxes[name]) for name in played.image], bool)
        figures["without_peak"] = int((played.fractured & outlined & (played.peak_x < 0)).sum())
    figures["confusion"] = {
        "rows": ["fracture", "no fracture"],
        "labels": [decision.value for decision in DECISIONS],
        "rows_are_actual": _count_decisions(answers),
    }
    return figures


def _judge_answers(figures: dict[str, Any], table: FracturePredictions, answers: Answers) -> None:
    """Put in what the decisions were worth: `uncertain` has other causes than the operating points."""
    decisions = np.array([analysis.decision.value for analysis in answers.analyses])
    spoke = table.usable & (table.output != "")
    for name, found in {"all": figures["all"], **figures["regions"]}.items():
        rows = np.flatnonzero(spoke & ((name == "all") | (table.region == name)))
        uncertain, affirmed = (decisions[rows] == one.value for one in (Decision.UNCERTAIN, Decision.FRACTURE))
        judged = coverage_figures(uncertain, affirmed, table.fractured[rows])
        found.update(bootstrap_all(judged, len(rows), clusters=table.cluster[rows]))


def _count_decisions(answers: Answers) -> list[list[int]]:
    pairs = Counter((s.fractured, a.decision) for s, a in zip(answers.samples, answers.analyses, strict=True))
    return [[pairs[actual, decision] for decision in DECISIONS] for actual in (True, False)]


def _count(sentences: Iterable[str]) -> dict[str, int]:
    return dict(Counter(sentences).most_common())


def without_numbers(sentence: str) -> str:
    """Return the sentence without what differs from one radiograph to the next: numbers, brackets, doubtful regions."""
    said = re.sub(r"\s*\([^)]*\)|:? [A-Z_]+ with a confidence of \S+(?=\.)", "", sentence)
    return re.sub(r"\d+(\.\d+)?(\s?%)?", "…", said)
