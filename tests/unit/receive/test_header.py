import struct
from collections.abc import Callable

import pytest
from builders import build_dx, build_sc
from pydicom.uid import (
    ExplicitVRLittleEndian,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
)
from receiving import encode

from dicom_node.identity import MANUFACTURER, MANUFACTURER_MODEL_NAME
from dicom_node.receive.header import Header, clean_uid, read_header
from dicom_node.receive.status import RefusedError, StoreStatus


def read(content: bytes) -> Header:
    return read_header(lambda offset, length: content[offset : offset + length], len(content), ExplicitVRLittleEndian)


def test_the_identifiers_are_read_without_their_padding() -> None:
    ds = build_dx(StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.34")
    header = read(encode(ds))
    assert (header.study_instance_uid, header.series_instance_uid) == ("1.2.3", "1.2.34")
    assert (header.sop_class_uid, header.sop_instance_uid) == (ds.SOPClassUID, ds.SOPInstanceUID)


@pytest.mark.parametrize("length", [65_520, 65_530, 65_536, 65_540, 1 << 20, 1 << 22])
def test_identifiers_are_found_behind_private_data_of_any_length(length: int) -> None:
    ds = build_dx()
    ds.private_block(0x0009, "TEST", create=True).add_new(0x01, "OB", bytes(length // 2 * 2 - 700))
    assert read(encode(ds)).study_instance_uid == ds.StudyInstanceUID


def test_values_that_are_wanted_are_not_read_at_any_length() -> None:
    content = encode(build_dx(ImageType=None))
    start = content.index(b"\x08\0\x16\0UI")
    huge = b"\x08\0\x08\0UT\0\0" + struct.pack("<I", 1 << 25) + b"X" * (1 << 25)
    with pytest.raises(RefusedError) as refused:
        read(content[:start] + huge + content[start:])
    assert refused.value.status is StoreStatus.CANNOT_UNDERSTAND


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: build_sc(Manufacturer=MANUFACTURER, ManufacturerModelName=MANUFACTURER_MODEL_NAME), True),
        (lambda: build_sc(Manufacturer=MANUFACTURER), False),
        (build_sc, False),
        # A radiograph is never a result, whatever it says of its maker.
        (lambda: build_dx(Manufacturer=MANUFACTURER, ManufacturerModelName=MANUFACTURER_MODEL_NAME), False),
    ],
)
def test_own_results_are_known_by_their_equipment(build: Callable[[], object], expected: bool) -> None:
    assert read(encode(build())).is_own_result is expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spoiled", "expected"),
    [
        ({}, True),
        ({"Modality": "DX", "ConversionType": "DI", "PhotometricInterpretation": "MONOCHROME1"}, True),
        ({"NumberOfFrames": 1}, True),
        ({"SOPClassUID": MultiFrameGrayscaleWordSecondaryCaptureImageStorage, "NumberOfFrames": 1}, True),
        ({"ImageType": ["DERIVED", "SECONDARY"]}, True),  # a film's first picture is the digitiser's
        ({"ImageType": ["DERIVED", "SECONDARY"], "ConversionType": "DI"}, False),
        ({"Modality": "OT"}, False),
        ({"Modality": None}, False),
        ({"ConversionType": "WSD"}, False),
        ({"ConversionType": None}, False),
        ({"PhotometricInterpretation": "RGB"}, False),
        ({"NumberOfFrames": 2}, False),
        ({"SOPClassUID": MultiFrameTrueColorSecondaryCaptureImageStorage}, False),
    ],
)
def test_secondary_captures_say_whether_they_are_radiographs(spoiled: dict[str, object], expected: bool) -> None:
    assert read(encode(build_sc(**spoiled))).is_radiograph is expected


@pytest.mark.parametrize("value", ["1.2.3", b"1.2.3\0", "1.02.3 ", "1.2.3\0 ", "0", "1." + "2" * 62])
def test_uids_with_padding_and_leading_zeros_pass(value: str | bytes) -> None:
    assert set(clean_uid(value)) <= set("0123456789.")


@pytest.mark.parametrize("value", ["1.2/3", "..", "1.-2", " 1 .2", "1." + "2" * 63, "1.2.3\n", "\uff11.2"])
def test_what_is_no_uid_does_not_pass(value: str) -> None:
    with pytest.raises(RefusedError):
        clean_uid(value)
