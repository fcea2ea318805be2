"""The file around the bytes: PS3.10 File Meta Information, written so that a data set can follow as it arrives."""

import struct
from pathlib import Path

from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID

from dicom_node import __version__
from dicom_node.identity import derive_uid

IMPLEMENTATION_CLASS_UID = derive_uid("implementation class")
IMPLEMENTATION_VERSION_NAME = f"DICOM-NODE {__version__}"[:16]

_PREAMBLE = bytes(128) + b"DICM"


def encode_file_meta(
    *, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, sender: str, receiver: str
) -> bytes:
    """Encode preamble, prefix and File Meta Information (PS3.10 7.1), Explicit VR Little Endian.

    By hand, since this runs for every object and a general encoder costs as much as the rest of its reception: UI, SH
    and AE elements have one and the same layout (PS3.5 Table 7.1-2).
    """
    elements = struct.pack("<HH2sHI2s", 0x0002, 0x0001, b"OB", 0, 2, b"\0\1") + b"".join(
        (
            _element(0x0002, b"UI", sop_class_uid, b"\0"),
            _element(0x0003, b"UI", sop_instance_uid, b"\0"),
            _element(0x0010, b"UI", transfer_syntax_uid, b"\0"),
            _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID, b"\0"),
            _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME, b" "),
            _element(0x0017, b"AE", sender, b" "),
            _element(0x0018, b"AE", receiver, b" "),
        )
    )
    return _PREAMBLE + struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, len(elements)) + elements


def _element(number: int, vr: bytes, text: str, padding: bytes) -> bytes:
    value = text.encode("ascii", "replace")
    value += padding * (len(value) % 2)
    return struct.pack("<HH2sH", 0x0002, number, vr, len(value)) + value


def read_sender(path: Path) -> tuple[UID, str]:
    """Return transfer syntax and calling AE title from a file that this module wrote."""
    meta = read_file_meta_info(path)
    return meta.TransferSyntaxUID, str(meta.get("SendingApplicationEntityTitle", ""))
