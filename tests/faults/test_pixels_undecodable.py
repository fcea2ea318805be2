"""What cannot become a picture is one kind of error, says so without patient data, and allocates nothing first."""

from collections.abc import Callable
from pathlib import Path

import jpeg_lossless
import numpy as np
import pytest
from builders import build_cr, build_dx, build_sr, compress, encapsulated, phantom, write_part10
from pydicom import Dataset
from pydicom.encaps import get_frame
from pydicom.uid import (
    HTJ2K,
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicom_node.analyse.codestream import frame_shape
from dicom_node.analyse.pixels import load_radiograph, to_radiograph
from dicom_node.errors import UndecodableImageError

NAME = "Unmistakable^Patient"


def named_dx(**attributes: object) -> Dataset:
    return build_dx(phantom(96, 64), PatientName=NAME, PatientID="UNMISTAKABLE", **attributes)


def without_pixels() -> Dataset:
    ds = named_dx()
    del ds.PixelData
    return ds


def with_float_pixels() -> Dataset:
    ds = without_pixels()
    ds.FloatPixelData = np.zeros((96, 64), np.float32).tobytes()
    return ds


def in_transfer_syntax(transfer_syntax: str) -> Dataset:
    ds = named_dx()
    ds.file_meta.TransferSyntaxUID = transfer_syntax
    return ds


SPOILED: dict[str, tuple[Callable[[], Dataset], str]] = {
    "no pixel data": (without_pixels, "no pixel data"),
    "float pixels": (with_float_pixels, "no pixel data"),
    "an object without image": (build_sr, "no pixel data"),
    "two frames": (lambda: named_dx(NumberOfFrames=2), "more than one frame"),
    "ten thousand frames": (lambda: named_dx(NumberOfFrames=10_000), "more than one frame"),
    "no rows": (lambda: named_dx(Rows=0), "no rows"),
    "no columns": (lambda: named_dx(Columns=0), "no columns"),
    "a huge matrix": (lambda: named_dx(Rows=65535, Columns=65535), "million pixels"),
    "a matrix of 800 MB": (lambda: named_dx(Rows=20_000, Columns=20_000), "million pixels"),
    "rows missing": (lambda: named_dx(Rows=None), "could not be decoded"),
    "too many rows": (lambda: named_dx(Rows=97), "shorter"),
    "too few rows": (lambda: named_dx(Rows=95), "longer"),
    "too many columns": (lambda: named_dx(Columns=65), "shorter"),
    "bits that no image has": (lambda: named_dx(BitsAllocated=12), "bits allocated"),
    "more bits stored than allocated": (lambda: named_dx(BitsStored=17), "bits allocated"),
    "no bits stored": (lambda: named_dx(BitsStored=0), "bits allocated"),
    "three grey samples": (lambda: named_dx(SamplesPerPixel=3), "samples per pixel"),
    "colour of one sample": (lambda: named_dx(PhotometricInterpretation="RGB"), "samples per pixel"),
    "native data that claims to be compressed": (lambda: in_transfer_syntax(JPEG2000Lossless), "could not be decoded"),
    "a video": (lambda: in_transfer_syntax(MPEG2MPML), "transfer syntax"),
    "a transfer syntax that inflates": (lambda: in_transfer_syntax(DeflatedExplicitVRLittleEndian), "transfer syntax"),
    "an unknown transfer syntax": (lambda: in_transfer_syntax("1.2.3.4"), "transfer syntax"),
}


@pytest.mark.fault(33, 40, 43, 45, 48)
@pytest.mark.parametrize("case", SPOILED)
def test_what_cannot_be_a_picture_is_refused_with_its_reason(case: str) -> None:
    build, reason = SPOILED[case]

    with pytest.raises(UndecodableImageError, match=reason) as refused:
        to_radiograph(build())

    assert "Unmistakable" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.fault(43)
@pytest.mark.filterwarnings("ignore:A value of .* for .* 'Number of Frames' is invalid")
@pytest.mark.parametrize("number_of_frames", [None, "", 0, 1])
def test_one_frame_may_be_said_in_four_ways(number_of_frames: object, tmp_path: Path) -> None:
    path = write_part10(named_dx(NumberOfFrames=number_of_frames), tmp_path / "image.dcm")

    assert load_radiograph(path).rows == 96


def with_many_components(transfer_syntax: str) -> Dataset:
    ds = compress(build_dx(phantom(96, 64, bits=8).astype(np.uint8)), transfer_syntax)
    codestream = bytearray(get_frame(ds.PixelData, 0, number_of_frames=1))
    at = 41 if transfer_syntax == JPEG2000Lossless else codestream.index(b"\xff\xf7") + 9
    codestream[at] = 200
    return encapsulated(ds, transfer_syntax, bytes(codestream))


@pytest.mark.fault(38)
@pytest.mark.parametrize("transfer_syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_a_codestream_of_200_components_is_refused(transfer_syntax: str) -> None:
    with pytest.raises(UndecodableImageError, match="another shape"):
        to_radiograph(with_many_components(transfer_syntax))


def lying_about_its_size(transfer_syntax: str) -> Dataset:
    large = build_dx(phantom(192, 128, bits=8).astype(np.uint8))
    if transfer_syntax == JPEGLosslessSV1:
        codestream = jpeg_lossless.encode(phantom(192, 128, bits=8), 8)
    else:
        codestream = get_frame(compress(large, transfer_syntax).PixelData, 0, number_of_frames=1)
    return encapsulated(build_dx(phantom(96, 64, bits=8).astype(np.uint8)), transfer_syntax, codestream)


@pytest.mark.fault(38)
@pytest.mark.parametrize("transfer_syntax", [JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless])
def test_a_codestream_of_another_size_than_the_header_says_never_reaches_its_decoder(
    transfer_syntax: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: object, **__: object) -> None:
        pytest.fail("the decoder was called")

    ds = lying_about_its_size(transfer_syntax)
    monkeypatch.setattr("dicom_node.analyse.pixels.pixel_array", decode)

    with pytest.raises(UndecodableImageError, match="another shape"):
        to_radiograph(ds)


def test_the_size_in_a_codestream_is_read_past_fill_bytes_and_other_segments() -> None:
    start_of_frame = bytes.fromhex("FFC0 000B 08 0102 0304 01 01 11 00")

    assert frame_shape(bytes.fromhex("FFD8 FFFF FFE0 0004 0000") + start_of_frame) == (0x0102, 0x0304, 1)
    assert frame_shape(bytes.fromhex("FFD8 FFE0 0004 0000")) is None
    assert frame_shape(bytes.fromhex("FFD8 FFE0")) is None
    assert frame_shape(bytes.fromhex("FF4F FF51 0029")) is None
    assert frame_shape(b"") is None


@pytest.mark.fault(39)
@pytest.mark.parametrize(
    "transfer_syntax",
    [RLELossless, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, HTJ2K],
)
@pytest.mark.parametrize("codestream", [b"\0\0", b"\0" * 64, b"\xff\xd8\xff\xd9", b"\xff\x4f\xff\x51"])
def test_bytes_that_are_no_codestream_are_refused(transfer_syntax: str, codestream: bytes) -> None:
    with pytest.raises(UndecodableImageError):
        to_radiograph(encapsulated(named_dx(), transfer_syntax, codestream))


@pytest.mark.fault(33)
@pytest.mark.parametrize("keep", [0.0, 0.02, 0.5])
def test_a_truncated_file_is_refused(keep: float, tmp_path: Path) -> None:
    path = write_part10(named_dx(), tmp_path / "image.dcm")
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])

    with pytest.raises(UndecodableImageError):
        load_radiograph(path)


@pytest.mark.parametrize("content", [b"", b"not DICOM at all" * 100, b"\0" * 128 + b"DICM", b"\x89PNG\r\n\x1a\n" * 50])
def test_a_file_that_is_not_dicom_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)

    with pytest.raises(UndecodableImageError, match=r"cannot be read as DICOM|transfer syntax"):
        load_radiograph(tmp_path / "file")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UndecodableImageError, match="FileNotFoundError"):
        load_radiograph(tmp_path / "missing.dcm")


def test_a_file_and_its_data_set_give_the_same_radiograph(tmp_path: Path) -> None:
    ds = build_cr()

    from_file = load_radiograph(write_part10(ds, tmp_path / "image.dcm"))

    assert (from_file.pixels == to_radiograph(ds).pixels).all()
