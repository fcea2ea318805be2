"""Whether files of the spool may lack their rows: a mark on the disk for each search for such files that has begun.

Beside the files, not in the database: that may be a new one, or one from before the last search.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dicom_node.durable import PRIVATE_FILE, make_private_folder


class RecoveryMarks:
    """An empty file for each search; it is there until that search, or one that has begun after it, is through."""

    def __init__(self, spool_dir: Path) -> None:
        self._folder = spool_dir / ".recovery"

    @property
    def is_any_set(self) -> bool:
        """Whether a search is under way, or is due because one has ended with its process."""
        return bool(self._list())

    def set_one(self) -> None:
        """Say that a search is due: the next one that is through removes the mark; OSError where there is no room."""
        make_private_folder(self._folder)
        (self._folder / uuid.uuid4().hex).touch(mode=PRIVATE_FILE)

    @contextmanager
    def searching(self) -> Iterator[None]:
        """Mark a search while it is under way; where it does not come to its end, the mark stays.

        What it removes are the marks from before it began as well, for it has passed what those searches had not, but
        not that of one that has begun since: that may be after a file which this one did not see.
        """
        self.set_one()
        marks = self._list()
        yield
        for mark in marks:
            mark.unlink(missing_ok=True)

    def _list(self) -> list[Path]:
        try:
            return list(self._folder.iterdir())
        except FileNotFoundError:
            return []
