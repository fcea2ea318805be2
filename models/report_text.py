"""An evaluation's figures in words and tables: the headlines for the terminal, all of them for `report.md`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from models.label_figures import TOP

POINTS = ("sensitive", "specific")
AT_POINT = {
    "accuracy": "accuracy",
    "precision": "precision",
    "sensitivity": "recall (sensitivity)",
    "specificity": "specificity",
    "f1": "F1",
}
WHOLE = {
    "auc": "AUC",
    "average_precision": "average precision",
    "brier_score": "Brier score",
    "expected_calibration_error": "expected calibration error",
    "uncertain": "answered uncertain",
    "fractures_among_uncertain": "fractures among these",
    "coverage": "coverage: right or left open",
    "accuracy_when_decided": "accuracy where decided",
}


class Table(NamedTuple):
    """A table of words, for the terminal and for Markdown alike."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def show_figure(figure: Mapping[str, float | None] | float) -> str:
    """Write a figure with its interval, `0.873 (0.847 to 0.899)`, or alone if it has none; a dash where not defined."""
    if not isinstance(figure, Mapping):
        return f"{figure:.3f}"
    if figure["value"] is None:
        return "-"
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def list_headlines(report: Mapping[str, Any]) -> list[Table]:
    """Return the figures over all radiographs together, in tables for a terminal."""
    values = ("figure", "value (95 % interval)")
    tables = [
        Table("Region", values, tuple(_region_headlines(report))),
        Table("Fracture type", values, tuple(_type_headlines(report))),
        Table("Fracture", values, tuple(_fracture_headlines(report))),
        Table("Fracture, at the operating points", ("figure", *POINTS), tuple(_point_headlines(report))),
        Table("Answers", ("answer", "radiographs"), _counts(report["decisions"])),
        Table("Why", ("reason", "radiographs"), _counts(report["reasons"])),
        Table("Remarks", ("remark", "radiographs"), _counts(report["flags"])),
    ]
    return [table for table in tables if table.rows]


def list_details(report: Mapping[str, Any]) -> list[Table]:
    """Return the figures per region, and the confusion matrices."""
    return [
        *_fracture_details(report),
        *_label_details("Region", report.get("region", {}), "regions"),
        *_label_details("Fracture type", report.get("type", {}), "types"),
    ]


def render_report(report: Mapping[str, Any], pictures: Sequence[str]) -> str:
    """Return the whole report in Markdown, its pictures by paths beside it."""
    models = ", ".join(f"{one['name']} {one['version']} ({one['task']})" for one in report["models"])
    data = report["data"]
    sections = [
        "# Evaluation\n",
        f"Models: {models}. Research use only, not for diagnosis.\n",
        *(f"> **{warning}**\n" for warning in report["warnings"]),
        f"Data: {data['folder']}, layout {data['layout']}, {report['radiographs']} of {data['samples']} radiographs.",
        "Figures with 95 % intervals, bootstrap over patients as far as the layout tells them apart; of a share whose",
        "resamples are all alike the exact binomial one.\n",
        *(_render(table) for table in (*list_headlines(report), *list_details(report))),
        "## Figures\n",
        *(f"![{picture.rpartition('/')[2]}]({picture})\n" for picture in pictures),
    ]
    return "\n".join(sections)


def _region_headlines(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    figures = report.get("region", {})
    if "accuracy" in figures:
        yield "radiographs of regions it names", str(figures["radiographs"])
        yield "accuracy", show_figure(figures["accuracy"])
        yield "F1, mean over regions", show_figure(figures["macro_f1"])
        yield "expected calibration error", show_figure(figures["expected_calibration_error"])
    if "scope" in figures:
        yield "refused, of regions it names", show_figure(figures["scope"]["refused_of_named_regions"])
        yield "refused, of all else", show_figure(figures["scope"]["refused_of_other_regions"])
        yield "refused, of regions not told", show_figure(figures["scope"]["refused_of_untold_regions"])


def _type_headlines(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "type" in report:
        figures = report["type"]
        yield "radiographs of types it names", str(figures["radiographs"])
        yield "accuracy", show_figure(figures["accuracy"])
        yield f"among the {TOP} most probable", show_figure(figures[f"top_{TOP}_accuracy"])
        yield "F1, mean over types", show_figure(figures["macro_f1"])
        yield "expected calibration error", show_figure(figures["expected_calibration_error"])


def _fracture_headlines(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "fracture" not in report:
        return
    figures = report["fracture"]
    together = figures["all"]
    yield "radiographs answered", f"{together['radiographs']}, {together['fractures']} with a fracture"
    for name, words in WHOLE.items():
        yield words, show_figure(together[name])
    if "grad_cam_peak_in_box" in figures:
        yield "Grad-CAM peak in a box", show_figure(figures["grad_cam_peak_in_box"]["all"])
        yield "outlined fractures without a peak (misses)", str(figures["without_peak"])


def _point_headlines(report: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    if "fracture" in report:
        together = report["fracture"]["all"]
        for name, words in AT_POINT.items():
            yield words, *(show_figure(together[f"{name}_at_{point}_point"]) for point in POINTS)


def _fracture_details(report: Mapping[str, Any]) -> Iterator[Table]:
    if "fracture" not in report:
        return
    figures = report["fracture"]
    rows = {"all": figures["all"], **figures["regions"]}
    peaks = figures.get("grad_cam_peak_in_box", {})
    counts = {name: (str(row["radiographs"]), str(row["fractures"])) for name, row in rows.items()}
    shown = {name: show_figure(peaks[name]) if name in peaks else "-" for name in rows}
    yield Table(
        "Fracture, per region",
        ("region", "radiographs", "fractures", "AUC", "Brier score", "Grad-CAM peak in a box"),
        tuple(
            (name, *counts[name], show_figure(row["auc"]), show_figure(row["brier_score"]), shown[name])
            for name, row in rows.items()
        ),
    )
    for point in POINTS:
        keys = [f"{key}_at_{point}_point" for key in AT_POINT]
        yield _by_name(f"From the {point} operating point on counted as a fracture", AT_POINT.values(), rows, keys)
    keys = ["uncertain", "fractures_among_uncertain", "coverage", "accuracy_when_decided"]
    yield _by_name("Between the two operating points", [WHOLE[key] for key in keys], rows, keys)
    yield _confusion("Fracture, all answers", figures["confusion"])


def _label_details(title: str, figures: Mapping[str, Any], names: str) -> Iterator[Table]:
    if names in figures:
        keys = ["recall", "precision", "f1"]
        yield _by_name(f"{title}, one by one", ("recall", "precision", "F1"), figures[names], keys)
        yield _confusion(f"{title}, all answers", figures["confusion"])


def _by_name(title: str, words: Iterable[str], rows: Mapping[str, Any], keys: Sequence[str]) -> Table:
    shown = tuple((name, *(show_figure(row[key]) for key in keys)) for name, row in rows.items())
    return Table(title, ("", *words), shown)


def _confusion(title: str, confusion: Mapping[str, Any]) -> Table:
    """Return a confusion matrix; rows are what the data set says, columns what the models say."""
    labels = confusion["labels"]
    counted = zip(confusion.get("rows", labels), confusion["rows_are_actual"], strict=True)
    return Table(title, ("actual", *labels), tuple((name, *map(str, row)) for name, row in counted))


def _counts(counted: Mapping[str, int]) -> tuple[tuple[str, ...], ...]:
    return tuple((name, str(count)) for name, count in counted.items())


def _render(table: Table) -> str:
    lines = (table.head, ("---",) * len(table.head), *table.rows)
    return "\n".join([f"## {table.title}\n", *("| " + " | ".join(line) + " |" for line in lines), ""])
