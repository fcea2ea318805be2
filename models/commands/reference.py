"""`fracture-models reference`."""

from pathlib import Path
from typing import Annotated

import typer

from inference.bundle import REFERENCE, Bundle, load_bundle
from inference.drift import Distribution, Reference, least_count
from inference.errors import BundleError
from inference.model import Model
from models.commands.data import FRACATLAS, LayoutOption, RegionOption, load_data
from models.commands.progress import console, refuse, show_progress
from models.datasets import Dataset
from models.pool import warn_of_seen

EXAMPLES = """\
[bold]Examples[/bold]

fracture-models reference models/bundles/fracture

fracture-models reference site/fracture --data PATH/site --layout folders --region FOREARM
"""


def reference(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle; it is changed.", exists=True, file_okay=False)],
    *,
    data: Annotated[
        Path | None,
        typer.Option(help="Radiographs of the site, as usual days bring them.", exists=True, file_okay=False),
    ] = None,
    layout: LayoutOption = FRACATLAS,
    region: RegionOption = None,
) -> None:
    """Give a bundle what serving compares its radiographs with, to notice drift.

    Training writes it by itself; for bundles from before it is computed from
    out_of_fold.csv: what each fold's model said about radiographs it had not
    seen. A site whose radiographs differ from those has drifted from its first
    day on. Once it has measured the model on its own (evaluate, calibrate), it
    can make them the reference: with --data the model is asked about them.

    No answer changes, so the version stays; the manifest gets the digest of
    reference.json.
    """
    from models.reference import add_reference  # noqa: PLC0415 - scikit-learn takes a second to import

    try:
        verified = load_bundle(bundle)
        found = (
            _compute(verified)
            if data is None
            else _measure(verified, load_data(layout, data, verified.manifest.task), region)
        )
    except BundleError as error:
        refuse(error)
    if found is None:
        refuse(f"{bundle.name}: too few radiographs, or a task without a reference")
    add_reference(verified, found)
    for score in found.scores:
        _show(f"scores of {', '.join(score.regions)}", score.logits)
    if found.scope_distance is not None:
        _show("distance from the scope", found.scope_distance)
    console.print(f"{bundle / REFERENCE} written")


def _compute(bundle: Bundle) -> Reference | None:
    from models.predictions import TABLE, PredictionsError  # noqa: PLC0415 - scikit-learn takes a second to import
    from models.reference import build_reference  # noqa: PLC0415 - likewise
    from models.verification import read_table  # noqa: PLC0415 - likewise

    try:
        table = read_table(bundle)
    except PredictionsError as error:
        refuse(error)
    if table is None:
        refuse(f"{bundle.folder.name} carries no {TABLE}")
    return build_reference(table, bundle.manifest.answers)


def _measure(bundle: Bundle, dataset: Dataset, region: str | None) -> Reference | None:
    from models.reference import measure_reference  # noqa: PLC0415 - scikit-learn takes a second to import

    if warning := warn_of_seen(bundle.folder, dataset):
        refuse(f"{warning} What it says of them is no reference for radiographs that it has not seen.")
    model = Model.load(bundle, runtime="onnx", threads=2)
    return measure_reference(model, dataset.samples, region=region, progress=show_progress)


def _show(what: str, distribution: Distribution) -> None:
    needed = least_count(len(distribution.shares), distribution.count)
    said = "too few to notice drift by" if needed is None else f"drift is noticed from {needed} studies on"
    console.print(f"{what}: {distribution.count} radiographs, {said}")
