"""The tables of a card: what a bundle reaches, from the figures of its `metrics.json`."""

from collections.abc import Mapping
from typing import Any

from inference.types import Task
from models.datasets import REGIONS
from models.region_calibration import OWN_FRACTURES, OWN_SOUND
from models.report_text import show_figure
from models.targets import count_regions


def _type_tables(metrics: Mapping[str, Any]) -> str:
    figures = metrics["figures"]
    lines = [
        "## Figures\n",
        f"Accuracy: {show_figure(figures['accuracy'])}; macro F1: {show_figure(figures['macro_f1'])}.",
        f"The radiograph's own type is among the three most probable: {show_figure(figures['top_3_accuracy'])}.",
        f"Expected calibration error: {show_figure(figures['expected_calibration_error'])}.\n",
    ]
    lines += _list_labels("type", figures["types"], {"recall": "recall", "precision": "precision", "f1": "F1"})
    return "\n".join([*lines, ""])


def _region_tables(metrics: Mapping[str, Any]) -> str:
    figures = metrics["figures"]
    lines = [
        "## Figures\n",
        f"Accuracy over {count_regions(figures)} regions: {show_figure(figures['accuracy'])}.",
        f"Expected calibration error: {show_figure(figures['expected_calibration_error'])}.\n",
    ]
    lines += _list_labels("region", figures["regions"], {"recall": "recall"})
    if absent := [region for region in REGIONS if region not in figures["regions"]]:
        lines.append(f"\nNo radiograph showed {', '.join(absent)}: the bundle names none of them, but another region.")
    lines.append(
        "\nThe same radiographs zoomed, cropped, windowed, re-compressed and marked as they might come from elsewhere: "
        f"accuracy {show_figure(figures['shifted']['accuracy'])}.\n"
    )
    return "\n".join([*lines, _scope(figures["scope"])])


def _list_labels(kind: str, rows: Mapping[str, Mapping[str, Any]], columns: Mapping[str, str]) -> list[str]:
    """Return a table with a line a label; `columns` names its figures, and how they are headed."""
    lines = [f"| {' | '.join([kind, 'radiographs', *columns.values()])} |", "|---|---|" + "---|" * len(columns)]
    for name, row in rows.items():
        lines.append(f"| {' | '.join([name, str(row['radiographs']), *(show_figure(row[one]) for one in columns)])} |")
    return lines


def _scope(scope: Mapping[str, Any]) -> str:
    refused, blind = scope["outsiders_refused"], scope["outsiders_refused_unforeseen"]
    shown = scope.get("outsiders_shown", {})
    rows = [f"| {name} | {shown.get(name, '-')} | {refused[name]:.1%} | {blind[name]:.1%} |" for name in refused]
    return f"""\
### Outside scope

A distance above {scope["threshold"]:g} or a confidence below {scope["least_confidence"]:.2f} is outside scope. Out of
fold that refuses {show_figure(scope["refused_of_named_regions"])} of the pool's limbs as they are; the distance alone
{show_figure(scope["limbs_refused"])} of them plain and shifted.

Outsiders are drawn, or cut from the pool's few trunks and heads. Refused by the gate of a fold that saw none of them,
and by one that learnt from no outsider of the whole kind. The interval of the least, above, counts pictures: it is too
narrow where several are cut from one plate, and the least of so many kinds is low by chance, too.

| what | shown | refused | kind unforeseen |
|---|---|---|---|
{chr(10).join(rows)}
"""


def _fracture_tables(metrics: Mapping[str, Any]) -> str:
    figures = metrics["figures"]
    rows = {"all": figures["all"], **figures["regions"]}
    peaks = figures["grad_cam_peak_in_box"]
    head = "| region | radiographs | fractures | AUC | expected calibration error | Grad-CAM peak in a box | served |"
    lines = ["## Figures\n", head, "|---|---|---|---|---|---|---|"]
    for name, row in rows.items():
        peak = show_figure(peaks[name]) if name in peaks else "-"
        served = {True: "yes", False: "no", None: ""}[row.get("served")]
        numbers = f"{row['radiographs']} | {row['fractures']} | {show_figure(row['auc'])}"
        numbers += f" | {show_figure(row['expected_calibration_error'])}"
        lines.append(f"| {name} | {numbers} | {peak} | {served} |")
    lines += ["\n| region | at the sensitive point: sensitivity | specificity |", "|---|---|---|"]
    lines += [_points(name, row, "sensitive") for name, row in rows.items()]
    lines += ["\n| region | at the specific point: sensitivity | specificity | precision |", "|---|---|---|---|"]
    lines += [_points(name, row, "specific", "precision") for name, row in rows.items()]
    lines.append(
        "\nPrecision: of what is answered with fracture, the share that is one, at the pool's share of fractures."
    )
    lines.append(f"\nBrier score {show_figure(figures['all']['brier_score'])}.\n")
    lines.append(_uncertainty(figures, closer=bool(metrics["recipe"].get("second_look"))))
    lines.append(_coverage(figures))
    lines.append(_routing(figures["regions"]))
    return "\n".join(lines)


def _uncertainty(figures: Mapping[str, Any], *, closer: bool) -> str:
    kept, maps = figures["conformal"], figures["heat_maps"]
    withheld = f"""\
The quality gate withholds the heat map of {show_figure(maps["withheld_hits"])} of the fractured radiographs whose peak
lies in a radiologist's box, and of {show_figure(maps["withheld_misses"])} of the others."""
    outlined = figures["grad_cam_peak_in_box"]["all"]["value"] is not None
    return f"""\
Answered uncertain, between the operating points: {show_figure(figures["all"]["uncertain"])} of the radiographs;
of these {show_figure(figures["all"]["fractures_among_uncertain"])} are fractures.

Conformal prediction promises to keep the true answer of {kept["promised"]:.0%} of each class; out of fold it kept
{show_figure(kept["fracture"])} of the fractures and {show_figure(kept["no_fracture"])} of the others, and both answers
of {show_figure(kept["both"])}. Regions with fewer than {OWN_FRACTURES} fractures share a limit on them, and the promise
is then of their fractures together; so it is of the others where a region has fewer than {OWN_SOUND} of those.
It is no second opinion: it rests on the same radiographs as the operating points. Its limit on fractures is mostly the
sensitive point where there are fractures enough (where not, it rules none out), and its limit on the others is the
specific point, unless that is held at 0.5 and lies higher: then it leaves only fracture where the answer is uncertain
still.

{_shifted(figures["shifted"], closer=closer)}

{withheld if outlined else "No fracture is outlined in this data set: where the heat maps point was not measured."}
"""


def _shifted(shifted: Mapping[str, Any], *, closer: bool) -> str:
    """Say what radiographs as if from elsewhere are answered; `metrics.json` of before says the AUC alone."""
    shown = {name: show_figure(found) for name, found in shifted.items() if isinstance(found, Mapping)}
    at_points = ""
    if "uncertain" in shown:
        at_points = f"""\
; at the sensitive point
sensitivity {shown["sensitivity_at_sensitive_point"]} and specificity {shown["specificity_at_sensitive_point"]}, at the
specific point sensitivity {shown["sensitivity_at_specific_point"]} and specificity
{shown["specificity_at_specific_point"]}, answered uncertain {shown["uncertain"]}, expected calibration error
{shown["expected_calibration_error"]}. Each was looked at without its mirror image, and answered by the
calibration and the points of radiographs as they are, as a site's are"""
    size = ", drawn at the\nsize that the model reads (of which a closer look sees nothing finer)" if closer else ""
    return f"""\
The same radiographs zoomed, cropped, windowed, re-compressed and marked as they might come from elsewhere{size}: AUC
{shown["auc"]}{at_points}."""


def _coverage(figures: Mapping[str, Any]) -> str:
    lines = ["| region | keeps the true answer of fractures | of others | keeps both | answered uncertain |"]
    lines.append("|---|---|---|---|---|")
    for name, row in figures["conformal"].get("regions", {}).items():
        shares = [show_figure(row[key]) for key in ("fracture", "no_fracture", "both")]
        lines.append(f"| {name} | {' | '.join(shares)} | {show_figure(figures['regions'][name]['uncertain'])} |")
    return "\n".join([*lines, ""])


def _points(name: str, row: Mapping[str, Any], point: str, *more: str) -> str:
    shown = [show_figure(row[f"{figure}_at_{point}_point"]) for figure in ("sensitivity", "specificity", *more)]
    return f"| {name} | {' | '.join(shown)} |"


def _routing(regions: Mapping[str, Any]) -> str:
    lines = ["### Which output answers a region\n", "| region | output | why |", "|---|---|---|"]
    for name, row in regions.items():
        output = row["output"]
        gain = (
            f": {output['value']:+.3f} (80 %: {output['low']:+.3f} to {output['high']:+.3f})" if "low" in output else ""
        )
        lines.append(f"| {name} | {output['output']} | {output['why']}{gain} |")
    lines.append(
        "\nAn own output is used only where it beats the shared one with an 80 % interval above zero. A region with "
        "fewer than 10 fractures, or whose AUC's interval reaches below 0.60, is not served: the node says that it has "
        "no validated model for it. Both are decided on the figures of this card, which flatters them a little.\n",
    )
    return "\n".join(lines)


TABLES = {Task.REGION: _region_tables, Task.FRACTURE: _fracture_tables, Task.TYPE: _type_tables}
