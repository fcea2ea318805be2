"""One object on its way in: from the command set to a status that says whether it is safe here."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from pydicom.uid import UID

from dicom_node.errors import describe_uid, describe_unforeseen
from dicom_node.receive.archive import Archive, role_for
from dicom_node.receive.header import Header, clean_uid, read_header
from dicom_node.receive.part10 import encode_file_meta
from dicom_node.receive.recovery import add_row
from dicom_node.receive.spool import IncomingFile
from dicom_node.receive.status import RefusedError, StoreStatus
from dicom_node.store import Admission, ReceivedInstance

_LOGGER = logging.getLogger("dicom_node.receive")


@dataclass(frozen=True, kw_only=True)
class StoreRequest:
    """What a C-STORE-RQ and its presentation context say about the object that follows."""

    sop_class_uid: str
    sop_instance_uid: str
    """As sent: not yet checked."""
    abstract_syntax: str
    transfer_syntax: UID
    calling_ae_title: str
    called_ae_title: str


@dataclass
class Reception:
    """Takes one object's bytes as they arrive.

    After the first reason to refuse it the rest is dropped as it comes: the peer gets its answer when it has sent all,
    as DIMSE wants it, and the association stays usable.
    """

    archive: Archive
    request: StoreRequest
    study_instance_uid: str = ""
    """Of the object, once its header was read."""
    admission: Admission | None = None
    """What became of it; None where it is not kept."""
    _file: IncomingFile | None = None
    _refusal: RefusedError | None = None

    def begin(self) -> None:
        """Check what the command says, and open a file."""
        try:
            self._check_command()
            self.archive.watermark.check()
            self._file = self.archive.spool.open_incoming(self._head())
        except RefusedError as refusal:
            self._refuse(refusal)
        except OSError as error:
            self._refuse(_disk_refusal(error))

    def write(self, fragment: memoryview) -> None:
        """Take the next fragment of the data set."""
        if self._file is None:
            return
        if self._file.size + len(fragment) > self.archive.maximum_object_bytes:
            self._refuse(RefusedError(StoreStatus.OUT_OF_RESOURCES, "the object is larger than this node takes"))
            return
        try:
            self._file.write(fragment)
        except OSError as error:
            self._refuse(_disk_refusal(error))

    def finish(self) -> RefusedError | None:
        """Keep the object durably; None means it is, and the answer is Success."""
        try:
            if self._refusal is not None or self._file is None:
                return self._refusal
            self._keep(self._file)
        except RefusedError as refusal:
            return refusal
        except OSError as error:
            return _disk_refusal(error)
        except Exception as error:  # noqa: BLE001  # the edge of the store handler: the association goes on, the peer may send again
            _LOGGER.error("an object was not kept: %s: %s", self.name, describe_unforeseen(error))  # noqa: TRY400  # no texts of exceptions in logs
            return RefusedError(StoreStatus.PROCESSING_FAILURE, "the node could not keep the object")
        else:
            return None
        finally:
            self.discard()

    def discard(self) -> None:
        """Forget the object, and what there is of it on disk."""
        if self._file is not None:
            self._file.discard()
            self._file = None

    @property
    def name(self) -> str:
        """Say for a log line which object this is."""
        return f"SOP Instance {describe_uid(self.request.sop_instance_uid)} from {self.request.calling_ae_title!r}"

    def _refuse(self, refusal: RefusedError) -> None:
        self._refusal = refusal
        self.discard()

    def _check_command(self) -> None:
        clean_uid(self.request.sop_instance_uid)
        if self.request.sop_class_uid != self.request.abstract_syntax:
            raise RefusedError(StoreStatus.SOP_CLASS_NOT_SUPPORTED, "SOP class is not that of the presentation context")

    def _head(self) -> bytes:
        return encode_file_meta(
            sop_class_uid=self.request.sop_class_uid,
            sop_instance_uid=clean_uid(self.request.sop_instance_uid),
            transfer_syntax_uid=self.request.transfer_syntax,
            sender=self.request.calling_ae_title,
            receiver=self.request.called_ae_title,
        )

    def _keep(self, file: IncomingFile) -> None:
        header = read_header(file.read_at, file.size, self.request.transfer_syntax)
        if (header.sop_class_uid, header.sop_instance_uid) != (
            self.request.sop_class_uid,
            clean_uid(self.request.sop_instance_uid),
        ):
            raise RefusedError(
                StoreStatus.DATA_SET_MISMATCH, "command and data set name different SOP class or instance"
            )
        self.study_instance_uid = header.study_instance_uid
        file.sync()
        path = self.archive.spool.path_of(header.study_instance_uid, header.sop_instance_uid)
        row = self._row(header, file, path)
        if self.archive.spool.keep(file, path):
            admission, kept = self.archive.registry.add(row), path
            if not path.exists():
                # Retention held it for the old file until the row said that it is here again.
                raise RefusedError(StoreStatus.OUT_OF_RESOURCES, "the object was removed as it came; send it again")
        else:
            self._ensure_row(path)
            admission, kept = Admission.CONFLICT, file.path
        if admission is Admission.CONFLICT:
            self.archive.set_aside(kept, row)
        else:
            _LOGGER.debug("%s: %s of study %s", admission, self.name, row.study_instance_uid)
        self.admission = admission

    def _ensure_row(self, path: Path) -> None:
        """Let a row know the file that is there already: its own may never have been committed."""
        known = self.archive.store.find_instance(path.stem)
        if known is not None and self.archive.spool.folder / known.path == path:
            return
        try:
            add_row(self.archive, path)
        except RefusedError as error:
            # Nothing is wrong with the object that has just come; but Success would be said for one that no row knows.
            reason = "an earlier object of this instance has no row"
            raise RefusedError(StoreStatus.OUT_OF_RESOURCES, reason) from error

    def _row(self, header: Header, file: IncomingFile, path: Path) -> ReceivedInstance:
        return ReceivedInstance(
            sop_instance_uid=header.sop_instance_uid,
            study_instance_uid=header.study_instance_uid,
            series_instance_uid=header.series_instance_uid,
            sop_class_uid=header.sop_class_uid,
            transfer_syntax_uid=self.request.transfer_syntax,
            calling_ae_title=self.request.calling_ae_title,
            path=str(path.relative_to(self.archive.spool.folder)),
            sha256=file.sha256,
            size=file.size,
            role=role_for(header, self.archive.store),
            received_at=time.time(),
        )


def _disk_refusal(error: OSError) -> RefusedError:
    _LOGGER.error("the spool does not take an object: %s", error.strerror)
    return RefusedError(StoreStatus.OUT_OF_RESOURCES, f"the spool does not keep the object: {error.strerror}")
