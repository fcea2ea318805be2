"""Who the node is in its results, and how it knows its own results again.

Result UIDs are derived, not drawn: encoding the same analysis twice gives the same object, so that a result that is
sent again after a crash replaces itself instead of doubling. They are marked as well: anyone who has this software can
tell one without having made it.

A result is known by three marks, each enough without the others: its UIDs, what its header says of the equipment, and
the table of results (which only its own node has). An archive may overwrite one or two of them.
"""

import hashlib
import uuid

from pydicom import Dataset
from pydicom.uid import UID

from dicom_node.header import items, texts
from inference.phrases import Phrase

MANUFACTURER = "dicom-node"
MANUFACTURER_MODEL_NAME = "Fracture AI node"
DISCLAIMER = Phrase("Research use only. Not for diagnosis.")

_NAMESPACE = uuid.UUID("5f0f4f5e-8c1d-5a53-9f0a-4a3d8a8a5c11")
_LOW = (1 << 62) - 1
_UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "InstanceCreatorUID")


def derive_uid(*parts: str) -> UID:
    """Derive a UID from `parts`: UUIDv5 under 2.25 (PS3.5 B.2); the same parts always give the same UID."""
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, chr(31).join(parts)).int}")


def derive_result_uid(*parts: str) -> UID:
    """Derive a UID that is marked as one of this software's results; the same parts always give the same UID.

    A UUID of version 8 (RFC 9562 5.8) under 2.25 (PS3.5 B.2): 90 bits digest of the parts, 32 bits digest of those.
    """
    digest = int.from_bytes(hashlib.sha256(_NAMESPACE.bytes + chr(31).join(parts).encode()).digest()) >> 166
    custom = digest << 32 | _mark(digest)
    high, middle, low = custom >> 74, custom >> 62 & 0xFFF, custom & _LOW
    return UID(f"2.25.{high << 80 | 8 << 76 | middle << 64 | 2 << 62 | low}")


def is_result_uid(uid: str) -> bool:
    """Tell whether `derive_result_uid` has made a UID, here or on another node: a foreign one passes once in 2**32."""
    root, _, number = uid.strip(" \0").rpartition(".")
    if root != "2.25" or len(number) > 39 or not (number.isascii() and number.isdigit()):
        return False
    value = int(number)
    if (value >> 128, value >> 76 & 0xF, value >> 62 & 0b11) != (0, 8, 2):
        return False
    custom = value >> 80 << 74 | (value >> 64 & 0xFFF) << 62 | value & _LOW
    return custom & 0xFFFFFFFF == _mark(custom >> 32)


def _mark(digest: int) -> int:
    return int.from_bytes(hashlib.sha256(b"result" + _NAMESPACE.bytes + digest.to_bytes(12)).digest()[:4])


def is_own_result(header: Dataset) -> bool:
    """Tell whether `header` was made by this software, by its UIDs or its equipment."""
    return has_result_uid(header) or has_own_equipment(header)


def has_result_uid(header: Dataset) -> bool:
    """Tell whether an instance, its series or its creator has a UID that only results have.

    Creator: archives that give instances and series new UIDs leave it, and so do some that de-identify.
    """
    return any(is_result_uid(_first(header, keyword)) for keyword in _UIDS)


def has_own_equipment(header: Dataset) -> bool:
    """Tell whether the General Equipment module or an item of Contributing Equipment names this software.

    Contributing Equipment is what remains where an archive overwrites manufacturer and UIDs. What cannot be read is not
    of this software.
    """
    equipment = [header, *items(header, "ContributingEquipmentSequence")]
    return any(
        [_first(item, "Manufacturer"), _first(item, "ManufacturerModelName")] == [MANUFACTURER, MANUFACTURER_MODEL_NAME]
        for item in equipment
    )


def _first(item: Dataset, keyword: str) -> str:
    return next(iter(texts(item, keyword)), "").strip(" \0")
