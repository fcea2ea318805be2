"""Image files into grey pixels; what cannot be one radiograph is refused with its reason."""

import struct
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from inference.types import Float32Array

UInt8Array = NDArray[np.uint8]

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff"})
"""Of the files that are looked at, in lower case."""
THUMBNAIL = 64
"""Side of a thumbnail, pixels."""
_SMALLEST = 16
"""A side of fewer pixels shows no bone."""
_DEEP = ("I", "I;16", "I;16B", "I;16L")
"""Pillow's modes of more than eight bits, which its own conversion to eight would clip."""
_TAILS = (0.5, 99.5)
"""Percentiles between which the node shows a picture of more than eight bits (`dicom_node.analyse`)."""


class UnreadableImageError(Exception):
    """Why the file gives no radiograph."""


def read_pixels(path: Path) -> UInt8Array:
    """Decode a grey image, shape (rows, columns), bone bright."""
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(_grey(image)))


def read_unit_pixels(path: Path) -> Float32Array:
    """Decode a grey image as serving sees it, upright by its EXIF orientation: float32, range [0, 1], bone bright."""
    with Image.open(path) as image:
        if image.mode in _DEEP:
            return _stretch_deep(ImageOps.exif_transpose(image))
        return np.asarray(np.asarray(ImageOps.exif_transpose(_grey(image))) / np.float32(255), np.float32)


def read_thumbnail(path: Path) -> UInt8Array:
    """Decode every block of the file, shape (64, 64) whatever its aspect, upright by its EXIF orientation.

    A JPEG is decoded at a fraction of its cost.

    Raises
    ------
    UnreadableImageError
        The file is missing, empty, damaged, ends early, is too small or too large, or has no grey values.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # on metadata; damage to the pixels is an exception
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _shrink(path)
    except FileNotFoundError as error:
        raise UnreadableImageError("missing") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UnreadableImageError(f"more than {Image.MAX_IMAGE_PIXELS} pixels") from error
    # SyntaxError: Pillow's word for a broken PNG, or broken EXIF; the last two come of EXIF whose values are damaged.
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, struct.error) as error:
        reason = "empty" if path.is_file() and not path.stat().st_size else f"unreadable: {type(error).__name__}"
        raise UnreadableImageError(reason) from error


def _shrink(path: Path) -> UInt8Array:
    with Image.open(path) as image:
        if min(image.size) < _SMALLEST:
            raise UnreadableImageError(f"smaller than {_SMALLEST} pixels")
        draft = image.draft("L", (2 * THUMBNAIL, 2 * THUMBNAIL))
        image.load()
        # A JPEG decoded at a fraction of its size is padded to whole pixels; the box leaves the padding out.
        box = draft[1] if draft else None
        small = _grey(image).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR, box=box)
        return np.asarray(ImageOps.exif_transpose(small))


def _grey(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise UnreadableImageError("floating point pixels, whose range is not known")
    if image.mode in _DEEP:
        return Image.fromarray(np.rint(255 * _scale_deep(ImageOps.exif_transpose(image))).astype(np.uint8))
    return image.convert("L")


def _stretch_deep(image: Image.Image) -> Float32Array:
    """Stretch from percentile to percentile, from darkest to brightest where nothing lies between them."""
    pixels = np.asarray(image)
    low, high = np.percentile(pixels, _TAILS, method="inverted_cdf").tolist()
    if low == high:
        low, high = int(pixels.min()), int(pixels.max())
    return np.asarray(np.clip((pixels - np.float64(low)) / max(1, high - low), 0, 1), np.float32)


def _scale_deep(image: Image.Image) -> Float32Array:
    """Scale by the bits in use: the fewest of 8, 10, 12, 14, 16, … that hold the brightest pixel.

    Detectors of 10 to 14 bits are stored in 16; scaled by 65535 their radiographs would be all but black.
    """
    pixels = np.asarray(image)
    if pixels.min() < 0:
        raise UnreadableImageError("negative pixels, whose range is not known")
    bits = max(8, 2 * -(-int(pixels.max()).bit_length() // 2))
    return np.asarray(pixels / np.float32(2**bits - 1), np.float32)
