"""The last step before Success: entries of folders and rows of the database made durable, many objects at a time."""

import fcntl
import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from dicom_node.durable import PRIVATE_FILE, sync_folder
from dicom_node.errors import describe_unforeseen
from dicom_node.receive.status import RefusedError, StoreStatus
from dicom_node.store import Admission, ReceivedInstance, Store

_LOGGER = logging.getLogger("dicom_node.receive")
_REMEMBERED_FOLDERS = 10_000
_REMEMBERED_S = 600
"""Shorter than retention leaves an empty folder alone: one that it removes is remembered nowhere."""
_Waiting: TypeAlias = tuple[ReceivedInstance, Future[Admission]]


class Registry:
    """Commits what the associations' threads have put on disk, in one transaction for all that wait.

    A commit costs a disk flush however many rows it holds. Whichever thread comes first commits for all; those that
    come while it does so gather, and the first of them commits for the others.
    """

    def __init__(self, store: Store, spool_folder: Path) -> None:
        self._store = store
        self._spool_folder = spool_folder
        self._lock = os.open(spool_folder / ".commit.lock", os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        self._durable_folders: dict[tuple[Path, int], float] = {}
        self._waiting: deque[_Waiting] = deque()
        self._committing = threading.Lock()

    def add(self, row: ReceivedInstance) -> Admission:
        """Make the entry and the row of a kept file durable; block until they are.

        Raises
        ------
        RefusedError
            Where disk or database do not keep them. The file stays: sending it again, or the next start, adds the row.
        """
        done: Future[Admission] = Future()
        self._waiting.append((row, done))
        with self._committing:
            if not done.done():
                self._commit([self._waiting.popleft() for _ in range(len(self._waiting))])
        return done.result()

    def close(self) -> None:
        """Give the lock file back; the registry is of no use afterwards."""
        os.close(self._lock)

    def _commit(self, waiting: Sequence[_Waiting]) -> None:
        batch = list(self._with_durable_entries(waiting))
        if not batch:
            return
        try:
            with self._one_writer():
                admissions = self._store.add_instances([row for row, _ in batch])
        except Exception as error:  # noqa: BLE001  # each waiting association answers for its own object; the next batch may fare better
            _LOGGER.error("%d rows were not committed: %s", len(batch), describe_unforeseen(error))  # noqa: TRY400  # no texts of exceptions in logs
            for _, done in batch:
                done.set_exception(RefusedError(StoreStatus.OUT_OF_RESOURCES, "the database does not keep the row"))
            return
        for (_, done), admission in zip(batch, admissions, strict=True):
            done.set_result(admission)

    def _with_durable_entries(self, waiting: Sequence[_Waiting]) -> Iterator[_Waiting]:
        """Make the files' entries durable, each folder once; where that fails, only its own objects are refused."""
        synced: dict[Path, bool] = {}
        for row, done in waiting:
            folder = (self._spool_folder / row.path).parent
            if folder not in synced:
                synced[folder] = self._sync(folder)
            if synced[folder]:
                yield row, done
            else:
                done.set_exception(RefusedError(StoreStatus.OUT_OF_RESOURCES, "the spool does not keep the object"))

    def _sync(self, folder: Path) -> bool:
        try:
            sync_folder(folder)
            # A folder of the same name may be another one by now.
            key = (folder, folder.stat().st_ino)
            if time.monotonic() - self._durable_folders.get(key, -math.inf) > _REMEMBERED_S:
                # Another process may have made it and not yet come this far.
                sync_folder(self._spool_folder)
                if len(self._durable_folders) > _REMEMBERED_FOLDERS:
                    self._durable_folders.clear()
                self._durable_folders[key] = time.monotonic()
        except OSError as error:
            _LOGGER.error("entries of the spool are not durable: study %s: %s", folder.name, error.strerror)  # noqa: TRY400  # one sentence
            return False
        return True

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        """Queue up with the other receiver processes: inside SQLite, waiting is sleeping and trying again."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
