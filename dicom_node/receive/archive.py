"""Where received objects go, and what they are to this node."""

import logging
from dataclasses import dataclass
from pathlib import Path

from dicom_node.audit import AuditTrail
from dicom_node.errors import describe_unforeseen
from dicom_node.receive.admission import DiskWatermark
from dicom_node.receive.commitment import Reporters
from dicom_node.receive.header import Header, read_file_header
from dicom_node.receive.part10 import read_sender
from dicom_node.receive.presentation import RESULT_CLASSES
from dicom_node.receive.registry import Registry
from dicom_node.receive.spool import Spool
from dicom_node.store import InstanceRole, ReceivedInstance, Store
from inference.phrases import Phrase

_LOGGER = logging.getLogger("dicom_node.receive")


@dataclass(frozen=True, kw_only=True)
class Archive:
    """Where received objects go, and what limits them."""

    spool: Spool
    store: Store
    registry: Registry
    watermark: DiskWatermark
    maximum_object_bytes: int
    trail: AuditTrail
    reporters: Reporters
    """Who may report on storage commitment."""

    def set_aside(self, path: Path, row: ReceivedInstance) -> None:
        """Move an object durably to the conflicts, for another one has its SOP Instance UID, and tell the operator."""
        patient = _try_to_read_patient(path)
        is_new = self.spool.keep_conflict(path, row.sop_instance_uid, row.sha256)
        try:
            self._tell_of_conflict(row, patient, is_new=is_new)
        except Exception as error:  # noqa: BLE001  # the object is safe, which is all that its sender asks
            reason = describe_unforeseen(error)
            _LOGGER.error("a conflict was not recorded: SOP Instance %s: %s", row.sop_instance_uid, reason)  # noqa: TRY400  # no texts of exceptions in logs

    def _tell_of_conflict(self, row: ReceivedInstance, patient: tuple[bytes, ...], *, is_new: bool) -> None:
        known = self.store.find_instance(row.sop_instance_uid)
        study = row.study_instance_uid if known is None else known.study_instance_uid
        first = () if known is None else _try_to_read_patient(self.spool.folder / known.path)
        what = Phrase(
            "conflict, first one stays: SOP Instance {uid} from {sender}: {why}",
            uid=row.sop_instance_uid,
            sender=repr(row.calling_ae_title),
            why=_compare(row, known, is_other_patient=_differ(patient, first)),
        )
        _LOGGER.warning("%s: study %s", what, study)
        if is_new:  # once, however often the sender tries
            self.store.add_event(study, what)


def _try_to_read_patient(path: Path) -> tuple[bytes, ...]:
    """Return whose a file says that it is; empty where it cannot be read, or is no longer there."""
    try:
        transfer_syntax, _ = read_sender(path)
        return read_file_header(path, transfer_syntax).patient
    except Exception:  # noqa: BLE001  # whatever a damaged file makes a parser do: the object is to be kept all the same
        return ()


def _differ(patient: tuple[bytes, ...], other: tuple[bytes, ...]) -> bool:
    """Tell whether one is certainly not the other: an archive may have added the issuer, or an ID that was missing."""
    return any(mine and theirs and mine != theirs for mine, theirs in zip(patient, other, strict=False))


def _compare(row: ReceivedInstance, known: ReceivedInstance | None, *, is_other_patient: bool) -> str:
    """Say what makes an instance another one than the one that is kept under its SOP Instance UID."""
    if known is None:
        return Phrase("other bytes")
    if row.study_instance_uid != known.study_instance_uid:
        return Phrase("relational_mismatch: sent as of study {uid}", uid=row.study_instance_uid)
    if is_other_patient:
        return Phrase("relational_mismatch: sent as of another patient")
    if row.series_instance_uid != known.series_instance_uid:
        return Phrase("relational_mismatch: sent as of series {uid}", uid=row.series_instance_uid)
    return Phrase("other bytes")


def role_for(header: Header, store: Store) -> InstanceRole:
    """Tell what an instance is to this node."""
    # A result may come back with its header overwritten, or be of an earlier release whose UIDs were not marked.
    if header.is_own_result or (
        header.sop_class_uid in RESULT_CLASSES and store.is_result(header.sop_instance_uid, header.series_instance_uid)
    ):
        return InstanceRole.OWN_RESULT
    # A screen shot or another program's result adds no radiograph, whatever SOP class it has. Were it one, two AIs
    # whose results are new images to each other would answer each other for ever.
    return InstanceRole.IMAGE if header.is_radiograph else InstanceRole.OTHER
