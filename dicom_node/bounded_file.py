"""A file that gives a parser no more than fits some memory; what the parser passes over costs nothing."""

from collections.abc import Callable

_CHUNK_BYTES = 1 << 16
_LEAST_COST = 1024
"""What a read costs at least: an element takes about so many bytes of memory, also where it has none on disk."""


class TooLongError(Exception):
    """The parser has read as much as it may, and wants more."""


class BoundedFile:
    """The part of a binary file that pydicom's parsers use, over anything that can be read at an offset."""

    def __init__(self, read_at: Callable[[int, int], bytes], size: int, memory: int) -> None:
        """Take `size` bytes, of which `read_at(offset, length)` returns a piece, to be parsed in so much memory."""
        self._read_at = read_at
        self._size = size
        self._left = memory
        self._position = 0
        self._chunk, self._chunk_start = b"", 0

    def read(self, count: int = -1) -> bytes:
        """Return the next bytes, fewer at the end; TooLongError where that would be more than may be read."""
        rest = max(self._size - self._position, 0)
        count = rest if count < 0 else min(count, rest)
        self._left -= max(count, _LEAST_COST)
        if self._left < 0:
            raise TooLongError
        start, self._position = self._position, self._position + count
        if not self._chunk_start <= start <= start + count <= self._chunk_start + len(self._chunk):
            self._chunk, self._chunk_start = self._read_at(start, max(count, _CHUNK_BYTES)), start
        start -= self._chunk_start
        return self._chunk[start : start + count]

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to an offset from the beginning, from here (1), or from the end (2)."""
        self._position = max((0, self._position, self._size)[whence] + offset, 0)
        return self._position

    def close(self) -> None:
        """Whoever opened what lies below closes it."""
