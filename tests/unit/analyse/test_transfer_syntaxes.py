"""Every transfer syntax that the node accepts decodes to the same pixels."""

import base64
import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import jpeg_lossless
import numpy as np
import pytest
from builders import build_dx, compress, encapsulated, phantom, write_part10
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from dicom_node.analyse.pixels import DECODABLE_TRANSFER_SYNTAXES, load_radiograph, to_radiograph
from inference.types import Float32Array

# phantom(32, 24, bits=8) as an HTJ2K codestream: nothing that the tests install can make one.
HTJ2K_PHANTOM = base64.b64decode(
    "/0//UQApQAAAAAAYAAAAIAAAAAAAAAAAAAAAGAAAACAAAAAAAAAAAAABBwEB/1AACAACAAAAAv9SAAwAAgABAAUEBEAB/1wAEyBIUFBQUFBQ"
    "UFBQUFBQSEhI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAfcAAf+TwCXDAId0AMASwBLAEgDiAQd0APcAx3QAAMd0AMATQBLA"
    "EwC8rgELdABC4DCTACfkAIt0AMAWjAFdAFogH3+7nl4jwle0+h/4QBD6twCo1KJiFADnKTNPSf6XAIzbArHPuJvm+gB5wgAAvpgAwBdtAF0c"
    "AXTA06kYeH5jCXGcTLaJglPpy7Qk9oISCSZS6T/5mHNwQVB8gBSMhbkk4QQuvVGjqKjoQAESrz4AVYzsDQe9ABJHIAgAI7RogBYiCAL5IbJJ"
    "e9+3ZgAPQhWYrgA5BBMjCz/+GIYgMIBnCOZ5ADNSCXmU4AGfUqXnlwNHBLCD+cU/AMAvfoBdtALuAMvSD0qzQPPTIKUoywIppcanIZCVJkrl"
    "EsDHaTc1g8GUOFBKi7OuNoPBukul0kdoI9WA0ZZLRVmSbKmw6TnAy6Xi3S0q6WpLhQ/JsrqXqiuC+3VtF6AkBB/XqnT6iJcc/Hs8c46PLHOc"
    "XY/jOZ2kf6eBU4vROESm8lwzIHJ4AgIPCiQEDckELiICSCokiEgJtnCAILDY+A96IAgjH2Rhc5t0eeY5vg5Iy9AAlpZ7NKEBTo2QAi8SoEkB"
    "ERGyHAUtQgBEgLKgpSzEAPyx3AEAJWbABKhs0IfmgYqTmODAIFAAAelCC0NiCB/2z+IC/9k="
)


def picture(ds: Dataset) -> Float32Array:
    return to_radiograph(ds).pixels


def image(bits: int) -> NDArray[np.uint16]:
    return phantom(96, 64, bits=bits)


def signed_image() -> NDArray[np.int16]:
    return (image(12).astype(np.int32) - 2048).astype(np.int16)


@pytest.mark.parametrize("transfer_syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_lossless_compression_changes_no_pixel(transfer_syntax: str, bits: int) -> None:
    ds = build_dx(image(bits).astype(np.uint8 if bits == 8 else np.uint16))

    assert (picture(compress(ds, transfer_syntax)) == picture(ds)).all()


@pytest.mark.parametrize("transfer_syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_lossless_compression_changes_no_signed_pixel(transfer_syntax: str) -> None:
    ds = build_dx(signed_image())

    assert (picture(compress(ds, transfer_syntax)) == picture(ds)).all()


@pytest.mark.parametrize("transfer_syntax", [JPEGLossless, JPEGLosslessSV1])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_jpeg_lossless_changes_no_pixel(transfer_syntax: str, bits: int) -> None:
    ds = build_dx(image(bits).astype(np.uint8 if bits == 8 else np.uint16), BitsStored=bits, HighBit=bits - 1)

    compressed = encapsulated(ds, transfer_syntax, jpeg_lossless.encode(image(bits), bits))

    assert (picture(compressed) == picture(ds)).all()


def test_implicit_vr_changes_no_pixel(tmp_path: Path) -> None:
    explicit = build_dx()
    implicit = build_dx()
    implicit.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian

    pictures = [load_radiograph(write_part10(ds, tmp_path / "image.dcm")).pixels for ds in (explicit, implicit)]

    assert (pictures[0] == pictures[1]).all()


def test_jpeg_baseline_stays_within_its_loss() -> None:
    pixels = image(8).astype(np.uint8)
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95)

    ds = build_dx(pixels)

    assert_allclose(picture(encapsulated(ds, JPEGBaseline8Bit, stream.getvalue())), picture(ds), rtol=0, atol=12 / 255)


def test_jpeg_ls_near_lossless_stays_within_its_stated_error() -> None:
    ds = build_dx(image(12))
    lossy = build_dx(image(12))
    lossy.compress(JPEGLSNearLossless, jls_error=4, generate_instance_uid=False)

    assert_allclose(picture(lossy), picture(ds), rtol=0, atol=4.01 / 4095)


def test_jpeg_2000_stays_within_its_loss() -> None:
    ds = build_dx(image(12))
    lossy = build_dx(image(12))
    lossy.compress(JPEG2000, j2k_psnr=[60], generate_instance_uid=False)

    assert np.sqrt(np.mean((picture(lossy) - picture(ds)) ** 2)) < 0.002


@pytest.mark.parametrize("transfer_syntax", [HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K])
def test_high_throughput_jpeg_2000_is_decoded(transfer_syntax: str) -> None:
    ds = build_dx(phantom(32, 24, bits=8).astype(np.uint8))

    decoded = picture(encapsulated(ds, transfer_syntax, HTJ2K_PHANTOM))

    # One grey value, where another C library's sine draws the phantom differently.
    assert_allclose(decoded, picture(ds), rtol=0, atol=1.01 / 255)


@pytest.mark.dcmtk
@pytest.mark.skipif(shutil.which("dcmcjpeg") is None, reason="DCMTK's dcmcjpeg is not installed")
@pytest.mark.parametrize(
    ("option", "transfer_syntax", "tolerance"),
    [("+ee", JPEGExtended12Bit, 0.02), ("+el", JPEGLossless, 0), ("+e1", JPEGLosslessSV1, 0)],
)
def test_the_jpeg_of_another_toolkit_decodes_to_the_same_picture(
    option: str, transfer_syntax: str, tolerance: float, tmp_path: Path
) -> None:
    native = write_part10(build_dx(image(12)), tmp_path / "native.dcm")
    compressed = tmp_path / "compressed.dcm"
    options = [option, "+q", "98", "-W", "+un"] if tolerance else [option, "+un"]
    subprocess.run(["dcmcjpeg", *options, str(native), str(compressed)], check=True, capture_output=True)

    assert_allclose(load_radiograph(compressed).pixels, load_radiograph(native).pixels, rtol=0, atol=tolerance)
    assert transfer_syntax in DECODABLE_TRANSFER_SYNTAXES


@pytest.mark.fault(45)
def test_colour_jpeg_2000_becomes_the_same_grey() -> None:
    grey = image(8).astype(np.uint8)
    ds = build_dx(np.stack([grey, grey // 2, 255 - grey], axis=-1))
    compressed = build_dx(np.stack([grey, grey // 2, 255 - grey], axis=-1))
    compressed.PhotometricInterpretation = "YBR_RCT"
    compressed.compress(JPEG2000Lossless, generate_instance_uid=False)

    assert_allclose(picture(compressed), picture(ds), rtol=0, atol=1e-6)


@pytest.mark.fault(39)
def test_a_frame_in_several_fragments_is_one_frame() -> None:
    from pydicom.encaps import encapsulate, get_frame

    ds = build_dx(image(12))
    compressed = compress(ds, JPEG2000Lossless)
    frame = get_frame(compressed.PixelData, 0, number_of_frames=1)
    compressed.PixelData = encapsulate([frame], fragments_per_frame=5)

    assert (picture(compressed) == picture(ds)).all()
