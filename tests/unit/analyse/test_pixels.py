"""Twins: the same picture, stored in different ways, must come out the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import build_dx, draw_phantom, phantom, write_part10
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from pydicom import Dataset

from dicom_node.analyse.pixels import load_radiograph, to_radiograph
from inference.types import Float32Array

ROWS, COLUMNS = 160, 120
PICTURE = draw_phantom(ROWS, COLUMNS)


def stored(bits: int, *, negative: bool = False, signed: bool = False) -> NDArray[Any]:
    values = np.rint((1 - PICTURE if negative else PICTURE) * (2**bits - 1)).astype(np.int64)
    if signed:
        return (values - 2 ** (bits - 1)).astype(np.int8 if bits == 8 else np.int16)
    return values.astype(np.uint8 if bits == 8 else np.uint16)


def grey_values(bits: int, *, signed: bool) -> tuple[float, float]:
    """Return the lowest stored value and the number of stored values."""
    return (-(2 ** (bits - 1)) if signed else 0), 2**bits


def window(bits: int, *, signed: bool) -> dict[str, object]:
    low, count = grey_values(bits, signed=signed)
    return {"WindowCenter": str(low + count // 2), "WindowWidth": str(count)}


def exact_window(bits: int, *, signed: bool) -> dict[str, object]:
    low, count = grey_values(bits, signed=signed)
    return {
        "VOILUTFunction": "LINEAR_EXACT",
        "WindowCenter": str(low + (count - 1) / 2),
        "WindowWidth": str(count - 1),
    }


def sigmoid(bits: int, *, signed: bool) -> dict[str, object]:
    low, count = grey_values(bits, signed=signed)
    return {"VOILUTFunction": "SIGMOID", "WindowCenter": str(low + (count - 1) / 2), "WindowWidth": str(count)}


def voi_lut(bits: int, *, signed: bool) -> dict[str, object]:
    low, count = grey_values(bits, signed=signed)
    item = Dataset()
    item.LUTDescriptor = [count % 65536, int(low), 12]
    item["LUTDescriptor"].VR = "SS" if signed else "US"
    item.LUTData = np.rint(np.linspace(0, 4095, count)).astype("<u2").tobytes()
    item["LUTData"].VR = "OW"
    return {"VOILUTSequence": [item], "WindowCenter": None, "WindowWidth": None}


def nothing(bits: int, *, signed: bool) -> dict[str, object]:
    del bits, signed
    return {"WindowCenter": None, "WindowWidth": None}


def sigmoid_of(picture: Float32Array) -> NDArray[np.floating[Any]]:
    return 1 / (1 + np.exp(-4 * (picture - 0.5)))


SHOWN_AS = [
    (window, lambda picture: picture),
    (exact_window, lambda picture: picture),
    (voi_lut, lambda picture: picture),
    (sigmoid, sigmoid_of),
    (nothing, lambda picture: np.clip((picture - 0.05) / 0.95, 0, 1)),
]


@pytest.mark.fault(44, 47)
@pytest.mark.parametrize(("voi", "expected"), SHOWN_AS)
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize(
    "polarity",
    [
        ("MONOCHROME2", "IDENTITY"),
        ("MONOCHROME1", "INVERSE"),
        ("MONOCHROME2", None),
        ("MONOCHROME1", None),
        ("MONOCHROME1", "IDENTITY"),  # these two contradict themselves: said once is inverted
        ("MONOCHROME2", "INVERSE"),
    ],
)
def test_twins_give_the_same_picture_with_bone_brighter_than_background(
    polarity: tuple[str, str | None],
    bits: int,
    signed: bool,
    voi: Any,
    expected: Any,
) -> None:
    photometric_interpretation, presentation_lut_shape = polarity
    pixels = stored(bits, negative="MONOCHROME1" in polarity or "INVERSE" in polarity, signed=signed)

    radiograph = to_radiograph(
        build_dx(
            pixels,
            BitsStored=bits,
            HighBit=bits - 1,
            PhotometricInterpretation=photometric_interpretation,
            PresentationLUTShape=presentation_lut_shape,
            **voi(bits, signed=signed),
        )
    )

    # Two grey values: one of rounding when stored, one of the window's half steps.
    assert_allclose(radiograph.pixels, expected(PICTURE), rtol=0, atol=2 / (2**bits - 1) + 1e-3)
    assert radiograph.pixels.dtype == np.float32
    bone, background = radiograph.pixels[80, 50], radiograph.pixels[80, 2]
    assert bone > background + 0.3


@pytest.mark.fault(47)
def test_the_first_of_several_windows_is_used() -> None:
    ds = build_dx(stored(12), WindowCenter=["2048", "300"], WindowWidth=["4096", "10"])

    assert_allclose(to_radiograph(ds).pixels, PICTURE, rtol=0, atol=1e-3)


@pytest.mark.fault(47)
@pytest.mark.parametrize(
    "useless",
    [
        {"WindowWidth": "0"},
        {"WindowWidth": "-5"},
        {"WindowWidth": "1"},
        {"WindowWidth": "0", "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowWidth": "0", "VOILUTFunction": "SIGMOID"},
        {"WindowWidth": "-5", "VOILUTFunction": "SIGMOID"},
        {"WindowWidth": None},
        {"WindowCenter": ""},
        {"WindowCenter": "60000", "WindowWidth": "100"},
        {"WindowCenter": "-60000", "WindowWidth": "100"},
        {"WindowCenter": "2000", "WindowWidth": "1000000"},
    ],
)
def test_a_window_that_shows_nothing_gives_way_to_percentiles(useless: dict[str, object]) -> None:
    assert_allclose(
        to_radiograph(build_dx(stored(12), **useless)).pixels,
        to_radiograph(build_dx(stored(12), WindowCenter=None, WindowWidth=None)).pixels,
    )


@pytest.mark.fault(47)
def test_a_voi_lut_that_shows_nothing_gives_way_to_the_window() -> None:
    item = Dataset()
    item.LUTDescriptor = [2, 60000, 12]
    item.LUTData = [0, 4095]
    item["LUTData"].VR = "US"

    assert_allclose(to_radiograph(build_dx(stored(12), VOILUTSequence=[item])).pixels, PICTURE, rtol=0, atol=1e-3)


@pytest.mark.fault(47)
def test_a_voi_lut_comes_before_the_window() -> None:
    attributes = voi_lut(12, signed=False) | {"WindowCenter": "1000", "WindowWidth": "500"}

    assert_allclose(to_radiograph(build_dx(stored(12), **attributes)).pixels, PICTURE, rtol=0, atol=1e-3)


@pytest.mark.parametrize("packed", [False, True])
def test_a_voi_lut_of_8_bits_may_have_more_than_256_entries(packed: bool) -> None:
    item = Dataset()
    item.LUTDescriptor = [4096, 0, 8]
    item.LUTData = np.linspace(0, 255, 4096).round().astype(np.uint8 if packed else "<u2").tobytes()
    item["LUTData"].VR = "OW"

    assert_allclose(to_radiograph(build_dx(stored(12), VOILUTSequence=[item])).pixels, PICTURE, rtol=0, atol=1 / 255)


@pytest.mark.fault(47)
def test_a_modality_lut_comes_before_the_window() -> None:
    item = Dataset()
    item.LUTDescriptor = [4096, 0, 16]
    item.LUTData = np.linspace(65535, 0, 4096).round().astype("<u2").tobytes()
    item["LUTData"].VR = "OW"
    ds = build_dx(
        stored(12, negative=True),
        ModalityLUTSequence=[item],
        RescaleSlope=None,
        RescaleIntercept=None,
        WindowCenter="32768",
        WindowWidth="65536",
    )

    assert_allclose(to_radiograph(ds).pixels, PICTURE, rtol=0, atol=1e-3)


@pytest.mark.fault(47)
def test_rescale_comes_before_the_window() -> None:
    ds = build_dx(stored(12), RescaleSlope="-0.5", RescaleIntercept="100", WindowCenter="-924", WindowWidth="2048")

    assert_allclose(to_radiograph(ds).pixels, 1 - PICTURE, rtol=0, atol=2e-3)


@pytest.mark.fault(47)
def test_a_rescale_slope_of_zero_counts_as_none() -> None:
    assert_allclose(to_radiograph(build_dx(stored(12), RescaleSlope="0")).pixels, PICTURE, rtol=0, atol=1e-3)


@pytest.mark.fault(46)
def test_what_lies_above_the_high_bit_or_below_the_stored_bits_is_not_part_of_the_picture() -> None:
    overlay = (np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) % 16).astype(np.uint16)

    above = build_dx(stored(12) | overlay << 12, BitsStored=12, HighBit=11, **window(12, signed=False))
    below = build_dx(stored(12) << 4 | overlay, BitsStored=12, HighBit=15, **window(12, signed=False))

    for ds in (above, below):
        assert_allclose(to_radiograph(ds).pixels, PICTURE, rtol=0, atol=1e-3)


@pytest.mark.fault(46, 47)
def test_signed_pixels_are_extended_from_their_stored_bits() -> None:
    unextended = stored(12, signed=True).view(np.uint16) & 0x0FFF
    ds = build_dx(unextended, BitsStored=12, HighBit=11, PixelRepresentation=1, **window(12, signed=True))

    assert_allclose(to_radiograph(ds).pixels, PICTURE, rtol=0, atol=1e-3)


@pytest.mark.parametrize("photometric_interpretation", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("signed", [False, True])
def test_pixel_padding_is_black_and_does_not_move_the_percentiles(
    photometric_interpretation: str, signed: bool
) -> None:
    negative = photometric_interpretation == "MONOCHROME1"
    pixels = stored(12, negative=negative, signed=signed) // 2
    pixels[:20] = -2047 if signed else 4095
    ds = build_dx(
        pixels,
        BitsStored=12,
        HighBit=11,
        PhotometricInterpretation=photometric_interpretation,
        WindowCenter=None,
        WindowWidth=None,
    )
    ds.add_new("PixelPaddingValue", "SS" if signed else "US", -2047 if signed else 4095)

    radiograph = to_radiograph(ds)

    assert not radiograph.pixels[:20].any()
    assert_allclose(radiograph.pixels[20:], np.clip((PICTURE[20:] - 0.05) / 0.95, 0, 1), rtol=0, atol=2e-3)


@pytest.mark.parametrize(("signed", "written"), [(False, "SS"), (True, "US")])
def test_padding_is_known_by_its_bits_whatever_value_representation_it_has(*, signed: bool, written: str) -> None:
    pixels = stored(16, signed=signed) // 2
    pixels[:20] = -1 if signed else 65535
    ds = build_dx(pixels, WindowCenter=None, WindowWidth=None)
    ds.add_new("PixelPaddingValue", written, -1 if written == "SS" else 65535)
    assert not to_radiograph(ds).pixels[:20].any()


def test_a_padding_range_that_would_leave_nothing_is_ignored() -> None:
    ds = build_dx(stored(12), PixelPaddingValue=0, PixelPaddingRangeLimit=4095)

    assert_allclose(to_radiograph(ds).pixels, PICTURE, rtol=0, atol=1e-3)


def test_an_image_of_one_value_is_finite() -> None:
    for pixels in (np.zeros((8, 8), np.uint16), np.full((8, 8), 4095, np.uint16)):
        radiograph = to_radiograph(build_dx(pixels, WindowCenter=None, WindowWidth=None))
        assert np.isfinite(radiograph.pixels).all()


@pytest.mark.fault(45)
def test_one_bit_and_32_bit_pixels_are_grey_too() -> None:
    bright = PICTURE > 0.3
    one_bit = build_dx(bright.astype(np.uint8), BitsAllocated=1, BitsStored=1, HighBit=0, WindowCenter=None)
    one_bit.PixelData = np.packbits(bright, bitorder="little").tobytes()
    wide = build_dx(stored(16).astype(np.uint32) * 16, BitsStored=20, HighBit=19, WindowCenter="524288")
    wide.WindowWidth = "1048576"

    assert (to_radiograph(one_bit).pixels == bright).all()
    assert_allclose(to_radiograph(wide).pixels, PICTURE, rtol=0, atol=1e-3)


def rgb() -> NDArray[np.uint8]:
    grey = stored(8)
    return np.stack([grey, grey // 2, 255 - grey], axis=-1)


def luminance() -> Float32Array:
    red, green, blue = (rgb()[..., channel] / 255 for channel in range(3))
    grey: Float32Array = (0.299 * red + 0.587 * green + 0.114 * blue).astype(np.float32)
    return grey


@pytest.mark.fault(45)
def test_colour_becomes_luminance_whatever_its_planes_and_space() -> None:
    from pydicom.pixels.processing import convert_color_space

    by_pixel = build_dx(rgb())
    by_plane = build_dx(rgb(), PlanarConfiguration=1)
    by_plane.PixelData = np.ascontiguousarray(rgb().transpose(2, 0, 1)).tobytes()
    ybr = build_dx(convert_color_space(rgb(), "RGB", "YBR_FULL"), PhotometricInterpretation="YBR_FULL")
    halved = convert_color_space(rgb(), "RGB", "YBR_FULL")
    y, b, r = (halved[..., channel].reshape(-1, 2) for channel in range(3))
    ybr_422 = build_dx(rgb(), PhotometricInterpretation="YBR_FULL_422")
    ybr_422.PixelData = np.stack([y[:, 0], y[:, 1], b[:, 0], r[:, 0]], axis=-1).tobytes()

    assert_allclose(to_radiograph(by_pixel).pixels, luminance(), rtol=0, atol=1e-3)
    assert_allclose(to_radiograph(by_plane).pixels, luminance(), rtol=0, atol=1e-3)
    assert_allclose(to_radiograph(ybr).pixels, luminance(), rtol=0, atol=6 / 255)
    smooth = np.abs(np.diff(PICTURE, axis=1, append=1)) < 0.01
    assert_allclose(to_radiograph(ybr_422).pixels[smooth], luminance()[smooth], rtol=0, atol=6 / 255)


@pytest.mark.fault(45)
def test_a_palette_becomes_luminance() -> None:
    ds = build_dx(stored(8), PhotometricInterpretation="PALETTE COLOR", WindowCenter=None, WindowWidth=None)
    for colour, table in (
        ("Red", np.arange(256)),
        ("Green", np.arange(256) // 2),
        ("Blue", 255 - np.arange(256)),
    ):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(ds, f"{colour}PaletteColorLookupTableData", (table * 257).astype("<u2").tobytes())

    assert_allclose(to_radiograph(ds).pixels, luminance(), rtol=0, atol=1e-3)


def test_the_square_of_the_phantom_stays_where_it_was_planted() -> None:
    radiograph = to_radiograph(build_dx(phantom(300, 200)))

    rows, columns = np.nonzero(radiograph.pixels > 0.95)
    assert (radiograph.rows, radiograph.columns) == (300, 200)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (36, 59, 124, 143)


@pytest.mark.parametrize("keyword", ["WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept", "PixelSpacing"])
def test_a_number_with_a_comma_counts_as_absent(keyword: str, tmp_path: Path) -> None:
    pixels = np.where(PICTURE > 0.3, stored(12), 0).astype(np.uint16)
    value = ["7.654321", "7.654321"] if keyword == "PixelSpacing" else "7.654321"
    path = write_part10(build_dx(pixels, **{keyword: value}), tmp_path / "image.dcm")
    path.write_bytes(path.read_bytes().replace(b"7.654321", b"7,654321"))

    radiograph = load_radiograph(path)

    assert_allclose(radiograph.pixels, np.where(PICTURE > 0.3, PICTURE, 0), rtol=0, atol=2e-3)
    assert radiograph.spacing_mm == (0.2, 0.2)
