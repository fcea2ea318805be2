"""Who the node is in its results, and how it knows its own results again.

Result UIDs are derived, not drawn: encoding the same analysis twice gives the same object, so that a result that is
sent again after a crash replaces itself instead of doubling.
"""

import uuid

from pydicom import Dataset
from pydicom.uid import UID

from dicom_node.header import items, texts

MANUFACTURER = "dicom-node"
MANUFACTURER_MODEL_NAME = "Fracture AI node"
DISCLAIMER = "Research use only. Not for diagnosis."

_NAMESPACE = uuid.UUID("5f0f4f5e-8c1d-5a53-9f0a-4a3d8a8a5c11")


def derive_uid(*parts: str) -> UID:
    """Derive a UID from `parts`: UUIDv5 under 2.25 (PS3.5 B.2); the same parts always give the same UID."""
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, chr(31).join(parts)).int}")


def is_own_result(header: Dataset) -> bool:
    """Tell whether `header` was made by this software: by the General Equipment module or by Contributing Equipment.

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
