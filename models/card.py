"""The card of a bundle: what it was made from and how, what it reaches, where it fails."""

import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from inference.bundle import ONNX, Manifest
from inference.types import Task
from models.card_tables import TABLES
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
specificity and sensitivity may exceed what is promised. Where the two would cross, both promises hold at either. Where
fractures are too few to promise anything of them, "no fracture" is never answered.
"""
_LOOKING_CLOSER = """\
A radiograph whose first heat map has heat is looked at again, {share:.0%} of each side around the hottest place. Its
answer rests on the mean logit of both looks, each with its mirror image; the peak is that of the closer one, and so is
the heat map as far as it reached, beyond which that of the first stays.
"""
UNTOLD = """\
Nothing in the data set tells which radiographs are one patient's: each file was taken for a patient of its own, and
where a patient has several, the figures are too kind."""
_SEEN_ALL = """\
- The model was trained on every radiograph after the cross-validation: figures on the same pool would flatter it.
- Research use only, not for diagnosis.
"""
_NEIGHBOURS = """\
- Scarce regions are named after their neighbours: elbows as forearms, shoulders as humeri, femora as hips or knees.
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
        _count_without_figure(manifest.task, metrics),
        _protocol(metrics),
        _ANSWERING if manifest.task is Task.FRACTURE else "",
        _LOOKING_CLOSER.format(share=manifest.second_look) if manifest.second_look else "",
        render_targets(manifest.task, metrics["figures"]),
        _notes(metrics.get("notes", ())),
        TABLES[manifest.task](metrics),
        _failures(manifest.task, metrics),
        f"## Made by\n\n```\n{metrics['command']}\n```\n",
        _name_by_products(manifest, metrics["command"]),
    ]
    return "\n".join(section for section in sections if section)


def _count_without_figure(task: Task, metrics: Mapping[str, Any]) -> str:
    """Say how many of the radiographs used are in no figure: a region is what it is, whether it is broken or not."""
    data, figures = metrics["data"], metrics["figures"]
    contradicted = f"{data['contradicted']} whose duplicates carry another label"
    if task is Task.REGION:
        return (
            f"{data['samples'] - figures['radiographs']} that show none of its regions are left out of the figures.\n"
        )
    if task is Task.FRACTURE and (others := data["samples"] - data["contradicted"] - figures["all"]["radiographs"]):
        return f"{contradicted}, and {others} of another region or of none, are left out of the figures.\n"
    return f"{contradicted} are left out of the figures.\n"


def _name_by_products(manifest: Manifest, command: str) -> str:
    """Say what the command makes beside this bundle, where it trains several tasks together."""
    words = shlex.split(command)
    others = [word for before, word in pairwise(words) if before == "--task" and word != manifest.task]
    if not others:
        return ""
    together, beside = " and ".join([manifest.task, *others]), " and the ".join(others)
    return f"""\
One backbone learns {together} together, and the command makes a bundle of each. This card and its figures are of the
{manifest.task} bundle alone; the {beside} bundle that comes with it need not be the one that is served beside it, which
has a card and a command of its own.
"""


def _failures(task: Task, metrics: Mapping[str, Any]) -> str:
    """Return what is known to go wrong: of each statement, what the bundle's own pool and figures bear out."""
    far = (
        "no such\n  set was there to measure it, only the pool's own radiographs made to look so (see the figures)."
        if "shifted" in metrics["figures"]
        else "how\n  much was not measured."
    )
    text = f"""\
## Known failures

- Trained on one pool, at the contrast of where it is from. Radiographs from elsewhere are answered less well; {far}
{_SEEN_ALL}"""
    if task is Task.REGION and metrics.get("layout") == "fracatlas":
        text += _NEIGHBOURS
    if task is Task.FRACTURE:
        every = metrics["figures"]["all"]
        text += f"""\
- Hardware, casts, growth plates and another person's holding hand are likely to mislead it; not measured apart.
- Probabilities are calibrated to the share of fractures in the pool, {every["fractures"]} of {every["radiographs"]}
  radiographs, in each region to its own (see the table), which no clinic shares.
"""
    return text


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
    # `metrics.json` of before says nothing: what it was made from is numbered.
    told = metrics["data"].get("tells_patients", True)
    return f"""\
## Protocol

{metrics["folds"]} folds of contiguous blocks of {metrics["block"]} numbers (where the data set is numbered), duplicates
and patients kept together, stratified by region and label, seed {recipe["seed"]}. Every figure below comes from
predictions on radiographs that the fold's model did not see (`out_of_fold.csv`, from which `fracture-models verify`
computes the figures again, and names those that do not follow from it); calibration and operating points behind a
figure come from the other folds. Intervals: 95 %, bootstrap over blocks; exact binomial, of as many trials as there are
blocks, where all resamples of a share are alike; that of the calibration error, which resampling makes larger, reaches
as far below the figure as above (where radiographs are few, it holds the truth less often than that).

{"" if told else UNTOLD + " "}{frozen} were trained for {_describe_stages(recipe)} at a learning rate of
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
