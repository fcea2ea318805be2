"""What is shown of a study's files. Received bytes are decoded in a process of their own, never in this one."""

import io
import threading
from collections.abc import Callable
from pathlib import Path

from pydicom import Dataset, dcmread

from dicom_node.analyse.cage import Cage
from dicom_node.settings import AnalysisSettings
from inference.types import UInt8Array


class Pictures:
    """Pictures of received images and of results, made in a child process that is started when one is asked for."""

    def __init__(self, settings: AnalysisSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._cage: Cage | None = None

    def original(self, path: Path) -> bytes:
        """Return a received radiograph as PNG: 8 bits, bone bright, square pixels as wide as the source's.

        Raises
        ------
        StudyError
            It cannot be decoded, or took too long or too much memory.
        ChildProcessError
            The process cannot be started.
        """
        return self._ask(_render_original, path)

    def overlay(self, path: Path) -> bytes:
        """Return one of the node's own Secondary Captures as PNG, in the shape of its source; raises as that does."""
        return self._ask(_render_capture, path)

    def close(self) -> None:
        """End the process."""
        if self._cage is not None:
            self._cage.close()

    def _ask(self, function: Callable[[object, Path], bytes], path: Path) -> bytes:
        with self._lock:
            if self._cage is None:
                limits = {"limit_s": self._settings.decode_limit_s, "memory_mb": self._settings.decode_memory_mb}
                self._cage = Cage("the pictures' process", _prepare, **limits)
        picture: bytes = self._cage.call(function, path)
        return picture


def read_report(path: Path) -> bytes:
    """Return the PDF out of one of the node's own Encapsulated PDFs; OSError where the file is gone."""
    return unwrap_report(dcmread(path))


def unwrap_report(ds: Dataset) -> bytes:
    """Return the PDF out of an Encapsulated PDF, without the byte that makes its length even."""
    document: bytes = ds.EncapsulatedDocument
    return document[: ds.get("EncapsulatedDocumentLength") or len(document)]


def encode_png(pixels: UInt8Array, *, rows: int | None = None) -> bytes:
    """Encode an array, shape (rows, columns) or (rows, columns, 3), as PNG: quickly, not tightly.

    With `rows` it is stretched to so many, where the source's pixels are not square.
    """
    from PIL import Image  # noqa: PLC0415 - in the child alone

    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    if rows is not None and rows != image.height:
        image = image.resize((image.width, rows))
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _prepare() -> None:
    """Do nothing more: to find this function, the child has imported the decoders it needs."""


def _render_original(_prepared: object, path: Path) -> bytes:
    from dicom_node.analyse.pixels import load_radiograph  # noqa: PLC0415 - likewise
    from inference.overlay import render_original  # noqa: PLC0415 - likewise

    radiograph = load_radiograph(path)
    seen_rows = max(1, round(radiograph.rows * radiograph.pixel_aspect))
    return encode_png(render_original(radiograph), rows=seen_rows)


def _render_capture(_prepared: object, path: Path) -> bytes:
    from dicom_node.analyse.geometry import pixel_aspect  # noqa: PLC0415 - likewise

    ds = dcmread(path)
    return encode_png(ds.pixel_array, rows=max(1, round(ds.Rows * pixel_aspect(ds))))
