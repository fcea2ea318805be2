"""Storage Commitment Push Model (PS3.4 annex J): what is asked of an archive, and what its report says."""

from collections.abc import Iterable
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.uid import UID

from dicom_node.header import items, number, texts
from inference.phrases import Phrase

PUSH_MODEL = UID("1.2.840.10008.1.20.1")
"""SOP class of the request and of the report."""
PUSH_MODEL_INSTANCE = UID("1.2.840.10008.1.20.1.1")
"""The one SOP instance that both are about (PS3.4 J.3.5)."""
REQUEST_ACTION_TYPE = 1
SUCCESSFUL, FAILURES_EXIST = 1, 2
"""Event types of a report (PS3.4 Table J.3-2)."""

_PROCESSING_FAILURE = 0x0110
FAILURE_REASONS = {
    _PROCESSING_FAILURE: Phrase("processing failure"),
    0x0112: Phrase("it does not have the object"),
    0x0119: Phrase("it has another SOP class for the object"),
    0x0122: Phrase("it does not commit to this SOP class"),
    0x0131: Phrase("it has seen the transaction before"),
    0x0213: Phrase("it lacks resources"),
}
"""Failure reasons (PS3.3 C.14.1.1)."""


@dataclass(frozen=True, kw_only=True)
class CommitmentReport:
    """What an archive says about a transaction."""

    transaction_uid: str
    committed: frozenset[str]
    """SOP Instance UIDs that it vouches for."""
    failed: dict[str, str]
    """Why it does not, by SOP Instance UID."""


def build_request(transaction_uid: str, objects: Iterable[tuple[str, str]]) -> Dataset:
    """Build the action information of a request for pairs of SOP Class and SOP Instance UID (PS3.4 Table J.3-1)."""
    ds = Dataset()
    ds.TransactionUID = transaction_uid
    ds.ReferencedSOPSequence = [_build_reference(*pair) for pair in objects]
    return ds


def _build_reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
    return reference


def read_report(ds: Dataset) -> CommitmentReport:
    """Read the event information of a report (PS3.4 Table J.3-2); what cannot be read of it counts as not said."""
    failed = {
        _uid(item, "ReferencedSOPInstanceUID"): _describe(number(item, "FailureReason"))
        for item in items(ds, "FailedSOPSequence")
    }
    said = {_uid(item, "ReferencedSOPInstanceUID") for item in items(ds, "ReferencedSOPSequence")}
    return CommitmentReport(
        transaction_uid=_uid(ds, "TransactionUID"), committed=frozenset(said - failed.keys()), failed=failed
    )


def _uid(ds: Dataset, keyword: str) -> str:
    return next(iter(texts(ds, keyword)), "").strip(" \0")


def _describe(reason: float | None) -> str:
    code = _PROCESSING_FAILURE if reason is None else int(reason)
    status, meaning = f"0x{code:04X}", FAILURE_REASONS.get(code)
    if meaning is None:
        return Phrase("storage commitment failed: {status}", status=status)
    return Phrase("storage commitment failed: {status} ({meaning})", status=status, meaning=meaning)
