"""Decode in a cage: foreign bytes meet decoders written in C in a process of their own."""

from pathlib import Path
from typing import Any

from dicom_node.analyse.cage import Cage
from dicom_node.analyse.pixels import load_radiograph
from dicom_node.errors import UndecodableImageError
from dicom_node.settings import AnalysisSettings
from inference.types import Radiograph


class Decoder:
    """`load_radiograph` in a child process with limits of time and memory. Close it."""

    def __init__(self, settings: AnalysisSettings) -> None:
        self._cage = Cage("the decoder", _prepare, limit_s=settings.decode_limit_s, memory_mb=settings.decode_memory_mb)

    def __call__(self, path: Path) -> Radiograph:
        """Read a Part 10 file and make it a `Radiograph`.

        Raises
        ------
        UndecodableImageError
            Whatever is wrong with the file or its pixels.
        CageError
            The decoder crashed over it, or ran out of time or memory.
        ChildProcessError
            No decoder can be started.
        """
        radiograph = self._cage.call(_load, path)
        if not isinstance(radiograph, Radiograph):
            raise UndecodableImageError("the decoder gave no picture")
        return radiograph

    def wait_until_ready(self) -> None:
        """Wait until the child is ready; ChildProcessError where it cannot be."""
        self._cage.wait_until_ready()

    @property
    def pid(self) -> int | None:
        """Number of the child process; None where none runs."""
        return self._cage.pid

    def close(self) -> None:
        """End the child."""
        self._cage.close()


def _prepare() -> None:
    """Do nothing more: to find this function, the child has imported every decoder."""


def _load(_prepared: Any, path: Path) -> Radiograph:
    return load_radiograph(path)
