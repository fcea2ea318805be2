"""What commands share: their options, and how one says that it failed."""

import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

Config = Annotated[
    Path, typer.Option("--config", "-c", help="Configuration file.", envvar="DICOM_NODE_CONFIG", show_default=True)
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log every step.")]
StudyUID = Annotated[str, typer.Argument(help="Study Instance UID.", metavar="STUDY")]
Bundles = Annotated[
    Path | None, typer.Option(help="Folder of model bundles; else those of the configuration, else the shipped ones.")
]
State = Literal["all", "receiving", "at work", "done", "failed", "left out"]
FindingOption = Literal["all", "fracture", "no fracture", "uncertain", "not analysed"]
DEFAULT_CONFIG = Path("config/node.toml")


def fail(sentence: str, *, code: int = 1) -> NoReturn:
    """End the command: its error in one sentence."""
    typer.echo(f"dicom-node: {sentence}", err=True)
    sys.exit(code)
