"""A syslog server as tests need one: it takes messages through TLS or as datagrams, and can be dead, deaf or gone."""

import contextlib
import socket
import ssl
import threading
from typing import Self

from running import wait_for


class SyslogServer:
    """Collects messages on a free port of 127.0.0.1: through TLS with a context, else as datagrams."""

    def __init__(self, context: ssl.SSLContext | None = None, *, port: int = 0, reads: bool = True) -> None:
        self.messages: list[bytes] = []
        self._context = context
        self._reads = reads
        self._connections: list[socket.socket] = []
        self._is_over = threading.Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM if context else socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        if context:
            self._socket.listen()
        self._thread = threading.Thread(target=self._accept if context else self._receive, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._is_over.set()
        for one in (*self._connections, self._socket):
            with contextlib.suppress(OSError):  # it is closed already
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._thread.join(5)

    def wait_for(self, count: int) -> list[bytes]:
        """Wait until that many messages have come."""
        wait_for(f"{count} messages", lambda: len(self.messages) >= count, within_s=60, poll_s=0.02)
        return self.messages

    def _receive(self) -> None:
        while not self._is_over.is_set():
            try:
                message = self._socket.recv(65_536)
            except OSError:
                return
            if message:
                self.messages.append(message)

    def _accept(self) -> None:
        assert self._context is not None
        while not self._is_over.is_set():
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            self._connections.append(plain)
            if not self._reads:
                continue  # deaf: not even a handshake
            try:
                connection = self._context.wrap_socket(plain, server_side=True)
                self._connections[-1] = connection
                self._read(connection)
            except OSError:
                continue

    def _read(self, connection: ssl.SSLSocket) -> None:
        """Read messages with their lengths before them (RFC 5425 4.3)."""
        with connection.makefile("rb") as stream:
            while digits := _read_until_space(stream):
                length = int(digits)
                message = stream.read(length)
                if len(message) < length:
                    return
                self.messages.append(message)


def _read_until_space(stream: object) -> bytes:
    digits = b""
    while (one := stream.read(1)) not in {b" ", b""}:  # type: ignore[attr-defined]  # a binary stream
        digits += one
    return digits
