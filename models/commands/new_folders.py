"""The folders that a command is to write: what would not let it is said before minutes or hours of work."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from inference.bundle import MANIFEST, NAME_PATTERN, VERSION_PATTERN
from models.commands.progress import refuse


def check_new_bundles(folders: Iterable[Path], version: str) -> None:
    """End the command unless a bundle of this version can be written to each of the folders, whose name it will bear.

    A folder without a manifest is what an interrupted run left, and is gone on with.
    """
    if not re.fullmatch(VERSION_PATTERN, version):
        refuse(f"--bundle-version {version}: a version is three numbers, as in 1.0.0")
    for folder in folders:
        if not re.fullmatch(NAME_PATTERN, folder.name):
            refuse(
                f"--out {folder}: the folder's name is the bundle's, and has lower case letters, digits, - and _ alone"
            )
        if (folder / MANIFEST).exists():
            refuse(f"{folder} holds a bundle already, and none is written over: remove it, or give another --out")
        check_can_be_written(folder)


def check_can_be_written(folder: Path) -> None:
    """End the command unless the folder can be written to, or made where it is missing."""
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        refuse(f"nothing can be written to {folder}: {nearest} is a file, or its permissions forbid it")
