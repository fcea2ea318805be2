"""The audit trail on disk: a file of JSON lines for each day (UTC), which every process of the node appends to.

A line is handed to the kernel in one piece, before what it tells of is answered or goes on: a process that is killed
loses none. The worker flushes them to the disk at each of its sweeps; a power cut may lose what came after, while
studies, instances and deliveries themselves are durable in spool and database. Files of past days are not touched
again: keep, archive or remove them as the site's rules say.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from dicom_node.durable import PRIVATE_FILE, leave_to_owner, make_private_folder
from dicom_node.errors import describe_uid

_LOGGER = logging.getLogger(__name__)

_LONGEST_TEXT = 200
_ALERTS_A_MINUTE = 60
"""Lines about strangers that one process writes: whoever knocks must not be able to fill the disk."""


class AuditEvent(StrEnum):
    """What a line of the trail tells of, and the facts it carries beside `at`, `event`, `node`, `pid`."""

    APPLICATION_START = "application start"
    """role"""
    APPLICATION_STOP = "application stop"
    """role"""
    CONNECTION_REFUSED = "connection refused"
    """host, reason"""
    ASSOCIATION_REFUSED = "association refused"
    """calling_ae_title, host, reason"""
    INSTANCE_RECEIVED = "instance received"
    """calling_ae_title, host, sop_class_uid, sop_instance_uid, study_instance_uid, status, outcome"""
    TRANSFER_BEGUN = "transfer begun"
    """peer_ae_title, host, study_instance_uid, sop_classes: results are about to be sent"""
    INSTANCES_TRANSFERRED = "instances transferred"
    """direction ("in", "out"), peer_ae_title, host, study_instance_uid, sop_classes, success;
    out: destination, results"""
    RESULT_SETTLED = "result settled"
    """destination, study_instance_uid, sop_instance_uid, state, detail: proven to be kept there, or parked"""
    STUDY_ANALYSED = "study analysed"
    """study_instance_uid, revision, version, models, images"""
    QUERY_SENT = "query sent"
    """peer_ae_title, host, sop_class_uid, keys"""
    STUDY_REMOVED = "study removed"
    """study_instance_uid, reason: its files are gone from this node"""
    USER_AUTHENTICATION = "user authentication"
    """user (empty: none of that name), host, action"""
    STUDY_VIEWED = "study viewed"
    """user, host, action, study_instance_uid: page, pictures or report, by somebody who sees whose they are"""
    PATIENTS_LISTED = "patients listed"
    """user, host, action, study_instance_uids: names that the worklist has shown, each once in a session"""
    USER_ADMINISTRATION = "user administration"
    """user, host (where it was done on a page), action, subject: whose account it is; role"""
    OPERATOR = "operator"
    """user, host (where it was done on a page), action, study_instance_uid or null for all, destination"""


class PersonAction(StrEnum):
    """What a person has done, as lines of the trail say it."""

    SIGN_IN = "sign in"
    SIGN_IN_REFUSED = "sign-in refused"
    SIGN_OUT = "sign out"
    VIEW_STUDY = "view study"
    VIEW_PICTURE = "view picture"
    VIEW_REPORT = "view report"
    SEE_WORKLIST = "see worklist"
    SEARCH_WORKLIST = "search worklist"
    ADD_USER = "add user"
    SET_ROLE = "set role"
    SET_PASSWORD = "set password"  # noqa: S105  # it names what was done
    REMOVE_USER = "remove user"
    ADD_TOKEN = "add token"  # noqa: S105
    REMOVE_TOKEN = "remove token"  # noqa: S105


class AuditTrail:
    """The trail of one node. Cheap to make, without state that a fork could share: each line opens the file anew."""

    def __init__(self, folder: Path, ae_title: str) -> None:
        self.folder = folder
        self._ae_title = ae_title
        self._alerts = _Limit(_ALERTS_A_MINUTE)

    def note(self, event: AuditEvent, **facts: Any) -> None:
        """Append a line; a disk that does not take it is said in the log and stops nothing."""
        now = datetime.now(UTC)
        about = {key: _clean(key, value) for key, value in facts.items()}
        line = {"at": now.isoformat(timespec="microseconds"), "event": event, "node": self._ae_title}
        try:
            self._append(now, json.dumps({**line, "pid": os.getpid(), **about}, separators=(",", ":")))
        except OSError as error:
            _LOGGER.error("the audit trail does not take a line: %s", error.strerror)  # noqa: TRY400  # one sentence

    def alert(self, event: AuditEvent, **facts: Any) -> None:
        """Append a line about a stranger; beyond 60 a minute they are counted, and the next line says how many."""
        is_due, unwritten = self._alerts.count()
        if is_due:
            self.note(event, **facts, **({"unwritten": unwritten} if unwritten else {}))

    def _append(self, now: datetime, line: str) -> None:
        path = self._file_of(now)
        is_new = not path.exists()
        try:
            descriptor = _open(path)
        except FileNotFoundError:
            make_private_folder(self.folder)
            leave_to_owner(self.folder)
            descriptor = _open(path)
        try:
            if is_new:
                leave_to_owner(path)
            os.write(descriptor, line.encode("ascii") + b"\n")
        finally:
            os.close(descriptor)

    def _file_of(self, day: datetime) -> Path:
        return self.folder / f"{day:%Y-%m-%d}.jsonl"

    def files(self) -> list[Path]:
        """List the files, oldest first."""
        return sorted(self.folder.glob("????-??-??.jsonl"))

    def sync(self) -> None:
        """Flush to the disk what all processes have written lately: to today's file, or just before midnight.

        Not to the newest: where the clock was set back over midnight, that is another one.
        """
        now = datetime.now(UTC)
        for day in (now - timedelta(days=1), now):
            try:
                descriptor = os.open(self._file_of(day), os.O_WRONLY)
            except FileNotFoundError:
                continue
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


@contextmanager
def running_application(trail: AuditTrail, role: str) -> Iterator[None]:
    """Note the start and the stop of a process; one that is killed has no stop, and its next start shows it."""
    trail.note(AuditEvent.APPLICATION_START, role=role)
    try:
        yield
    finally:
        trail.note(AuditEvent.APPLICATION_STOP, role=role)


class _Limit:
    """So many a minute, by a clock that nobody sets."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._lock = threading.Lock()
        self._minute, self._counted, self._unwritten = -1, 0, 0

    def count(self) -> tuple[bool, int]:
        """Count one; tell whether it is among the first of its minute, and how many before it were not."""
        with self._lock:
            minute = int(time.monotonic() // 60)
            if minute != self._minute:
                self._minute, self._counted = minute, 0
            self._counted += 1
            if self._counted > self._maximum:
                self._unwritten += 1
                return False, 0
            unwritten, self._unwritten = self._unwritten, 0
            return True, unwritten


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE_FILE)


def _clean(key: str, value: Any) -> Any:
    """Let through what may be in the trail: UIDs that are UIDs, and short printable texts without line ends."""
    if isinstance(value, dict):
        return {_text(str(name)): _clean(str(name), one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(key, one) for one in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return describe_uid(str(value)) if key.endswith(("_uid", "_uids")) else _text(str(value))


def _text(value: str) -> str:
    return "".join(one if " " <= one <= "~" else "?" for one in value[:_LONGEST_TEXT])
