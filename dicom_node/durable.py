"""Files that survive a power cut once they are said to exist."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700

_BLOCK_BYTES = 1 << 20


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


def remove_partial_files(folder: Path) -> None:
    """Remove what `write_durably` had not finished below a folder when its process was killed."""
    for path in folder.rglob(".*.part"):
        path.unlink(missing_ok=True)


def make_private_folder(path: Path) -> None:
    """Make a folder and its parents, readable by this user only, and their entries durable."""
    if path.is_dir():
        return
    make_private_folder(path.parent)
    path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    sync_folder(path.parent)


def leave_to_owner(path: Path) -> None:
    """Give what root has just made in another user's folder to that user, who could not write it otherwise.

    Where root may not do so either, it stays as it is.
    """
    folder = path.parent.stat()
    if os.geteuid() == 0 and folder.st_uid != 0:
        with suppress(PermissionError):
            os.chown(path, folder.st_uid, folder.st_gid, follow_symlinks=False)


def sync_folder(path: Path) -> None:
    """Make the entries of a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def data_set_offset(head: bytes) -> int:
    """Find where the data set begins in a Part 10 file whose meta information begins with its own length (PS3.10 7.1).

    `head` holds the first 144 bytes or more: preamble, prefix, (0002,0000).
    """
    return 144 + int.from_bytes(head[140:144], "little")


def hash_data_set(path: Path) -> tuple[str, int]:
    """Return SHA-256 and size of the data set inside a Part 10 file, without what stands before it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        offset = data_set_offset(file.read(144))
        file.seek(offset)
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
        return digest.hexdigest(), file.tell() - offset
