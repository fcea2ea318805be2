"""What tests of the receiver send, and where they look for it."""

from pathlib import Path

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from raw_peer import EXPLICIT, RawPeer, status_of

from dicom_node.receive.storage_scp import Receiver


def encode(ds: Dataset, transfer_syntax: UID = ExplicitVRLittleEndian) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian = transfer_syntax.is_little_endian
    buffer.is_implicit_VR = transfer_syntax.is_implicit_VR
    write_dataset(buffer, ds)
    return buffer.getvalue()


def send(receiver: Receiver, ds: Dataset, *, data_set: bytes | None = None) -> dict[int, bytes]:
    """Send one object and return the response."""
    with RawPeer(receiver.port).associate([(ds.SOPClassUID, [EXPLICIT])]) as peer:
        content = encode(ds) if data_set is None else data_set
        return peer.store(content, sop_class=ds.SOPClassUID, sop_instance=ds.SOPInstanceUID)


def status(receiver: Receiver, ds: Dataset, **options: bytes) -> int:
    return status_of(send(receiver, ds, **options))


def kept_files(receiver: Receiver) -> list[Path]:
    return sorted(receiver.archive.spool.files())


def conflicts(receiver: Receiver) -> list[Path]:
    return sorted((receiver.archive.spool.folder / ".conflicts").iterdir())


def arriving(receiver: Receiver) -> list[Path]:
    return list((receiver.archive.spool.folder / ".incoming").rglob("*.part"))


def data_set_of(path: Path) -> bytes:
    content = path.read_bytes()
    return content[144 + int.from_bytes(content[140:144], "little") :]
