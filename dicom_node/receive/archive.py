"""Where received objects go, and what they are to this node."""

from dataclasses import dataclass

from dicom_node.receive.admission import DiskWatermark
from dicom_node.receive.header import Header
from dicom_node.receive.presentation import RADIOGRAPHS, RESULT_CLASSES
from dicom_node.receive.registry import Registry
from dicom_node.receive.spool import Spool
from dicom_node.store import InstanceRole, Store


@dataclass(frozen=True, kw_only=True)
class Archive:
    """Where received objects go, and what limits them."""

    spool: Spool
    store: Store
    registry: Registry
    watermark: DiskWatermark
    maximum_object_bytes: int


def role_for(header: Header, store: Store) -> InstanceRole:
    """Tell what an instance is to this node."""
    # A result may come back with its equipment overwritten; its UID is still one that this node has given out.
    if header.is_own_result or (header.sop_class_uid in RESULT_CLASSES and store.is_result(header.sop_instance_uid)):
        return InstanceRole.OWN_RESULT
    # A screen shot or another program's result adds no radiograph. Were it one, two AIs whose results are new images to
    # each other would answer each other for ever.
    is_image = header.sop_class_uid in RADIOGRAPHS or header.is_captured_radiograph
    return InstanceRole.IMAGE if is_image else InstanceRole.OTHER
