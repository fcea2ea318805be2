"""What is in an object: data sets that are empty, cut off, in another encoding, or made to break a parser."""

from collections.abc import Callable

import pytest
from builders import build_dx
from pydicom import Dataset
from pydicom.uid import (
    ImplicitVRLittleEndian,
)
from raw_peer import (
    DX,
    IMPLICIT,
    RawPeer,
    status_of,
)
from receiving import arriving, encode, kept_files, send, status

from dicom_node.receive.status import StoreStatus
from dicom_node.receive.storage_scp import Receiver

StartReceiver = Callable[..., Receiver]


def nested(depth: int) -> bytes:
    """Encode sequences of undefined length inside each other, Explicit VR Little Endian."""
    opening = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return opening * depth + closing * depth


@pytest.mark.fault(35)
@pytest.mark.parametrize("depth", [2, 300, 30_000])
def test_sequences_nested_beyond_reason_are_not_understood(receiver: Receiver, depth: int) -> None:
    ds = build_dx()
    head, tail = (
        encode(Dataset({element.tag: element for element in ds if element.tag < 0x00081140})),
        encode(Dataset({element.tag: element for element in ds if element.tag > 0x00081140})),
    )
    expected = StoreStatus.SUCCESS if depth == 2 else StoreStatus.CANNOT_UNDERSTAND
    assert status(receiver, ds, data_set=head + nested(depth) + tail) == expected


@pytest.mark.fault(34)
def test_a_data_set_in_another_transfer_syntax_is_not_understood(receiver: Receiver) -> None:
    ds = build_dx()
    assert status(receiver, ds, data_set=encode(ds, ImplicitVRLittleEndian)) == StoreStatus.CANNOT_UNDERSTAND
    big_endian = bytearray(encode(ds)[:8])
    big_endian[:4] = b"\0\x08\0\x05"
    assert status(receiver, ds, data_set=bytes(big_endian) + encode(ds)) == StoreStatus.CANNOT_UNDERSTAND
    with RawPeer(receiver.port).associate([(DX, [IMPLICIT])]) as peer:
        assert status_of(peer.store(encode(ds), sop_instance=ds.SOPInstanceUID)) == StoreStatus.CANNOT_UNDERSTAND


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
