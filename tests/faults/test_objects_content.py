"""What is in an object: data sets that are empty, cut off, in another encoding, or made to break a parser."""

import struct
import time
import tracemalloc
from collections.abc import Callable
from io import BytesIO

import psutil
import pytest
from builders import build_dx
from pydicom import Dataset, dcmread
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from raw_peer import COMMAND, DX, EXPLICIT, IMPLICIT, LAST, RawPeer, status_of, store_command
from receiving import arriving, encode, kept_files, send, status

from dicom_node.assemble.study import read_instance
from dicom_node.receive import header
from dicom_node.receive.status import StoreStatus
from dicom_node.receive.storage_scp import Receiver


def nested(depth: int) -> bytes:
    """Encode sequences of undefined length inside each other, Explicit VR Little Endian."""
    opening = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return opening * depth + closing * depth


@pytest.mark.fault(35)
@pytest.mark.parametrize("depth", [2, 300, 100_000])
def test_sequences_nested_beyond_reason_are_not_understood(receiver: Receiver, depth: int) -> None:
    ds = build_dx()
    head, tail = (
        encode(Dataset({element.tag: element for element in ds if element.tag < 0x00081140})),
        encode(Dataset({element.tag: element for element in ds if element.tag > 0x00081140})),
    )
    expected = StoreStatus.SUCCESS if depth == 2 else StoreStatus.CANNOT_UNDERSTAND
    assert status(receiver, ds, data_set=head + nested(depth) + tail) == expected


@pytest.mark.fault(35)
def test_stock_pydicom_breaks_off_at_sequences_300_deep() -> None:
    with pytest.raises(RecursionError):
        dcmread(BytesIO(nested(300)), force=True)


@pytest.mark.fault(34)
@pytest.mark.filterwarnings("ignore:Expected .* VR:UserWarning")  # as in a node, where it is no error
@pytest.mark.parametrize("is_looked_at", [True, False])
@pytest.mark.parametrize(
    ("negotiated", "sent"),
    [(EXPLICIT, ImplicitVRLittleEndian), (IMPLICIT, ExplicitVRLittleEndian), (EXPLICIT, ExplicitVRBigEndian)],
)
def test_a_data_set_in_another_transfer_syntax_is_not_understood(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, negotiated: str, sent: UID, is_looked_at: bool
) -> None:
    """Without the look at its first element, which is the negative control, pydicom reads it as well as it can.

    It would be kept as what it is not. In Big Endian no element is found even so.
    """
    if not is_looked_at:
        monkeypatch.setattr(header, "_check_encoding", lambda *_: None)
    ds = build_dx()
    with RawPeer(receiver.port).associate([(DX, [negotiated])]) as peer:
        said = status_of(peer.store(encode(ds, sent), sop_instance=ds.SOPInstanceUID))
    would_be_kept = sent.is_little_endian and not is_looked_at
    assert (said == StoreStatus.SUCCESS) is would_be_kept
    assert len(kept_files(receiver)) == would_be_kept
    assert not is_looked_at or said == StoreStatus.CANNOT_UNDERSTAND


@pytest.mark.fault(32)
@pytest.mark.parametrize("content", [b"", b"\x08\0", b"\x08\0\x16\0UI\xff\xff", bytes(100), b"\xff" * 1000])
def test_what_is_no_data_set_is_not_understood(receiver: Receiver, content: bytes) -> None:
    assert status(receiver, build_dx(), data_set=content) & 0xF000 == 0xC000
    assert kept_files(receiver) == arriving(receiver) == []


@pytest.mark.fault(33)
def test_a_data_set_cut_off_in_its_pixels_is_kept(receiver: Receiver) -> None:
    ds = build_dx()
    assert status(receiver, ds, data_set=encode(ds)[:-1000]) == StoreStatus.SUCCESS


def test_a_header_longer_than_the_first_look_is_read(receiver: Receiver) -> None:
    ds = build_dx()
    block = ds.private_block(0x0009, "TEST", create=True)
    block.add_new(0x01, "OB", bytes(200_000))
    assert status(receiver, ds) == StoreStatus.SUCCESS


@pytest.mark.fault(30, 67)
def test_refusals_say_why_in_64_characters_without_patient_data(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    ds = build_dx(PatientName="Zyxwv^Canary", PatientID="CANARY-1", StudyInstanceUID=None)
    response = send(receiver, build_dx(SOPInstanceUID=ds.SOPInstanceUID), data_set=encode(ds))
    assert 0 < len(response[0x0902]) <= 64
    assert b"CANARY" not in response[0x0902].upper()
    assert "CANARY" not in caplog.text.upper()


ITEM, DELIMITER = b"\xfe\xff\0\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"
SEQUENCE, BYTES = b"\x09\0\x01\x10SQ\0\0", b"\x09\0\x02\x10OB\0\0"


def private(content: bytes, *, group: int = 0x0009) -> tuple[Dataset, bytes]:
    """Build a radiograph, and encode it with elements of a private group in their place."""
    ds = build_dx(PixelData=bytes(2048), Rows=32, Columns=32)
    whole, before = encode(ds), Dataset({one.tag: one for one in ds if one.tag.group < group})
    start = len(encode(before))
    return ds, whole[:start] + content + whole[start:]


@pytest.mark.fault(36)
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (lambda: BYTES + struct.pack("<I", 200_000_000) + bytes(200_000_000), StoreStatus.SUCCESS),
        (lambda: SEQUENCE + struct.pack("<I", 8_000_000) + ITEM * 1_000_000, StoreStatus.SUCCESS),
        (lambda: SEQUENCE + b"\xff\xff\xff\xff" + ITEM * 1_000_000 + DELIMITER, StoreStatus.CANNOT_UNDERSTAND),
        (lambda: struct.pack("<HH2sH", 9, 0x1001, b"LO", 0) * 500_000, StoreStatus.CANNOT_UNDERSTAND),
    ],
    ids=["200 MB of bytes", "a million items", "a million items without a length", "half a million elements"],
)
def test_private_data_beyond_reason_costs_neither_time_nor_memory(
    receiver: Receiver, content: Callable[[], bytes], expected: StoreStatus
) -> None:
    """What can be passed over is kept; where too much must be parsed to find out whose the object is, C000."""
    ds, data_set = private(content())
    before, started = psutil.Process().memory_info().rss, time.process_time()
    with RawPeer(receiver.port, timeout_s=120).associate(maximum_length=131_072) as peer:
        peer.send_values((1, COMMAND | LAST, store_command(DX, ds.SOPInstanceUID)))
        peer.send_data_set(data_set, piece=120_000)
        assert status_of(peer.read_response()) == expected
    assert time.process_time() - started < 20
    for path in kept_files(receiver):
        header = read_instance(path).header
        assert (header.PatientID, header.Rows) == (ds.PatientID, 32)
    assert len(kept_files(receiver)) == (expected is StoreStatus.SUCCESS)
    assert psutil.Process().memory_info().rss - before < 100_000_000


@pytest.mark.fault(36)
def test_private_data_behind_what_is_wanted_does_not_cost_the_worker_its_memory(receiver: Receiver) -> None:
    """A million items behind the pixel description are kept; whoever reads the header stops where they begin."""
    ds, data_set = private(
        SEQUENCE.replace(b"\x09", b"\x29") + b"\xff\xff\xff\xff" + ITEM * 1_000_000 + DELIMITER, group=0x0029
    )
    assert status(receiver, ds, data_set=data_set) == StoreStatus.SUCCESS
    before, started = psutil.Process().memory_info().rss, time.process_time()
    header = read_instance(kept_files(receiver)[0]).header
    assert (header.PatientID, header.Rows, "PixelData" in header) == (ds.PatientID, 32, False)
    assert psutil.Process().memory_info().rss - before < 150_000_000
    assert time.process_time() - started < 60


@pytest.mark.fault(36)
def test_stock_pynetdicom_reads_a_million_empty_items_whole() -> None:
    """The negative control: a twentieth of them costs pydicom 40 bytes of memory for each byte that was sent."""
    _, data_set = private(SEQUENCE + b"\xff\xff\xff\xff" + ITEM * 50_000 + DELIMITER)
    # Not the size of the process, which may have room left by what ran before.
    tracemalloc.start()
    try:
        ds = dcmread(BytesIO(data_set), force=True)
        assert len(ds[0x00091001].value) == 50_000
        assert tracemalloc.get_traced_memory()[0] > 15_000_000
    finally:
        tracemalloc.stop()
