"""The spool: received bytes in Part 10 files, a folder per study. The truth about what was received.

spool/<Study Instance UID>/<SOP Instance UID>.dcm
spool/.incoming/      objects that are still arriving, a folder per process; worth nothing when it is gone
spool/.conflicts/     objects whose SOP Instance UID was taken by another one: kept, never analysed
spool/.recovery/      marks while files may lack their rows in the database; see `dicom_node.recovery_marks`
"""

import contextlib
import hashlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from dicom_node.durable import PRIVATE_FILE, PRIVATE_FOLDER, hash_data_set, make_private_folder, sync_folder

_WRITE_BACK_BYTES = 1 << 18


class IncomingFile:
    """A file that grows while its object arrives: the data set's bytes are written, counted and hashed as they come."""

    def __init__(self, path: Path, head: bytes) -> None:
        self.path = path
        self.size = 0
        """Bytes of the data set so far."""
        self._on_its_way = 0
        self._head_bytes = len(head)
        self._hash = hashlib.sha256()
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
        try:
            self._write(head)
        except OSError:
            self.discard()
            raise

    def write(self, fragment: memoryview) -> None:
        """Append a fragment of the data set; OSError where there is no room."""
        self._write(fragment)
        self._hash.update(fragment)
        self.size += len(fragment)
        if self.size - self._on_its_way >= _WRITE_BACK_BYTES:
            # Lets the kernel begin to write to the disk, so that little is left to wait for in the end. What is not
            # on the disk yet is not dropped from memory.
            position = self._head_bytes + self._on_its_way
            os.posix_fadvise(self._descriptor, position, self.size - self._on_its_way, os.POSIX_FADV_DONTNEED)
            self._on_its_way = self.size

    def _write(self, content: bytes | memoryview) -> None:
        written = os.write(self._descriptor, content)
        while written < len(content):
            written += os.write(self._descriptor, content[written:])

    def read_at(self, offset: int, length: int) -> bytes:
        """Return bytes of the data set, fewer at its end."""
        return os.pread(self._descriptor, length, self._head_bytes + offset)

    @property
    def sha256(self) -> str:
        """Digest of the data set's bytes as sent, hexadecimal."""
        return self._hash.hexdigest()

    def sync(self) -> None:
        """Make the content durable and close the file."""
        try:
            os.fsync(self._descriptor)
        finally:
            self._close()

    def discard(self) -> None:
        """Close and remove the file; harmless when it is gone already."""
        self._close()
        self.path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Spool:
    """The folder of received files, in the hands of one process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._incoming = folder / ".incoming"
        self._conflicts = folder / ".conflicts"
        self._own = self._incoming / _name_of(str(os.getpid()))
        self._numbers = itertools.count()
        for path in (self._incoming, self._conflicts):
            make_private_folder(path)

    def open_incoming(self, head: bytes) -> IncomingFile:
        """Begin a file with preamble and File Meta Information; OSError where there is no room."""
        # A folder for each process: in a shared one they would wait for each other.
        path = self._own / f"{next(self._numbers)}.part"
        try:
            return IncomingFile(path, head)
        except FileNotFoundError:
            path.parent.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
            return IncomingFile(path, head)

    def path_of(self, study_instance_uid: str, sop_instance_uid: str) -> Path:
        """Say where an instance is kept; the UIDs must be clean."""
        return self.folder / study_instance_uid / f"{sop_instance_uid}.dcm"

    def keep(self, incoming: IncomingFile, path: Path) -> bool:
        """Give a durable incoming file its name; False where a file with other bytes has it.

        A file with the same bytes is replaced: it may be one whose entry, unlike this one's, never became durable.
        """
        try:
            _link(incoming.path, path)
        except FileExistsError:
            if hash_data_set(path)[0] != incoming.sha256:
                return False
            incoming.path.replace(path)
        else:
            incoming.path.unlink()
        return True

    def keep_conflict(self, path: Path, sop_instance_uid: str, sha256: str) -> bool:
        """Move a file durably to the conflicts; the same bytes twice are kept once. Tell whether they are new there."""
        kept = self._conflicts / f"{sop_instance_uid}.{sha256[:16]}.dcm"
        is_new = not kept.exists()
        path.replace(kept)
        sync_folder(self._conflicts)
        sync_folder(path.parent)
        return is_new

    def remove_incoming(self) -> int:
        """Remove what processes that are gone left half-received; return how many files.

        Those of a node that was killed may live on for a while and finish what they have in hand.
        """
        removed = 0
        for folder in self._incoming.iterdir():
            if folder.name == _name_of(folder.name.partition(".")[0]):
                continue
            with contextlib.suppress(OSError):  # another process is removing it too, or it holds what is not ours
                for orphan in folder.glob("*.part"):
                    orphan.unlink()
                    removed += 1
                folder.rmdir()
        return removed

    def files(self) -> Iterator[Path]:
        """Walk over all kept files."""
        for study in self.folder.iterdir():
            if not study.name.startswith("."):
                yield from study.glob("*.dcm")


def _link(incoming: Path, path: Path) -> None:
    """Give a file its name, in a folder that is made where there is none, or where retention has just removed it."""
    try:
        os.link(incoming, path)
    except FileNotFoundError:
        path.parent.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        os.link(incoming, path)


def _name_of(process: str) -> str:
    """Name a running process by number and start, so that no later one of that number is taken for it; "" if none runs.

    A process that has ended but was not waited for counts as gone.
    """
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    # Field 22 of proc(5): clock ticks from the start of the machine to that of the process.
    return "" if state == "Z" else f"{process}.{fields[18]}"
