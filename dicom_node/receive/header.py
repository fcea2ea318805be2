"""What must be known of an object before it is kept: who it is, and that it parses. Nothing here trusts the sender."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from pydicom import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from dicom_node.bounded_file import BoundedFile
from dicom_node.durable import data_set_offset
from dicom_node.header import identifier_bytes
from dicom_node.identity import has_result_uid, is_own_result
from dicom_node.receive.presentation import RADIOGRAPHS, RESULT_CLASSES
from dicom_node.receive.status import RefusedError, StoreStatus
from dicom_node.secondary_capture import GREY_CLASSES, is_radiograph, is_secondary

_SOP_CLASS, _SOP_INSTANCE = Tag(0x0008, 0x0016), Tag(0x0008, 0x0018)
_STUDY, _SERIES = Tag(0x0020, 0x000D), Tag(0x0020, 0x000E)
_MISSING = {
    _SOP_CLASS: (StoreStatus.MISSING_SOP_CLASS_UID, "no (0008,0016) SOP Class UID"),
    _SOP_INSTANCE: (StoreStatus.MISSING_SOP_INSTANCE_UID, "no (0008,0018) SOP Instance UID"),
    _STUDY: (StoreStatus.MISSING_STUDY_INSTANCE_UID, "no (0020,000D) Study Instance UID"),
    _SERIES: (StoreStatus.MISSING_SERIES_INSTANCE_UID, "no (0020,000E) Series Instance UID"),
}
_MAKER = [Tag(0x0008, 0x0014), Tag(0x0008, 0x0070), Tag(0x0008, 0x1090), Tag(0x0018, 0xA001)]
"""Instance Creator UID, Manufacturer, Manufacturer's Model Name, Contributing Equipment Sequence: what own results are
known by, beside their own UIDs."""
_CAPTURE = [Tag(0x0008, 0x0008), Tag(0x0008, 0x0060), Tag(0x0008, 0x0064), Tag(0x0028, 0x0004), Tag(0x0028, 0x0008)]
"""Image Type, Modality, Conversion Type, Photometric Interpretation, Number of Frames: what a Secondary Capture is."""
_PATIENT = ("PatientID", "IssuerOfPatientID")
_LAST = max(_CAPTURE)
"""Nothing behind it is looked at."""
_MEMORY = 1 << 24
"""Bytes that parsing may take; what is passed over, such as private data of any size, does not count."""
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


@dataclass(frozen=True, kw_only=True)
class Header:
    """The identifiers of an object, each safe to be part of a path."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    is_own_result: bool
    is_radiograph: bool
    """Whether it is a radiograph, or a Secondary Capture that holds one; not a picture that was made from another."""
    patient: tuple[bytes, ...] = field(repr=False)
    """Patient ID and issuer, without padding; empty where there is none. To be compared, never shown."""


def clean_uid(value: str | bytes | None) -> str:
    """Return a UID without padding; empty where there is none.

    Padding by NUL or space and components with leading zeros are tolerated; PS3.5 9.1 forbids them, devices send them.

    Raises
    ------
    RefusedError
        Where it has more than 64 characters, or others than digits and single dots between them.
    """
    text = (value.decode("latin-1") if isinstance(value, bytes) else value or "").strip(" \0")
    if text and (len(text) > 64 or not _UID.fullmatch(text)):
        raise RefusedError(StoreStatus.INVALID_SOP_INSTANCE, "a UID holds other than 64 digits and dots")
    return text


def read_header(read_at: Callable[[int, int], bytes], size: int, transfer_syntax: UID) -> Header:
    """Read the identifiers of a data set of `size` bytes, of which `read_at(offset, length)` returns a piece.

    Raises
    ------
    RefusedError
        Where the data set is empty, is not in `transfer_syntax`, does not parse, or has no or bad UIDs.
    """
    _check_encoding(read_at(0, 8), transfer_syntax)
    ds = _parse(BoundedFile(read_at, size, _MEMORY), transfer_syntax)
    uids = [_uid(ds, tag) for tag in _MISSING]
    return Header(
        sop_class_uid=uids[0],
        sop_instance_uid=uids[1],
        study_instance_uid=uids[2],
        series_instance_uid=uids[3],
        is_own_result=_holds(is_own_result if uids[0] in RESULT_CLASSES else has_result_uid, ds),
        is_radiograph=(uids[0] in RADIOGRAPHS and not _holds(is_secondary, ds))
        or (uids[0] in GREY_CLASSES and _holds(is_radiograph, ds)),
        patient=tuple((identifier_bytes(ds, name) or b"").strip() for name in _PATIENT),
    )


def read_file_header(path: Path, transfer_syntax: UID) -> Header:
    """Read the identifiers of a Part 10 file's data set; raises RefusedError as `read_header` does, or OSError."""
    with path.open("rb") as file:
        offset = data_set_offset(file.read(144))

        def read_at(start: int, length: int) -> bytes:
            file.seek(offset + start)
            return file.read(length)

        return read_header(read_at, os.fstat(file.fileno()).st_size - offset, transfer_syntax)


def _check_encoding(prefix: bytes, transfer_syntax: UID) -> None:
    """Look at the first element: pydicom reads a data set in the wrong syntax as well as it can, and says nothing."""
    if len(prefix) < 8:
        raise RefusedError(StoreStatus.CANNOT_UNDERSTAND, "the data set is empty")
    # SOP Class UID is mandatory, elements ascend: a little endian data set begins at or before group 0008.
    little_endian = int.from_bytes(prefix[:2], "little") <= 0x0008
    explicit = prefix[4:6].isalpha() and prefix[4:6].isupper()
    if not little_endian or explicit == transfer_syntax.is_implicit_VR:
        raise RefusedError(StoreStatus.CANNOT_UNDERSTAND, "the data set is not in the negotiated transfer syntax")


def _parse(file: BoundedFile, transfer_syntax: UID) -> Dataset:
    """Parse as far as anything is wanted, and convert nothing."""
    try:
        return read_dataset(
            cast("BinaryIO", file),
            transfer_syntax.is_implicit_VR,
            is_little_endian=True,
            stop_when=lambda tag, _vr, _length: tag > _LAST,
            specific_tags=[*_MISSING, *_MAKER, *map(Tag, _PATIENT), *_CAPTURE],
        )
    except (Exception, RecursionError, MemoryError) as error:  # whatever foreign bytes make the parser do
        raise RefusedError(StoreStatus.CANNOT_UNDERSTAND, "the data set does not parse") from error


def _uid(ds: Dataset, tag: BaseTag) -> str:
    # The bytes as sent: converting them would warn about them, and warnings quote values.
    value = ds.get_item(tag).value if tag in ds else None
    uid = clean_uid(value if isinstance(value, bytes) else None)
    if not uid:
        raise RefusedError(*_MISSING[tag])
    return uid


def _holds(says: Callable[[Dataset], bool], ds: Dataset) -> bool:
    try:
        return says(ds)
    except Exception:  # noqa: BLE001 - an element that does not convert says nothing
        return False
