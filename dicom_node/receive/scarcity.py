"""Out of descriptors or threads: one descriptor is kept for that, and whoever cannot be served hears so."""

import contextlib
import errno
import os
import socket
import struct
import time
from collections.abc import Iterator

from dicom_node.upper_layer.service import LARGEST_NEGOTIATION

SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What the system says that has no more descriptors, or memory, to give."""
PATIENCE_S = 1.0
"""How long a peer that is turned away may take for its association request, the whole of it."""
CONGESTION = (2, 3, 1)
"""Rejected for now, by the presentation service: temporary congestion (PS3.8 Table 9-21: result, source, reason)."""
_ASSOCIATE_RQ, _ASSOCIATE_RJ = 1, 3
_HEADER = struct.Struct(">BxI")
_REJECTION = struct.Struct(">BxIxBBB")
_LOOK_AROUND_S = 0.02


class SpareDescriptor:
    """A descriptor that is held so that there is one to accept a connection with when all others are in use."""

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self._take()

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Free it while a connection is accepted, and hold one again as soon as there is one.

        Where it is still in use, by a connection that is being turned away, it is waited for, `PATIENCE_S` at most:
        without any descriptor nobody could be accepted anyway.
        """
        end = time.monotonic() + PATIENCE_S
        while not self._take() and time.monotonic() < end:
            time.sleep(_LOOK_AROUND_S)
        self.close()
        try:
            yield
        finally:
            self._take()

    def close(self) -> None:
        """Hold none."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _take(self) -> bool:
        if self._descriptor is None:
            with contextlib.suppress(OSError):  # there is none
                self._descriptor = os.open(os.devnull, os.O_RDONLY)
        return self._descriptor is not None


def turn_away(connection: socket.socket) -> bool:
    """Read an association request, and reject it for now (PS3.8 9.3.4); False where none comes in time.

    It is read first: closing with bytes unread would destroy the answer on its way. Takes no descriptor and no thread,
    and never longer than `PATIENCE_S`.
    """
    deadline = time.monotonic() + PATIENCE_S
    try:
        kind, length = _HEADER.unpack(_read(connection, _HEADER.size, deadline))
        if kind != _ASSOCIATE_RQ or length > LARGEST_NEGOTIATION:
            return False
        _read(connection, length, deadline)
        _wait_until(connection, deadline)
        connection.sendall(_REJECTION.pack(_ASSOCIATE_RJ, 4, *CONGESTION))
    except OSError:
        return False
    return True


def _read(connection: socket.socket, count: int, deadline: float) -> bytes:
    content = b""
    while len(content) < count:
        _wait_until(connection, deadline)
        piece = connection.recv(count - len(content))
        if not piece:
            raise ConnectionError
        content += piece
    return content


def _wait_until(connection: socket.socket, deadline: float) -> None:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)
