"""`fracture-models verify`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from inference.bundle import Bundle, load_bundle
from inference.errors import BundleError
from inference.model import Model
from inference.types import Radiograph
from models.commands.data import FRACATLAS, Layout, LayoutOption, load_data
from models.commands.progress import console, refuse, show_progress
from models.pool import name_images

if TYPE_CHECKING:
    from models.verification import Compared

EXAMPLES = """\
[bold]Examples[/bold]

fracture-models verify models/bundles/fracture

fracture-models verify models/bundles/fracture --data PATH/fracatlas --sample 50
"""


def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    *,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the pool that the bundle was made from.", exists=True, file_okay=False),
    ] = None,
    layout: LayoutOption = FRACATLAS,
    sample: Annotated[int, typer.Option(min=1, help="Radiographs of the pool to ask the model about again.")] = 25,
) -> None:
    """Check a bundle's digests, and compute again what it states.

    The model that a bundle ships has seen its whole pool, so that its figures
    there would flatter. The honest ones rest on out_of_fold.csv, which holds
    what each fold's model said about the radiographs it had not seen; from it
    every figure of metrics.json is computed again, but those that rest on the
    folds' models themselves (their maps, what they say of other looks or of
    outsiders), which are named, and so is what the manifest calibrates by. The card must be as manifest and
    metrics.json render it. With --data, the pointing game too is played again,
    and the shipped model is asked about a sample: it must answer what is
    written there. Whatever differs is listed, and ends the command with code 1.
    """
    try:
        verified = load_bundle(bundle)
        loaded = Model.load(verified, runtime="onnx", threads=2)
    except BundleError as error:
        refuse(error)
    side = verified.manifest.preprocessing.image_size
    look, _ = loaded.run(Radiograph(pixels=np.full((side, side), 0.5, np.float32)))
    for name, digest in verified.manifest.digests.items():
        console.print(f"{name:12} {digest}")
    answers = ", ".join(f"{n} {v:.3f}" for n, v in zip(verified.manifest.labels, look.logits, strict=True))
    console.print(f"{verified.manifest.name} {verified.manifest.version}: logits of a grey square: {answers}")
    compared = [*_compare(verified, loaded, data, layout, sample), *_compare_card(verified)]
    if differing := [one for one in compared if not one.agrees]:
        _show(differing)
        raise typer.Exit(1)


def _compare(bundle: Bundle, model: Model, data: Path | None, layout: Layout, sample: int) -> "list[Compared]":
    from models.predictions import TABLE, PredictionsError  # noqa: PLC0415 - scikit-learn takes a second to import
    from models.statements import compare_manifest, is_calibrated_again  # noqa: PLC0415 - likewise
    from models.verification import ask_again, compare_figures, name_unchecked, read_table  # noqa: PLC0415 - likewise

    name = bundle.folder.name
    try:
        table = read_table(bundle)
        if table is None and data is not None:
            refuse(f"{name} carries no {TABLE}: nothing of it can be computed again")
        if table is None:
            console.print(f"no {TABLE}: its figures cannot be computed again")
            return []
        boxes, asked = None, []
        if data is not None:
            dataset = load_data(layout, data, bundle.manifest.task)
            samples = dict(zip(name_images(dataset.samples), dataset.samples, strict=True))
            if missing := len(set(table.image.tolist()) - set(samples)):
                refuse(
                    f"{missing} of {len(table)} radiographs of {TABLE} are not in {data.name}, which is not the pool"
                )
            asked = ask_again(model, table, samples, count=sample, progress=show_progress)
            console.print(f"{len(asked)} answers of the shipped model compared: {_count(asked)}")
            boxes = {image: one.boxes for image, one in samples.items()}
        figures = compare_figures(bundle, table, boxes)
        stated = compare_manifest(bundle, table)
        again = is_calibrated_again(bundle)
    except (PredictionsError, OSError, ValueError) as error:
        refuse(f"{name}: {error}")
    except KeyError as error:
        refuse(f"{name}/metrics.json says nothing of {error}: it was written by another version")
    console.print(f"{len(figures)} numbers of metrics.json computed again from {TABLE}: {_count(figures)}")
    temperature = ["temperature"] if bundle.manifest.region or bundle.manifest.type else []
    if unchecked := [*name_unchecked(bundle, figures), *temperature]:
        console.print(f"not in {TABLE}, so not computed again: {', '.join(unchecked)}")
    if stated:
        console.print(f"{len(stated)} statements of manifest.toml computed again from {TABLE}: {_count(stated)}")
    if again:
        console.print("calibrated again to other radiographs, as the card says: that calibration is not checked")
    return [*figures, *stated, *asked]


def _compare_card(bundle: Bundle) -> "list[Compared]":
    from models.statements import CARD, compare_card  # noqa: PLC0415 - scikit-learn takes a second to import

    try:
        differing = compare_card(bundle)
    except OSError as error:
        console.print(f"no {Path(error.filename).name}: {CARD} is not checked")
        return []
    except KeyError as error:
        console.print(f"metrics.json says nothing of {error}: {CARD} is not checked")
        return []
    console.print(f"{CARD} compared with what manifest.toml and metrics.json say: {_count(differing)}")
    if differing:
        console.print(
            "a card that another version wrote may differ in its words alone; `card --write` renders it again"
        )
    return differing


def _count(compared: "Sequence[Compared]") -> str:
    differing = sum(not one.agrees for one in compared)
    return f"{differing} differ" if differing else "all as stated"


def _show(differing: "Sequence[Compared]") -> None:
    table = Table("what", "stated", "found", title="Differs from what the bundle states", title_justify="left")
    for one in differing:
        table.add_row(*(escape(str(said)) for said in (one.name, one.stated, one.found)))
    console.print(table)
