"""Grey values as they were stored, and files that hold no radiograph."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from drawn_limbs import draw_limb, write_limb
from PIL import ExifTags, Image, PngImagePlugin

from dicom_node.analyse.picture import wrap_picture
from dicom_node.analyse.pixels import to_radiograph
from models.datasets import read_pixels, read_unit_pixels
from models.datasets.reading import UnreadableImageError, read_thumbnail


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_eight_bits_are_read_as_they_are(tmp_path: Path, suffix: str) -> None:
    path = write_limb(tmp_path / f"limb.{suffix}", 3)
    assert np.array_equal(read_pixels(path), draw_limb(3))
    assert np.array_equal(read_unit_pixels(path), draw_limb(3) / np.float32(255))


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_deep_pixels_are_compared_by_the_bits_in_use_and_not_clipped(tmp_path: Path, suffix: str, bits: int) -> None:
    unit = draw_limb(3) / 255
    unit[0, 0] = 1
    stored = np.rint(unit * (2**bits - 1)).astype(np.uint16)
    path = tmp_path / f"limb.{suffix}"
    Image.fromarray(stored).save(path)
    assert np.abs(read_pixels(path).astype(int) - np.rint(255 * unit)).max() <= 1
    plain = tmp_path / "plain.png"
    Image.fromarray(np.rint(255 * unit).astype(np.uint8)).save(plain)
    assert np.abs(read_thumbnail(path).astype(int) - read_thumbnail(plain)).max() <= 1


def write_deep(path: Path, shift: int = 0) -> Path:
    """Write a limb of 12 bits in 16 that leaves both ends of the scale unused, as detectors do."""
    Image.fromarray((draw_limb(3).astype(np.uint16) * 9 + 200) << shift).save(path)
    return path


def write_flat(path: Path) -> Path:
    """Write black with a bright spot too small for a percentile."""
    pixels = np.full((300, 200), 100, np.uint16)
    pixels[:5, :5] = 3000
    Image.fromarray(pixels).save(path)
    return path


def write_turned(path: Path) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: rows from the right
    Image.fromarray(draw_limb(3)).save(path, exif=exif)
    return path


@pytest.mark.parametrize("write", [write_deep, write_flat, write_turned, partial(write_deep, shift=4)])
def test_a_picture_is_read_as_the_node_reads_it(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    path = write(tmp_path / "limb.png")
    served = to_radiograph(wrap_picture(path)).pixels
    assert np.ptp(served) > 0.8
    assert read_unit_pixels(path).shape == served.shape
    assert np.abs(read_unit_pixels(path) - served).max() < 1e-6


def test_colour_and_transparency_are_read_as_grey(tmp_path: Path) -> None:
    grey = draw_limb(3)
    for mode in ("RGB", "RGBA", "LA"):
        path = tmp_path / f"{mode}.png"
        Image.fromarray(grey).convert(mode).save(path)
        assert np.array_equal(read_pixels(path), grey)


def test_a_thumbnail_of_a_jpeg_is_that_of_its_pixels(tmp_path: Path) -> None:
    """A JPEG decoded at a fraction of its size is padded to whole pixels; with them it would differ by 0.7 of 255."""
    for rows, columns in ((454, 373), (1001, 803), (301, 259)):
        drawn = draw_limb(3, rows=rows, columns=columns)
        jpeg, png = tmp_path / "limb.jpg", tmp_path / "limb.png"
        Image.fromarray(drawn).save(jpeg, quality=95)
        Image.fromarray(drawn).save(png)
        assert np.abs(read_thumbnail(jpeg).astype(int) - read_thumbnail(png)).mean() < 0.4


def refusal(path: Path) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        read_thumbnail(path)
    return str(caught.value)


def test_what_holds_no_radiograph_is_refused_with_a_reason(tmp_path: Path) -> None:
    text, empty, cut, tiny = (tmp_path / name for name in ("text.png", "empty.png", "cut.png", "tiny.png"))
    text.write_text("no image", encoding="utf-8")
    empty.write_bytes(b"")
    cut.write_bytes(write_limb(tmp_path / "limb.png", 3).read_bytes()[:-2000])
    Image.fromarray(draw_limb(3)[:12]).save(tiny)
    floating = tmp_path / "floating.tif"
    Image.fromarray(draw_limb(3).astype(np.float32)).save(floating)
    negative = tmp_path / "negative.tif"
    Image.fromarray(draw_limb(3).astype(np.int32) - 100).save(negative)
    assert refusal(text) == "unreadable: UnidentifiedImageError"
    assert refusal(empty) == "empty"
    assert refusal(cut) == "unreadable: OSError"
    assert refusal(tiny) == "smaller than 16 pixels"
    assert refusal(floating).startswith("floating point pixels")
    assert refusal(negative).startswith("negative pixels")
    assert refusal(tmp_path / "nowhere.png") == "missing"
    assert refusal(tmp_path) == "unreadable: IsADirectoryError"


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_an_image_that_unpacks_to_absurd_size_is_refused_before_it_is_unpacked(tmp_path: Path, side: int) -> None:
    """A header alone, without the pixels: a decoder that believed it would ask for gigabytes."""
    path = tmp_path / "bomb.png"
    size = side.to_bytes(4, "big")
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        PngImagePlugin.putchunk(file, b"IHDR", size, size, b"\x08\x00\x00\x00\x00")
        PngImagePlugin.putchunk(file, b"IDAT", b"")
        PngImagePlugin.putchunk(file, b"IEND", b"")
    assert refusal(path) == "more than 89478485 pixels"


def test_damage_anywhere_is_a_reason_or_an_image_and_nothing_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for suffix in ("png", "jpg", "tif", "bmp"):
        path = write_limb(tmp_path / f"limb.{suffix}", 3, rows=40, columns=30)
        whole = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(60):
                damaged = bytearray(whole[: rng.integers(1, len(whole)) if rng.random() < 0.3 else None])
                for place in rng.integers(0, len(damaged), 4):
                    damaged[place] = rng.integers(256)
                path.write_bytes(bytes(damaged))
                try:
                    shape = read_thumbnail(path).shape
                except UnreadableImageError:
                    continue
                assert shape == (64, 64)


def write_turned_copy(folder: Path, *, deep: bool) -> tuple[Path, Path]:
    """Write a limb as it stands, and again lying on its side with the EXIF orientation that sets it up."""
    limb = draw_limb(3)
    pixels = Image.fromarray(limb.astype(np.uint16) * 16) if deep else Image.fromarray(limb)
    orientation = Image.Exif()
    orientation[ExifTags.Base.Orientation] = 6
    upright, turned = folder / "upright.png", folder / "turned.png"
    pixels.save(upright)
    pixels.transpose(Image.Transpose.ROTATE_90).save(turned, exif=orientation)
    return upright, turned


@pytest.mark.parametrize("deep", [False, True])
def test_a_copy_that_exif_sets_upright_has_the_thumbnail_of_the_upright_one(tmp_path: Path, *, deep: bool) -> None:
    """Training reads both as the same pixels: apart, one would be learned from and the other held out."""
    upright, turned = write_turned_copy(tmp_path, deep=deep)
    assert np.array_equal(read_unit_pixels(turned), read_unit_pixels(upright))
    assert np.array_equal(read_pixels(turned), read_pixels(upright))
    assert np.abs(read_thumbnail(turned).astype(int) - read_thumbnail(upright)).max() <= 1


def test_what_has_a_thumbnail_can_be_read_in_full_whatever_its_exif_is(tmp_path: Path) -> None:
    """What loading lets pass, training must be able to read: it would end in its midst."""
    rng = np.random.default_rng(0)
    path = tmp_path / "limb.jpg"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Make], exif[ExifTags.Base.XResolution] = 6, "maker", 3.5
    Image.fromarray(draw_limb(3, rows=40, columns=30)).save(path, exif=exif)
    whole = path.read_bytes()
    start = whole.index(b"MM\0*")
    refused = 0
    for _ in range(1000):
        damaged = bytearray(whole)
        for place in rng.integers(start, start + 70, rng.integers(1, 5)):
            damaged[place] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read_thumbnail(path)
            except UnreadableImageError:
                refused += 1
            else:
                assert read_unit_pixels(path).ndim == 2
    assert refused
