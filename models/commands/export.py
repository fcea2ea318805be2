"""`fracture-models export`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from inference.bundle import KERAS, ONNX, load_bundle
from inference.errors import BundleError
from models.commands.progress import console, refuse

EXAMPLES = """\
[bold]Examples[/bold]

fracture-models export models/bundles/fracture --out again

fracture-models export my_model.keras --out exported
"""


def export(
    source: Annotated[Path, typer.Argument(help="Folder of a bundle, or a .keras file.", exists=True)],
    *,
    out: Annotated[Path, typer.Option(help="Folder to write model.onnx to.")],
    samples: Annotated[int, typer.Option(min=1, help="Random inputs that both models answer.")] = 4,
) -> None:
    """Write a Keras model as ONNX, and compare what both answer to random inputs.

    A model of one's own must read one grey square (size, size, 1) and answer a
    dictionary of logits (outputs), cam (h, w, outputs) and embedding
    (channels), as the architectures of this package do. Kernels are stored in
    half precision where that changes none of them. A difference that rounding
    does not explain ends the command with code 1.
    """
    from models import parity  # noqa: PLC0415 - Keras takes seconds to import

    preprocessing = None
    try:
        if source.is_dir():
            bundle = load_bundle(source)
            preprocessing = bundle.preprocessing
            if KERAS not in bundle.manifest.digests:
                refuse(f"{source.name} carries no {KERAS}")
            source /= KERAS
        model = parity.load_keras(source)
        half = parity.export(model, out)
        differences = parity.compare(model, out, preprocessing, samples=samples)
    except (BundleError, parity.NotExportableError) as error:
        refuse(error)
    console.print(f"{out / ONNX}: kernels in {'half' if half else 'single'} precision")
    table = Table("output", "largest answer", "largest difference")
    for one in differences:
        table.add_row(one.output, f"{one.largest_answer:.3g}", f"{one.largest_difference:.2g}")
    console.print(table)
    if not all(one.is_rounding for one in differences):
        refuse("the export answers otherwise than the Keras model")
