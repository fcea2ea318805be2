"""`fracture-models card`."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markdown import Markdown

from inference.bundle import load_bundle
from inference.errors import BundleError
from models.commands.progress import console, refuse

EXAMPLES = """\
[bold]Examples[/bold]

fracture-models card models/bundles/fracture

fracture-models card models/bundles/fracture --write
"""


def card(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.", exists=True, file_okay=False)],
    *,
    write: Annotated[
        bool,
        typer.Option(
            "--write", help="Write card.md again from manifest and metrics.json, and draw what out_of_fold.csv shows."
        ),
    ] = False,
) -> None:
    """Show a bundle's card: what it was made from, what it reaches, where it fails."""
    path = bundle / "card.md"
    try:
        verified = load_bundle(bundle)
        if write:
            from models.calibrated_bundle import render_whole_card  # noqa: PLC0415 - scikit-learn takes a second
            from models.table_figures import draw_table  # noqa: PLC0415 - likewise
            from models.verification import read_table  # noqa: PLC0415 - likewise

            metrics = json.loads((bundle / "metrics.json").read_text(encoding="utf-8"))
            path.write_text(render_whole_card(verified.manifest, metrics), encoding="utf-8")
            if (table := read_table(verified)) is not None:
                draw_table(bundle / "figures", table, verified.manifest.labels)
        console.print(Markdown(path.read_text(encoding="utf-8")))
    except BundleError as error:
        refuse(error)
    except OSError as error:
        refuse(f"{bundle.name}/{Path(error.filename).name} cannot be read")
    except KeyError as error:
        refuse(f"{bundle.name}/metrics.json says nothing of {error}: it was written by another version")
