"""Whom a study is of: read from the received files, kept in memory only, for those who may see patients.

Neither the database nor any other file holds it. An accession number is therefore found by reading one header of each
study; what was read is remembered until the process ends, and the search says how far it has come.
"""

import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from dicom_node.assemble.file_header import read_header
from dicom_node.header import identifier, tolerate
from dicom_node.store import Store


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who and which request, as a header says it; for showing, never for filing."""

    name: str
    patient_id: str
    birth_date: str
    sex: str
    accession: str

    @property
    def says(self) -> str:
        """Who it is, in a line."""
        who = f"{self.name or '(no name)'}, ID {self.patient_id or '(none)'}, born {self.birth_date or '(not said)'}"
        return f"{who}, {self.sex or 'sex not said'}, accession number {self.accession or '(none)'}"


@dataclass(frozen=True, kw_only=True)
class FoundStudies:
    """What a search for an accession number has found."""

    studies: frozenset[str]
    """Study Instance UIDs."""
    read: int
    """Studies whose header has been read so far."""
    total: int
    """Studies whose files are kept."""


_NOTHING: tuple[str, None] = ("", None)
"""Of a study of which no file was read."""


def read_identity(path: Path) -> Identity | None:
    """Read whom an instance is of; None where its file is gone or does not say."""
    try:
        with tolerate():
            header = read_header(path)
            texts = [
                identifier(header, keyword)
                for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber")
            ]
    except OSError:
        return None
    name, patient_id, birth_date, sex, accession = (
        one if isinstance(one, str) else one.decode("ascii", "replace") for one in texts
    )
    return Identity(
        name=name.replace("^", " ").strip(), patient_id=patient_id, birth_date=birth_date, sex=sex, accession=accession
    )


class Identities:
    """Remembers in memory what the headers of studies say. Safe to use from several threads."""

    def __init__(self, store: Store, spool_dir: Path) -> None:
        self._store = store
        self._spool_dir = spool_dir
        self._known: dict[str, tuple[str, Identity | None]] = {}
        """By study: the file that was read, and what it says; together, for another thread may look between them."""
        self._lock = threading.Lock()
        self._reader: threading.Thread | None = None
        self._closed = threading.Event()

    def of_studies(self, uids: Collection[str]) -> dict[str, Identity | None]:
        """Return whom studies are of, as one file of each says; None where it says nothing or is gone.

        Its file may have been removed since it was read, and another have come that names somebody else.
        """
        files = self._store.first_files(uids)
        for uid in uids:
            if uid not in files:
                self._known.pop(uid, None)
            elif not self._is_known(uid, files[uid]):
                self._remember(uid, files[uid])
        return {uid: self._known.get(uid, _NOTHING)[1] for uid in uids}

    def _is_known(self, study_instance_uid: str, path: str) -> bool:
        return self._known.get(study_instance_uid, _NOTHING)[0] == path

    def _remember(self, study_instance_uid: str, path: str) -> None:
        self._known[study_instance_uid] = path, read_identity(self._spool_dir / path)

    def find_accession(self, text: str, *, within_s: float | None = 0.1) -> FoundStudies:
        """Find the studies with this accession number; what could not be read in that time is read meanwhile.

        None waits until all is read.
        """
        files = self._store.first_files()
        reader = self._read_missing(files)
        if reader is not None:
            reader.join(within_s)
        known = {uid: one for uid, (path, one) in self._known.copy().items() if files.get(uid) == path}
        wanted = text.strip().casefold()
        found = frozenset(uid for uid, one in known.items() if one and one.accession.casefold() == wanted)
        return FoundStudies(studies=found, read=len(known), total=len(files))

    def close(self) -> None:
        """Stop reading."""
        self._closed.set()

    def _read_missing(self, files: dict[str, str]) -> threading.Thread | None:
        with self._lock:
            for gone in self._known.keys() - files.keys():
                self._known.pop(gone, None)
            missing = {uid: path for uid, path in files.items() if not self._is_known(uid, path)}
            if missing and (self._reader is None or not self._reader.is_alive()):
                self._reader = threading.Thread(target=self._read, args=(missing,), name="accessions", daemon=True)
                self._reader.start()
            return self._reader if missing else None

    def _read(self, files: dict[str, str]) -> None:
        for uid, path in files.items():
            if self._closed.is_set():
                return
            self._remember(uid, path)
