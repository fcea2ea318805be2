"""After a crash: rows for files that have none. The spool is the truth about what was received."""

import logging
import threading
from pathlib import Path

from dicom_node.durable import hash_data_set
from dicom_node.errors import describe_unforeseen, is_uid
from dicom_node.receive.archive import Archive, role_for
from dicom_node.receive.header import read_file_header
from dicom_node.receive.part10 import read_sender
from dicom_node.recovery_marks import RecoveryMarks
from dicom_node.store import Admission, ReceivedInstance

_LOGGER = logging.getLogger("dicom_node.receive")
_SEARCH_AGAIN_S = 10


def keep_rebuilding_rows(archive: Archive, stop: threading.Event) -> None:
    """Add the rows that are missing; where the spool cannot be looked through now, again until it can, or `stop`."""
    while not stop.is_set():
        try:
            rebuild_rows(archive)
        except OSError as error:
            _LOGGER.error("the spool was not looked through, and no study is closed: %s", error.strerror)  # noqa: TRY400  # one sentence
            stop.wait(_SEARCH_AGAIN_S)
        else:
            return


def rebuild_rows(archive: Archive) -> int:
    """Add the rows that are missing in the database; return how many were.

    A process that is killed between naming a file and committing its row leaves such a file. It was not acknowledged,
    so the sender has it still; taking it in is harmless, and sending it again then finds a duplicate. Where the
    database was lost no file has a row, and it takes its time: no study is closed meanwhile.

    Raises
    ------
    OSError
        The spool cannot be looked through; no study is closed until one call has done so.
    """
    added = 0
    with RecoveryMarks(archive.spool.folder).searching():
        for path in archive.spool.files():
            if not is_uid(path.stem):
                _LOGGER.warning("a file of the spool was passed over: its name is no SOP Instance UID")
                continue
            added += _try_to_add_row(archive, path)
    if added:
        _LOGGER.warning("%d files of the spool had no row; they have one now", added)
    return added


def add_row(archive: Archive, path: Path) -> Admission:
    """Add the row of a file of the spool; one whose UID another file has goes to the conflicts.

    Raises
    ------
    RefusedError
        Where the file is none of ours, or the database does not keep the row.
    """
    row = _read_row(archive, path)
    admission = archive.registry.add(row)
    if admission is Admission.CONFLICT:
        archive.set_aside(path, row)
    return admission


def _try_to_add_row(archive: Archive, path: Path) -> bool:
    try:
        known = archive.store.find_instance(path.stem)
        if known is not None and known.removed_at is None and archive.spool.folder / known.path == path:
            return False
        return add_row(archive, path) is Admission.NEW
    except Exception as error:  # noqa: BLE001  # whatever a file that is not one of ours makes a parser do, or a database that was away for a moment: the next one is none the worse
        reason = describe_unforeseen(error)
        _LOGGER.error("a file of the spool was passed over: SOP Instance %s: %s", path.stem, reason)  # noqa: TRY400  # no texts of exceptions in logs
        return False


def _read_row(archive: Archive, path: Path) -> ReceivedInstance:
    transfer_syntax, calling_ae_title = read_sender(path)
    sha256, size = hash_data_set(path)
    header = read_file_header(path, transfer_syntax)
    return ReceivedInstance(
        sop_instance_uid=header.sop_instance_uid,
        study_instance_uid=header.study_instance_uid,
        series_instance_uid=header.series_instance_uid,
        sop_class_uid=header.sop_class_uid,
        transfer_syntax_uid=transfer_syntax,
        calling_ae_title=calling_ae_title,
        path=str(path.relative_to(archive.spool.folder)),
        sha256=sha256,
        size=size,
        role=role_for(header, archive.store),
        received_at=path.stat().st_mtime,
    )
