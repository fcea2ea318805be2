"""Make the report's pictures small: JPEG, at the size they are printed in."""

from dataclasses import dataclass
from io import BytesIO

from PIL import Image
from reportlab.lib.utils import ImageReader
from reportlab.platypus import Flowable

from inference.types import ShownRadiograph, UInt8Array


class Picture(Flowable):  # type: ignore[misc]  # reportlab ships no types
    """A JPEG at a size in points.

    Its decoded pixels live while it is drawn. reportlab's own flowable keeps them in a cycle with the whole document,
    which waits long for the collector: a worker would grow by hundreds of megabytes.
    """

    def __init__(self, jpeg: bytes, *, width: float, height: float) -> None:
        super().__init__()
        self._jpeg = jpeg
        self.width, self.height = width, height

    def wrap(self, _available_width: float, _available_height: float) -> tuple[float, float]:
        """Take the size that was given."""
        return self.width, self.height

    def draw(self) -> None:
        """Embed the JPEG as it is."""
        self.canv.drawImage(ImageReader(BytesIO(self._jpeg)), 0, 0, self.width, self.height)


@dataclass(frozen=True, kw_only=True)
class ImagePictures:
    """A radiograph and its overlay, as they are seen: aspect ratio applied."""

    original: bytes
    """JPEG."""
    overlay: bytes
    """JPEG."""
    height_to_width: float


def compress_pictures(radiograph: ShownRadiograph, overlay: UInt8Array, *, longest: int) -> ImagePictures:
    """Compress original and overlay; the longer side has at most `longest` pixels."""
    height = radiograph.rows * radiograph.pixel_aspect
    scale = min(1.0, longest / max(height, radiograph.columns))
    size = max(1, round(radiograph.columns * scale)), max(1, round(height * scale))
    return ImagePictures(
        original=_compress(radiograph.grey, size),
        overlay=_compress(overlay, size),
        height_to_width=height / radiograph.columns,
    )


def _compress(picture: UInt8Array, size: tuple[int, int]) -> bytes:
    small = Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC, reducing_gap=1.0)
    with BytesIO() as jpeg:
        small.save(jpeg, "JPEG", quality=84, subsampling=0)  # full colour resolution: thin coloured lines stay sharp
        return jpeg.getvalue()
