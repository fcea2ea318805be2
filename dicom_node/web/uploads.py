"""Uploaded files, read from a form (RFC 7578) into memory: what is sent here must not lie in a temporary file.

For processes that read files they lie in a folder of their own in the node's data folder, while they are worked on.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from dicom_node.durable import make_private_folder
from inference.phrases import Phrase

MOST_FILES = 10
_FORM = "multipart/form-data"


@dataclass(frozen=True, kw_only=True)
class UploadedFile:
    """A file as it came."""

    name: str
    """Whatever the sender calls it: shown to the sender alone."""
    content: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A form with files."""

    files: tuple[UploadedFile, ...]
    form_token: str
    destination: str = ""
    """Where the results are to go; empty: nowhere."""


class _InMemory(MultiPartParser):
    spool_max_size = 1 << 40
    """The size of the whole body is limited already."""


async def read_upload(request: Request, *, most: int = MOST_FILES) -> Upload:
    """Read the fields `file`, `form_token` and `destination` of a form; at most so many files.

    Raises
    ------
    HTTPException
        415 where it is no such form, 400 where it is a broken one or holds no file or too many.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise HTTPException(415, Phrase("files are sent as {form}, in fields named file", form=_FORM))
    parser = _InMemory(request.headers, request.stream(), max_files=most, max_fields=10)
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        why = error.message if isinstance(error, MultiPartException) else Phrase("the form names no boundary")
        raise HTTPException(400, Phrase("the form cannot be read: {why}", why=why)) from None
    uploaded = [one for one in form.getlist("file") if isinstance(one, UploadFile)]
    files = tuple([UploadedFile(name=one.filename or "", content=await one.read()) for one in uploaded])
    token, destination = (
        text if isinstance(text := form.get(name), str) else "" for name in ("form_token", "destination")
    )
    await form.close()
    files = tuple(one for one in files if one.name or one.content)
    if not files:
        raise HTTPException(400, Phrase("the form holds no file in a field named file"))
    return Upload(files=files, form_token=token, destination=destination)


@contextmanager
def laid_down(files: Sequence[UploadedFile], folder: Path) -> Iterator[list[Path]]:
    """Write uploaded files below a folder for as long as they are worked on, never under the names that they came with.

    They lie in a folder of their own, into which whoever works on them may write; it is locked as long as this process
    lives, so that what a killed one has left can be told from it.
    """
    make_private_folder(folder)
    with ExitStack() as stack:
        with _locked(folder):
            own = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder, prefix="")))
            stack.enter_context(_locked(own))
        paths = [own / f"uploaded-{number}" for number, _ in enumerate(files, start=1)]
        for path, file in zip(paths, files, strict=True):
            path.write_bytes(file.content)
        yield paths


def remove_left_behind(folder: Path) -> None:
    """Remove what processes that were killed have left of uploads below a folder."""
    if not folder.exists():
        return
    with _locked(folder):
        for one in folder.iterdir():
            with suppress(OSError), _locked(one, fcntl.LOCK_NB):  # whoever has it locked works on it
                shutil.rmtree(one)


@contextmanager
def _locked(folder: Path, patience: int = 0) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | patience)
        yield
    finally:
        os.close(descriptor)
