"""The figures beside an evaluation's report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inference.types import Task
from models.asking import Asked
from models.examples import draw_examples
from models.figures import draw_confusion, draw_precision_recall, draw_reliability, draw_roc
from models.fracture_figures import select_answered
from models.held_out import Answers, tabulate_fractures, tabulate_regions, tabulate_types
from models.predictions import write_predictions
from models.report import name_types


def draw_report(folder: Path, report: Mapping[str, Any], asked: Asked, answers: Answers) -> list[Path]:
    """Draw what the report's figures allow, write the tables of answers beside the folder, and return the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures: list[Path] = []
    tasks = {bundle.manifest.task for bundle in asked.bundles}
    if "fracture" in report:
        write_predictions(folder.parent / "fractures.csv", tabulate_fractures(answers))
        pictures += _draw_fractures(folder, report["fracture"], answers)
        pictures += draw_examples(folder, asked, answers)
    if Task.REGION in tasks:
        write_predictions(folder.parent / "regions.csv", tabulate_regions(answers))
    if "type" in report:
        write_predictions(folder.parent / "types.csv", tabulate_types(answers, name_types(asked)))
    for task, title in (("region", "Regions"), ("type", "Fracture types")):
        if table := report.get(task, {}).get("confusion"):
            pictures.append(folder / f"{task}s.png")
            draw_confusion(pictures[-1], table["rows_are_actual"], table["labels"], title=title)
    return pictures


def _draw_fractures(folder: Path, figures: Mapping[str, Any], answers: Answers) -> list[Path]:
    table = figures["confusion"]
    pictures = [folder / "confusion.png"]
    draw_confusion(
        pictures[0], table["rows_are_actual"], table["rows"], columns=table["labels"], title="Fracture, all answers"
    )
    answered = select_answered(tabulate_fractures(answers))
    if not 0 < answered.fractured.sum() < len(answered):
        return pictures
    curve: dict[str, Any] = {"probabilities": answered.probability, "fractured": answered.fractured}
    together = figures["all"]
    points = {
        name: tuple(together[f"{side}_at_{name}_point"]["value"] for side in ("specificity", "sensitivity"))
        for name in ("sensitive", "specific")
    }
    draw_roc(
        folder / "roc.png", **curve, title="Fracture", points={name: (1 - x, y) for name, (x, y) in points.items()}
    )
    draw_precision_recall(folder / "precision_recall.png", **curve, title="Fracture")
    draw_reliability(folder / "reliability.png", **curve, title="Fracture")
    return [*pictures, *(folder / f"{name}.png" for name in ("roc", "precision_recall", "reliability"))]
