"""Files that survive a power cut once they are said to exist."""

import os
from pathlib import Path

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


def write_durably(path: Path, content: bytes) -> None:
    """Write a file so that after a crash it is whole or absent: temporary name, fsync, rename, fsync of the folder."""
    make_private_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with open(
        temporary, "wb", opener=lambda name, flags: os.open(name, flags, PRIVATE_FILE)
    ) as file:  # Path.open takes no opener
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def make_private_folder(path: Path) -> None:
    """Make a folder and its parents, readable by this user only, and their entries durable."""
    if path.is_dir():
        return
    make_private_folder(path.parent)
    path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the entries of a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
