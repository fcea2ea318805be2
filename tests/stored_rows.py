"""Rows of the node's store for tests: what the receiver writes of an image."""

import time
from typing import Any

from dicom_node.store import InstanceRole, ReceivedInstance


def build_row(sop_instance_uid: str, study_instance_uid: str, **others: Any) -> ReceivedInstance:
    """Build the row of an image that has just come, as the receiver does; name what else matters."""
    row: dict[str, Any] = {
        "series_instance_uid": "1.2.3.4",
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.1.1",
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "calling_ae_title": "ARCHIVE",
        "path": f"{study_instance_uid}/{sop_instance_uid}.dcm",
        "sha256": "0" * 64,
        "size": 1,
        "role": InstanceRole.IMAGE,
        "received_at": time.time(),
        **others,
    }
    return ReceivedInstance(sop_instance_uid=sop_instance_uid, study_instance_uid=study_instance_uid, **row)
