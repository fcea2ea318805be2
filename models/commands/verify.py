"""`fracture-models verify`."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from inference.bundle import load_bundle
from inference.errors import BundleError
from inference.model import Model
from inference.types import Radiograph
from models.commands.progress import console


def verify(bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")]) -> None:
    """Check a bundle's digests, load it, and show what it answers to a grey square."""
    try:
        verified = load_bundle(bundle)
        loaded = Model.load(verified, runtime="onnx", threads=2)
    except BundleError as error:
        console.print(f"[red]refused[/red]: {error}")
        raise typer.Exit(1) from error
    side = verified.manifest.preprocessing.image_size
    scores, _ = loaded.run(Radiograph(pixels=np.full((side, side), 0.5, np.float32)))
    for name, digest in verified.manifest.digests.items():
        console.print(f"{name:12} {digest}")
    answers = ", ".join(f"{n} {v:.3f}" for n, v in zip(verified.manifest.labels, scores.logits, strict=True))
    console.print(f"{verified.manifest.name} {verified.manifest.version}: logits of a grey square: {answers}")
