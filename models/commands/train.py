"""`fracture-models train`."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import cv2
import typer

from inference.types import Task
from models.commands.data import (
    FRACATLAS,
    DataOption,
    Layout,
    LayoutOption,
    PatientOption,
    load_data,
    take_training_part,
)
from models.commands.new_folders import check_can_be_written, check_new_bundles
from models.commands.progress import console, refuse, show_progress
from models.datasets import BLOCK, REGIONS, Dataset, DatasetError, assign_folds
from models.pool import describe, warn_of_seen
from models.recipe import ARCHITECTURES, LOCALISATION, Recipe

SEED = 2026
SMALLEST = 64
"""Pixels."""
Architecture = StrEnum("Architecture", {name: name for name in ARCHITECTURES})  # type: ignore[misc]  # those there are
LITE1 = Architecture("efficientnet_lite1")
EXAMPLES = f"""\
[bold]Architectures[/bold]

{", ".join(ARCHITECTURES)}: models/DATA.md describes them.

[bold]Examples[/bold]

As the shipped fracture bundle was made. A task given besides shares the backbone and makes a bundle of its own too:
fracture-models train --data PATH/fracatlas --task fracture --task region --first 320:14 --image-size 384 --epochs 20
--frozen-until block3_out --negatives 2 --second-look 0.7 --out bundles

As the shipped region bundle was made:
fracture-models train --data PATH/fracatlas --task region --model efficientnet_lite0 --image-size 224 --epochs 12
--frozen-until block3_out --negatives 3 --close-ups 0.1 --wide-kernels --out region

A network from scratch on folders of your own, one folder a class:
fracture-models train --layout folders --data wrists --task fracture --region FOREARM --model custom_cnn
--weights random --learning-rate 0.001 --image-size 224 --epochs 40 --out bundles/wrist
"""


def train(
    *,
    data: DataOption,
    task: Annotated[
        list[Task], typer.Option(help="What the bundle answers. Given twice, both tasks share one backbone.")
    ],
    out: Annotated[
        Path,
        typer.Option(help="Folder of the bundle, which gets its name; with several tasks, the folder above theirs."),
    ],
    layout: LayoutOption = FRACATLAS,
    region: Annotated[
        str | None,
        typer.Option(help="Region that all radiographs show, e.g. HAND: fractures of a data set that names none."),
    ] = None,
    patient_from: PatientOption = None,
    model: Annotated[Architecture, typer.Option(metavar="NAME", help="Architecture, one of those below.")] = LITE1,
    weights: Annotated[str, typer.Option(help="imagenet, random, or a weights file to start from.")] = "imagenet",
    image_size: Annotated[
        int, typer.Option(min=SMALLEST, help="Side of the square that the model reads, pixels.")
    ] = 320,
    epochs: Annotated[
        int, typer.Option(min=0, help="0, after --first: learn no more, and read squares of --image-size.")
    ] = 16,
    batch_size: Annotated[int, typer.Option(min=1, help="Radiographs a step of training.")] = 16,
    learning_rate: Annotated[
        float,
        typer.Option(
            min=0,
            help="Learning rate at its highest. More than the default spoils ImageNet's weights; "
            "weights drawn at random learn faster at 0.001.",
        ),
    ] = 2e-4,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-validation.")] = 5,
    frozen_until: Annotated[
        str,
        typer.Option(
            help="Last layer that keeps the weights it starts with; by default all layers are trained. "
            "The shipped bundles have block3_out."
        ),
    ] = "",
    localisation: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Weight of the loss on the outlined fractures.",
            show_default=f"{LOCALISATION:g} where fractures are outlined",
        ),
    ] = None,
    negatives: Annotated[
        float,
        typer.Option(min=0, help="Negatives an epoch per fracture; 0 takes all. The shipped bundles have 2 and 3."),
    ] = 0.0,
    region_weight: Annotated[float, typer.Option(min=0, help="Weight of the region's loss beside another task.")] = 0.3,
    close_ups: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the draws that show part of the plate, as collimated ones do.")
    ] = 0.35,
    wide_kernels: Annotated[
        bool, typer.Option(help="Train depthwise kernels wider than three pixels too, where weights are given.")
    ] = False,
    second_look: Annotated[
        float | None,
        typer.Option(
            min=0.2,
            max=0.9,
            help="Share of each side of a radiograph that a fracture bundle looks at again, around the hottest "
            "place; the shipped one has 0.7. Answers are means of both looks. Nothing is trained otherwise.",
            show_default="one look",
        ),
    ] = None,
    first: Annotated[
        list[str] | None,
        typer.Option(metavar="SIZE:EPOCHS", help="Train before on squares of this size; may be given several times."),
    ] = None,
    bundle_version: Annotated[str, typer.Option(help="Version of the bundle, three numbers.")] = "1.0.0",
    store: Annotated[
        Path,
        typer.Option(
            help="Features and finished folds are kept here; an interrupted run goes on from them, where radiographs, "
            "labels, folds and weights are still the same."
        ),
    ] = Path("var/training"),
    seed: Annotated[int, typer.Option(help="Seed of folds, variations and weights.")] = SEED,
) -> None:
    """Cross-validate, calibrate, train on everything, and write each bundle with its card and figures."""
    if second_look is not None and Task.FRACTURE not in task:
        raise typer.BadParameter("--second-look is for a fracture bundle: with --task fracture")
    # Radiographs are rendered on threads of our own; OpenCV's would only wait for each other.
    cv2.setNumThreads(1)
    recipe = Recipe(
        architecture=model.value,
        image_size=image_size,
        weights=weights,
        frozen_until=frozen_until,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        negatives=negatives or None,
        region_weight=region_weight,
        close_ups=close_ups,
        wide_kernels=wide_kernels,
        second_look=second_look,
        seed=seed,
    )
    recipe = put_first(first or [], recipe)
    folders = {task[0]: out} if len(task) == 1 else {one: out / one.value for one in task}
    check_new_bundles(folders.values(), bundle_version)
    check_can_be_written(store)
    dataset = take_training_part(load_data(layout, data, task[0], patient_from=patient_from))
    if region is not None:
        dataset = tell_region(dataset, region, task)
    if Task.REGION in task and (absent := sorted(set(REGIONS) - {sample.region for sample in dataset.samples})):
        console.print(
            f"no radiograph shows {', '.join(absent)}: the region bundle will name none of them, and "
            "the node refuses a fracture bundle beside it that serves one"
        )
    if Path(weights).is_file() and (warning := warn_of_seen(Path(weights).parent, dataset)):
        refuse(
            f"--weights: {warning} No fold could be held out from weights that have seen it: start from imagenet, or "
            "from weights that have seen none of these radiographs"
        )
    told = {"region": region, "patient-from": patient_from}
    recipe = weigh_outlines(recipe, localisation, dataset, task)
    # Keras takes seconds to import.
    from models.claims import NothingToClaimError  # noqa: PLC0415
    from models.making import make_bundles  # noqa: PLC0415
    from models.network import UnknownLayerError, UnsuitableSizeError  # noqa: PLC0415
    from models.pretrained import WeightsError  # noqa: PLC0415

    try:
        manifests = make_bundles(
            folders,
            dataset,
            recipe,
            assign_folds(dataset.samples, folds=folds, seed=seed),
            version=bundle_version,
            metrics={
                "layout": layout.value,
                "data": describe(dataset),
                "recipe": asdict(recipe),
                "folds": folds,
                "block": BLOCK,
                "command": _command(layout, task, told, recipe, folds=folds, version=bundle_version, out=out),
            },
            progress=show_progress,
            store=store,
        )
    except (
        DatasetError,
        NothingToClaimError,
        UnknownLayerError,
        UnsuitableSizeError,
        WeightsError,
        ImportError,
    ) as error:
        refuse(error)
    for manifest, folder in zip(manifests, folders.values(), strict=True):
        console.print(f"{folder}: {manifest.name} {manifest.version}; its figures are on {folder / 'card.md'}")


def tell_region(dataset: Dataset, region: str, tasks: list[Task]) -> Dataset:
    """Return the data set with every radiograph's region told; refused where something else tells it."""
    if region not in REGIONS:
        raise typer.BadParameter(f"--region {region}: one of {', '.join(REGIONS)}")
    if tasks != [Task.FRACTURE]:
        raise typer.BadParameter("--region says what a fracture bundle answers for: with --task fracture alone")
    if any(sample.region for sample in dataset.samples):
        raise typer.BadParameter("--region is for data sets that name no region; this one does")
    return replace(dataset, samples=tuple(replace(sample, region=region) for sample in dataset.samples))


def weigh_outlines(recipe: Recipe, weight: float | None, dataset: Dataset, tasks: list[Task]) -> Recipe:
    """Return the recipe, and the stages before it, with the weight of the outlines' loss; None takes the usual one."""
    if weight is None:
        outlined = Task.FRACTURE in tasks and any(sample.polygons for sample in dataset.samples)
        weight = LOCALISATION if outlined else 0.0
    first = recipe.first and weigh_outlines(recipe.first, weight, dataset, tasks)
    return replace(recipe, localisation=weight, first=first)


def put_first(stages: list[str], recipe: Recipe) -> Recipe:
    """Return the recipe with the stages that come before it, each going on from the one before."""
    earlier = None
    for stage in stages:
        size, _, epochs = stage.partition(":")
        if not (size.isdigit() and epochs.isdigit() and int(size) >= SMALLEST and int(epochs)):
            raise typer.BadParameter(f"{stage}: write the side of the square and the epochs, as in 320:12")
        earlier = replace(recipe, image_size=int(size), epochs=int(epochs), second_look=None, first=earlier)
    if not recipe.epochs and earlier is None:
        raise typer.BadParameter("--epochs 0 learns nothing: it needs a stage before it, as in --first 320:12")
    return replace(recipe, first=earlier)


def _list_stages(recipe: Recipe) -> list[str]:
    earlier = recipe.first
    return [] if earlier is None else [*_list_stages(earlier), f"{earlier.image_size}:{earlier.epochs}"]


def _command(
    layout: Layout,
    tasks: list[Task],
    told: Mapping[str, str | None],
    recipe: Recipe,
    *,
    folds: int,
    version: str,
    out: Path,
) -> str:
    options: Mapping[str, object] = {
        "model": recipe.architecture,
        "weights": recipe.weights,
        "image-size": recipe.image_size,
        "epochs": recipe.epochs,
        "batch-size": recipe.batch_size,
        "learning-rate": f"{recipe.learning_rate:g}",
        "folds": folds,
        "frozen-until": recipe.frozen_until,
        "localisation": f"{recipe.localisation:g}",
        "negatives": f"{recipe.negatives or 0:g}",
        "region-weight": f"{recipe.region_weight:g}",
        "close-ups": f"{recipe.close_ups:g}",
        "bundle-version": version,
        "seed": recipe.seed,
        "out": out.name,
    }
    words = ["fracture-models", "train", "--layout", layout.value, "--data", f"PATH/{layout.value}"]
    words += [word for task in tasks for word in ("--task", task.value)]
    words += [word for name, value in told.items() if value for word in (f"--{name}", value)]
    words += ["--wide-kernels"] if recipe.wide_kernels else []
    words += ["--second-look", f"{recipe.second_look:g}"] if recipe.second_look else []
    words += [word for stage in _list_stages(recipe) for word in ("--first", stage)]
    return shlex.join([*words, *(word for name, value in options.items() for word in (f"--{name}", str(value)))])
