"""The card of a bundle: what it was made from and how, what it reaches, where it fails."""

from collections.abc import Mapping, Sequence
from typing import Any

from inference.bundle import ONNX, Manifest
from inference.types import Task
from models.targets import render_targets

_FRACATLAS = """\
FracAtlas (Abedeen I. et al., *FracAtlas: A Dataset for Fracture Classification, Localization and Segmentation of
Musculoskeletal Radiographs*, Scientific Data 10, 521, 2023, doi 10.1038/s41597-023-02432-4), licence CC BY 4.0; grey
JPEG of at most 640 pixels a side, region labels read by eye. Whoever publishes something made with this model cites it.
"""
_LITE = """\
Backbone: EfficientNet-Lite weights from ImageNet, Apache-2.0.
"""
_ANSWERING = """\
From the specific operating point on the answer is fracture, below the sensitive one no fracture, between them
uncertain. The sensitive point is the highest that keeps 95 % of the fractures, the specific one the lowest that keeps
95 % of the others, each region's own where it has radiographs enough. But nothing is answered that is less likely than
its opposite: the specific point is never below a probability of 0.5, and the sensitive one never above it, so that
specificity and sensitivity may exceed what is promised.
"""
_FAILURES = """\
## Known failures

- Trained on one pool at one hospital's contrast. Radiographs from elsewhere are answered less well; no such set was
  there to measure it, only the pool's own radiographs made to look so (see the figures).
- The model was trained on every radiograph after the cross-validation: figures on the same pool would flatter it.
- Research use only, not for diagnosis.
"""
_REGION_FAILURES = """\
- Scarce regions are named after their neighbours: elbows as forearms, shoulders as humeri, femora as hips or knees.
"""
_FRACTURE_FAILURES = """\
- Hardware, casts, growth plates and another person's holding hand are likely to mislead it; not measured apart.
- Probabilities are calibrated to the share of fractures in the pool (about one in six), which no clinic shares.
"""


def render_card(manifest: Manifest, metrics: Mapping[str, Any]) -> str:
    """Return the card in Markdown."""
    data, recipe = metrics["data"], metrics["recipe"]
    left_out = "; ".join(f"{count} {reason}" for reason, count in data["left_out"].items()) or "none"
    sections = [
        f"# {manifest.name} {manifest.version}\n",
        f"Task: {manifest.task}. Architecture: {manifest.architecture} at {recipe['image_size']} pixels.",
        "Research use only, not for diagnosis.\n",
        f"SHA-256 of `{ONNX}`: `{manifest.digests[ONNX]}`\n",
        "## Data\n",
        _FRACATLAS
        if metrics.get("layout") == "fracatlas"
        else f"A data set of the layout `{metrics.get('layout')}`.\n",
        _LITE if manifest.architecture.startswith("efficientnet_lite") and recipe["weights"] == "imagenet" else "",
        f"{data['samples']} radiographs used; left out: {left_out}.",
        f"{data['contradicted']} whose duplicates carry another label are left out of the figures.\n",
        _protocol(metrics),
        _ANSWERING if manifest.task is Task.FRACTURE else "",
        render_targets(manifest.task, metrics["figures"]),
        _notes(metrics.get("notes", ())),
        _TABLES[manifest.task](metrics),
        _FAILURES + _MORE_FAILURES.get(manifest.task, ""),
        f"## Made by\n\n```\n{metrics['command']}\n```\n",
    ]
    return "\n".join(section for section in sections if section)


def _notes(notes: Sequence[str]) -> str:
    """Return what the maker of the bundle wrote into `metrics.json` beside the figures."""
    return (
        "\n".join(["### What was tried, and what would be needed\n", *(f"- {note}" for note in notes), ""])
        if notes
        else ""
    )


def _protocol(metrics: Mapping[str, Any]) -> str:
    recipe = metrics["recipe"]
    frozen = (
        f"Layers up to `{recipe['frozen_until']}` keep the weights they start with ({recipe['weights']}); those above"
        if recipe["frozen_until"]
        else f"All layers, starting from weights that are {recipe['weights']},"
    )
    kernels = _name_kept_kernels(recipe)
    return f"""\
## Protocol

{metrics["folds"]} folds of contiguous blocks of {metrics["block"]} numbers (where the data set is numbered), duplicates
and patients kept together, stratified by region and label, seed {recipe["seed"]}. Every figure below comes from
predictions on radiographs that the fold's model did not see (`out_of_fold.csv`; `fracture-models verify` computes them
again); calibration and operating points behind a figure come from the other folds. Intervals: 95 %, bootstrap over
blocks; exact binomial, of as many trials as there are blocks, where all resamples of a share are alike; that of the
calibration error, which resampling makes larger, reaches as far below the figure as above.

{frozen} were trained for {_describe_stages(recipe)} at a learning rate of
{recipe["learning_rate"]:g} on random variations, each drawn once; batch normalisation keeps its statistics{kernels}.
"""


def _name_kept_kernels(recipe: Mapping[str, Any]) -> str:
    """Say what of the backbone is kept beside, where it has such kernels; `metrics.json` of before says nothing."""
    if recipe.get("wide_kernels") is not False or not recipe["architecture"].startswith("efficientnet"):
        return ""
    return ", and depthwise kernels wider than three pixels their weights"


def _describe_stages(recipe: Mapping[str, Any]) -> str:
    """Say how long it learned from squares of which size, and which size it reads where that is another one."""
    stages: list[Mapping[str, Any]] = []
    stage: Mapping[str, Any] | None = recipe
    while stage is not None:
        stages.insert(0, stage)
        stage = stage.get("first")
    said = ", then ".join(
        f"{one['epochs']} epochs on squares of {one['image_size']} pixels" for one in stages if one["epochs"]
    )
    read = "" if recipe["epochs"] else f" (it reads squares of {recipe['image_size']}, and finds finer detail so)"
    return said + read


def _show(figure: Mapping[str, float | None]) -> str:
    if figure["value"] is None:
        return "-"
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def _type_tables(metrics: Mapping[str, Any]) -> str:
    figures = metrics["figures"]
    lines = [
        "## Figures\n",
        f"Accuracy: {_show(figures['accuracy'])}; macro F1: {_show(figures['macro_f1'])}.",
        f"The radiograph's own type is among the three most probable: {_show(figures['top_3_accuracy'])}.",
        f"Expected calibration error: {_show(figures['expected_calibration_error'])}.\n",
    ]
    lines += ["| type | radiographs | recall | precision | F1 |", "|---|---|---|---|---|"]
    for name, row in figures["types"].items():
        shown = " | ".join(_show(row[figure]) for figure in ("recall", "precision", "f1"))
        lines.append(f"| {name} | {row['radiographs']} | {shown} |")
    return "\n".join([*lines, ""])


def _region_tables(metrics: Mapping[str, Any]) -> str:
    figures = metrics["figures"]
    lines = [
        "## Figures\n",
        f"Accuracy over ten regions: {_show(figures['accuracy'])}.",
        f"Expected calibration error: {_show(figures['expected_calibration_error'])}.\n",
    ]
    lines += ["| region | radiographs | recall |", "|---|---|---|"]
    lines += [f"| {name} | {row['radiographs']} | {_show(row['recall'])} |" for name, row in figures["regions"].items()]
    lines.append(
        "\nThe same radiographs zoomed, cropped, windowed, re-compressed and marked as they might come from elsewhere: "
        f"accuracy {_show(figures['shifted']['accuracy'])}.\n"
    )
    return "\n".join([*lines, _scope(figures["scope"])])


def _scope(scope: Mapping[str, Any]) -> str:
    refused, blind = scope["outsiders_refused"], scope["outsiders_refused_unforeseen"]
    rows = [f"| {name} | {refused[name]:.1%} | {blind[name]:.1%} |" for name in refused]
    return f"""\
### Outside scope

A distance above {scope["threshold"]:g} or a confidence below {scope["least_confidence"]:.2f} is outside scope. Out of
fold that refuses {scope["refused_of_named_regions"]:.1%} of the pool's limbs as they are; the distance alone
{scope["limbs_refused"]:.1%} of them plain and shifted.

Outsiders are drawn, or cut from the pool's few trunks and heads. Refused by the gate of a fold that saw none of them,
and by one that learnt from no outsider of the whole kind:

| what | refused | kind unforeseen |
|---|---|---|
{chr(10).join(rows)}
"""


def _fracture_tables(metrics: Mapping[str, Any]) -> str:
    figures = metrics["figures"]
    rows = {"all": figures["all"], **figures["regions"]}
    peaks = figures["grad_cam_peak_in_box"]
    head = "| region | radiographs | fractures | AUC | expected calibration error | Grad-CAM peak in a box | served |"
    lines = ["## Figures\n", head, "|---|---|---|---|---|---|---|"]
    for name, row in rows.items():
        peak = _show(peaks[name]) if name in peaks else "-"
        served = {True: "yes", False: "no", None: ""}[row.get("served")]
        numbers = f"{row['radiographs']} | {row['fractures']} | {_show(row['auc'])}"
        numbers += f" | {_show(row['expected_calibration_error'])}"
        lines.append(f"| {name} | {numbers} | {peak} | {served} |")
    lines += ["\n| region | at the sensitive point: sensitivity | specificity |", "|---|---|---|"]
    lines += [_points(name, row, "sensitive") for name, row in rows.items()]
    lines += ["\n| region | at the specific point: sensitivity | specificity | precision |", "|---|---|---|---|"]
    lines += [_points(name, row, "specific", "precision") for name, row in rows.items()]
    lines.append(
        "\nPrecision: of what is answered with fracture, the share that is one, at the pool's share of fractures."
    )
    lines.append(f"\nBrier score {_show(figures['all']['brier_score'])}.\n")
    lines.append(_uncertainty(figures))
    lines.append(_coverage(figures))
    lines.append(_routing(figures["regions"]))
    return "\n".join(lines)


def _uncertainty(figures: Mapping[str, Any]) -> str:
    kept, maps = figures["conformal"], figures["heat_maps"]
    withheld = f"""\
The quality gate withholds the heat map of {maps["withheld_hits"]:.1%} of the fractured radiographs whose peak lies in a
radiologist's box, and of {maps["withheld_misses"]:.1%} of the others."""
    outlined = figures["grad_cam_peak_in_box"]["all"]["value"] is not None
    return f"""\
Answered uncertain, between the operating points: {_show(figures["all"]["uncertain"])} of the radiographs; of these
{_show(figures["all"]["fractures_among_uncertain"])} are fractures.

Conformal prediction promises to keep the true answer of {kept["promised"]:.0%} of each class; out of fold it kept
{kept["fracture"]:.1%} of the fractures and {kept["no_fracture"]:.1%} of the others, and both answers of
{kept["both"]:.1%}. It is no second opinion: it rests on the same radiographs as the operating points. Its limit on
fractures is the sensitive point where there are fractures enough (where not, it rules none out), and its limit on the
others is the specific point, unless that is held at 0.5 and lies higher: then it leaves only fracture where the answer
is uncertain still.

The same radiographs zoomed, cropped, windowed, re-compressed and marked as they might come from elsewhere: AUC
{_show(figures["shifted"]["auc"])}.

{withheld if outlined else "No fracture is outlined in this data set: where the heat maps point was not measured."}
"""


def _coverage(figures: Mapping[str, Any]) -> str:
    lines = ["| region | keeps the true answer of fractures | of others | keeps both | answered uncertain |"]
    lines.append("|---|---|---|---|---|")
    for name, row in figures["conformal"].get("regions", {}).items():
        shares = ["-" if row[key] is None else f"{row[key]:.3f}" for key in ("fracture", "no_fracture", "both")]
        lines.append(f"| {name} | {' | '.join(shares)} | {_show(figures['regions'][name]['uncertain'])} |")
    return "\n".join([*lines, ""])


def _points(name: str, row: Mapping[str, Any], point: str, *more: str) -> str:
    shown = [_show(row[f"{figure}_at_{point}_point"]) for figure in ("sensitivity", "specificity", *more)]
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
        "no validated model for it.\n",
    )
    return "\n".join(lines)


_TABLES = {Task.REGION: _region_tables, Task.FRACTURE: _fracture_tables, Task.TYPE: _type_tables}
_MORE_FAILURES = {Task.REGION: _REGION_FAILURES, Task.FRACTURE: _FRACTURE_FAILURES}
