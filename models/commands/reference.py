"""`fracture-models reference`."""

from pathlib import Path
from typing import Annotated

import typer

from inference.bundle import REFERENCE, load_bundle
from inference.drift import Distribution, least_count
from inference.errors import BundleError
from models.commands.progress import console, refuse

EXAMPLES = """\
[bold]Example[/bold]

fracture-models reference models/bundles/fracture
"""


def reference(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.", exists=True, file_okay=False)],
) -> None:
    """Add to a bundle what serving compares its radiographs with, to notice drift.

    Training writes it by itself; this is for bundles from before. The
    distributions are those of out_of_fold.csv: what each fold's model said
    about radiographs it had not seen. No answer changes, so the version stays;
    the manifest gets the digest of reference.json.
    """
    from models.predictions import TABLE, PredictionsError  # noqa: PLC0415 - scikit-learn takes a second to import
    from models.reference import add_reference, build_reference  # noqa: PLC0415 - likewise
    from models.verification import read_table  # noqa: PLC0415 - likewise

    try:
        verified = load_bundle(bundle)
        table = read_table(verified)
    except (BundleError, PredictionsError) as error:
        refuse(error)
    if table is None:
        refuse(f"{bundle.name} carries no {TABLE}")
    found = build_reference(table, verified.manifest.answers)
    if found is None:
        refuse(f"{bundle.name}: too few radiographs, or a task without a reference")
    add_reference(verified, found)
    for score in found.scores:
        _show(f"scores of {', '.join(score.regions)}", score.logits)
    if found.scope_distance is not None:
        _show("distance from the scope", found.scope_distance)
    console.print(f"{bundle / REFERENCE} written")


def _show(what: str, distribution: Distribution) -> None:
    needed = least_count(len(distribution.shares), distribution.count)
    said = "too few to notice drift by" if needed is None else f"drift is noticed from {needed} studies on"
    console.print(f"{what}: {distribution.count} radiographs, {said}")
