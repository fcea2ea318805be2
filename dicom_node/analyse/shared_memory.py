"""What a process and its child in a cage hand each other: a pickle with its arrays, in memory that both see.

An array is copied once on either side and never goes through a pipe. What comes from the child is read as if it were
hostile, for foreign bytes may have got the better of a decoder: nothing is made of it but values of a few classes.
"""

import fcntl
import io
import json
import mmap
import os
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_node.analyse.codestream import MAX_PIXELS
from dicom_node.errors import UndecodableImageError
from inference import errors, phrases, types

_BYTES = 4 * MAX_PIXELS + 16_000_000
"""The largest picture, and what is said about it. Memory is taken only where something was written."""
_KEPT_BYTES = 80_000_000
"""More than this (a picture of 20 million pixels) is given back to the system at once."""
_MOST_PIECES = 64

Buffers = Sequence[NDArray[np.uint8]]

_CLASSES: dict[tuple[str, str], Any] = {
    (made.__module__, made.__qualname__): made
    for made in (
        types.Radiograph,
        types.RadiographAnalysis,
        types.RegionPrediction,
        types.FracturePrediction,
        types.TypePrediction,
        types.Roi,
        types.ModelIdentity,
        types.Decision,
        types.Task,
        errors.BundleError,
        errors.UnsupportedImageError,
        phrases.build_phrase,
        UndecodableImageError,
    )
}
_ARRAYS = {("numpy", "dtype"), ("numpy._core.numeric", "_frombuffer"), ("numpy._core.multiarray", "scalar")}


class SharedMemory:
    """Memory of a fixed size without a name, that this process and one child have mapped."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, _BYTES)
        self._bytes = np.frombuffer(self._memory, np.uint8)

    @staticmethod
    def create() -> int:
        """Return the descriptor of new memory that neither side can shrink under the other's feet."""
        descriptor = os.memfd_create("dicom-node", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, _BYTES)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        return descriptor

    def put(self, value: object) -> bytes:
        """Write a value, over the last one; return the message that tells the other side where it is."""
        arrays: list[pickle.PickleBuffer] = []
        head = pickle.dumps(value, protocol=5, buffer_callback=arrays.append)
        pieces = [np.frombuffer(head, np.uint8), *(np.frombuffer(array.raw(), np.uint8) for array in arrays)]
        at = 0
        for piece in pieces:
            self._bytes[at : at + piece.size] = piece
            at += piece.size
        return json.dumps([piece.size for piece in pieces]).encode()

    def take(self, message: bytes, load: Callable[[bytes, Buffers], Any]) -> Any:
        """Return the value that a message tells of, made by `load`; ValueError where it tells of none."""
        sizes = json.loads(message)
        is_list = isinstance(sizes, list) and 1 <= len(sizes) <= _MOST_PIECES
        if not is_list or any(type(size) is not int or size < 0 for size in sizes) or sum(sizes) > _BYTES:
            raise ValueError("a message that tells of no value")
        ends = np.cumsum(sizes)
        pieces = [self._bytes[end - size : end].copy() for size, end in zip(sizes, ends, strict=True)]
        if sum(sizes) > _KEPT_BYTES:
            self._memory.madvise(mmap.MADV_REMOVE)
        return load(pieces[0].tobytes(), pieces[1:])


def load_trusted(head: bytes, buffers: Buffers) -> Any:
    """Make what the node itself has pickled."""
    return pickle.loads(head, buffers=buffers)  # noqa: S301 - the child reads what its parent wrote


def load_guarded(head: bytes, buffers: Buffers) -> Any:
    """Make what a child has pickled; raises UnpicklingError, or whatever else, for anything but plain values."""
    return _GuardedUnpickler(io.BytesIO(head), buffers=buffers).load()


class _GuardedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Give arrays, numbers and the classes of an analysis, and no other name: a pickle calls what it is given."""
        if (module, name) in _CLASSES:
            return _CLASSES[module, name]
        if (module, name) in _ARRAYS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError("a class that has no business here")
