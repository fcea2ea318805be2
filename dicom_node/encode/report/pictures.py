"""Make the report's pictures small: JPEG, at the size they are printed in."""

from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from inference.types import Radiograph, UInt8Array


@dataclass(frozen=True, kw_only=True)
class ImagePictures:
    """A radiograph and its overlay, as they are seen: aspect ratio applied."""

    original: bytes
    """JPEG."""
    overlay: bytes
    """JPEG."""
    height_to_width: float


def compress_pictures(
    radiograph: Radiograph, original: UInt8Array, overlay: UInt8Array, *, longest: int
) -> ImagePictures:
    """Compress original and overlay; the longer side has at most `longest` pixels."""
    height = radiograph.rows * radiograph.pixel_aspect
    scale = min(1.0, longest / max(height, radiograph.columns))
    size = max(1, round(radiograph.columns * scale)), max(1, round(height * scale))
    return ImagePictures(
        original=_compress(original, size),
        overlay=_compress(overlay, size),
        height_to_width=height / radiograph.columns,
    )


def _compress(picture: UInt8Array, size: tuple[int, int]) -> bytes:
    small = Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC, reducing_gap=1.0)
    with BytesIO() as jpeg:
        small.save(jpeg, "JPEG", quality=84, subsampling=0)  # full colour resolution: thin coloured lines stay sharp
        return jpeg.getvalue()
