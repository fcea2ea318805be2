"""What tests of the receiver send, and where they look for it."""

import contextlib
import fcntl
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pynetdicom.association import Association
from pynetdicom.transport import ThreadedAssociationServer
from raw_peer import ASSOCIATE_AC, COMMAND, EXPLICIT, LAST, RELEASE_RP, RawPeer, echo_command, status_of

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


def port_of(server: Receiver | ThreadedAssociationServer) -> int:
    return server.port if isinstance(server, Receiver) else server.server_address[1]


def echoes(port: int) -> bool:
    """Tell whether a well-behaved peer is served now."""
    with RawPeer(port) as peer:
        if peer.request()[0] != ASSOCIATE_AC:
            return False
        peer.send_values((3, COMMAND | LAST, echo_command()))
        return status_of(peer.read_response()) == 0 and peer.release() == RELEASE_RP


def ends_soon(threads: Callable[[], int], within_s: float = 5) -> bool:
    deadline = time.monotonic() + within_s
    while threads() and time.monotonic() < deadline:
        time.sleep(0.05)
    return threads() == 0


def unread(peer: RawPeer, association: Association) -> int:
    """Return how many bytes the peer has sent that the server's association has not read: the kernel holds them.

    How far a process grows when it reads them tells less: it may fill what earlier tests have freed.
    """
    ends = ((peer.socket, termios.TIOCOUTQ), (association.dul.socket.socket, termios.FIONREAD))
    return sum(int.from_bytes(fcntl.ioctl(end.fileno(), request, bytes(4)), sys.byteorder) for end, request in ends)


@contextlib.contextmanager
def many(port: int, count: int) -> Iterator[list[RawPeer]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(RawPeer(port)) for _ in range(count)]
