"""From a radiograph to the square a model reads, and back.

The one definition of preprocessing: training uses it as serving does.
"""

from dataclasses import dataclass

import numpy as np

from inference.errors import UnsupportedImageError
from inference.phrases import Phrase
from inference.types import Float32Array, Radiograph

SMALLEST_SIDE = 64
"""Fewer rows or columns than this show no bone well enough for any model here."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a model wants its input; part of its manifest."""

    image_size: int
    """Side of the square, pixels."""
    scale: float
    """The model reads `scale * pixel + offset`, pixel in [0, 1]."""
    offset: float
    padding: float = 0.0
    """Pixel value outside the radiograph, before scale and offset."""

    def normalise(self, square: Float32Array) -> Float32Array:
        """Return the input tensor, float32, shape (1, size, size, 1), of a square in [0, 1]."""
        return (square * np.float32(self.scale) + np.float32(self.offset))[np.newaxis, ..., np.newaxis]


@dataclass(frozen=True, kw_only=True)
class Letterbox:
    """Where a radiograph lies in the square.

    Continuous coordinates (a pixel's area runs from its index to index + 1):
    `square_x = source_x * scale_x + left`, likewise for y.
    """

    size: int
    scale_x: float
    scale_y: float
    left: float
    top: float

    @classmethod
    def fit(cls, *, rows: int, columns: int, pixel_aspect: float, size: int) -> "Letterbox":
        """Fit (rows, columns) of pixels `pixel_aspect` times as high as wide, centred and undistorted."""
        shrink = size / max(rows * pixel_aspect, columns)
        width = max(1, round(columns * shrink))
        height = max(1, round(rows * pixel_aspect * shrink))
        return cls(
            size=size,
            scale_x=width / columns,
            scale_y=height / rows,
            left=(size - width) // 2,
            top=(size - height) // 2,
        )

    def window(self, rows: int, columns: int) -> tuple[slice, slice]:
        """Return the rows and columns of the square that a picture of this shape covers."""
        top, left = int(self.top), int(self.left)
        return slice(top, top + round(rows * self.scale_y)), slice(left, left + round(columns * self.scale_x))

    def draw(self, pixels: Float32Array, *, padding: float) -> Float32Array:
        """Return the square, float32, shape (size, size)."""
        # Who only reads a bundle's manifest, as the web process does, needs no OpenCV.
        import cv2  # noqa: PLC0415

        rows, columns = pixels.shape
        width, height = round(columns * self.scale_x), round(rows * self.scale_y)
        # Area averaging when shrinking keeps thin fracture lines from aliasing away.
        shrinks = width <= columns and height <= rows
        resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        square = np.full((self.size, self.size), padding, np.float32)
        square[self.window(rows, columns)] = np.clip(resized, 0.0, 1.0)
        return square


def check_supported(radiograph: Radiograph) -> None:
    """Raise UnsupportedImageError unless the pixels are a finite two-dimensional image of a usable size."""
    pixels = radiograph.pixels
    if pixels.ndim != 2:
        raise UnsupportedImageError(
            Phrase("a radiograph has two dimensions, this image has {number}", number=pixels.ndim)
        )
    if min(pixels.shape) < SMALLEST_SIDE:
        rows, columns = pixels.shape
        raise UnsupportedImageError(
            Phrase(
                "{rows} x {columns} pixels: a side has fewer than {least}",
                rows=rows,
                columns=columns,
                least=SMALLEST_SIDE,
            )
        )
    if not np.isfinite(pixels).all():
        raise UnsupportedImageError("some pixels are not finite numbers")
    if not (np.isfinite(radiograph.pixel_aspect) and radiograph.pixel_aspect > 0):
        raise UnsupportedImageError(
            Phrase("pixel aspect ratio {ratio} is not a positive number", ratio=radiograph.pixel_aspect)
        )


def prepare(radiograph: Radiograph, preprocessing: Preprocessing) -> tuple[Float32Array, Letterbox]:
    """Return the input tensor (1, size, size, 1) and the letterbox that leads back to source pixels.

    Raises
    ------
    UnsupportedImageError
        Too small, not two-dimensional, or not finite.
    """
    check_supported(radiograph)
    box = Letterbox.fit(
        rows=radiograph.rows,
        columns=radiograph.columns,
        pixel_aspect=radiograph.pixel_aspect,
        size=preprocessing.image_size,
    )
    pixels = np.asarray(radiograph.pixels, np.float32)
    return preprocessing.normalise(box.draw(pixels, padding=preprocessing.padding)), box
