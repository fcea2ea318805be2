"""Syslog (RFC 5424) over UDP (RFC 5426) or TLS (RFC 5425), as the audit profiles of PS3.15 A.6 and A.7 ask for it."""

import select
import socket
import ssl
from collections.abc import Callable
from typing import Protocol, cast

_FACILITY, _SEVERITY = 10, 5
"""Security and authorization messages; normal but significant (PS3.15 A.6)."""
_APPLICATION = "dicom-node"
_MESSAGE_ID = "DICOM+RFC3881"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Begins a message that is UTF-8 (RFC 5424 6.4)."""
_PATIENCE_S = 10


class SyslogSender(Protocol):
    """What takes messages to a server; raises OSError where it cannot."""

    def connect(self) -> None:
        """Find the server, if that is not done yet."""

    def send(self, message: bytes) -> None:
        """Send one message."""

    def close(self) -> None:
        """Let go of the server."""


def frame(at: str, process: int, content: bytes) -> bytes:
    """Put a header before the content (RFC 5424 6); `at` is the time of the event as RFC 3339 writes it."""
    priority = 8 * _FACILITY + _SEVERITY
    header = f"<{priority}>1 {at} {socket.gethostname()} {_APPLICATION} {process} {_MESSAGE_ID} - "
    return header.encode("ascii", "replace") + _BYTE_ORDER_MARK + content


class UDPSender:
    """One datagram a message; nobody says whether it arrived."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)
        self._socket: socket.socket | None = None

    def connect(self) -> None:
        """Find the host; OSError where it has no address."""
        if self._socket is None:
            family = socket.getaddrinfo(*self.address, type=socket.SOCK_DGRAM)[0][0]
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
            self._socket.settimeout(_PATIENCE_S)
            self._socket.connect(self.address)

    def send(self, message: bytes) -> None:
        """Send one message; OSError where the host has no address or has refused the last one."""
        self.connect()
        cast("socket.socket", self._socket).send(message)

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class TLSSender:
    """Messages with their lengths before them (RFC 5425 4.3) through one connection, opened when it is needed."""

    def __init__(self, host: str, port: int, build_context: Callable[[], ssl.SSLContext], name: str) -> None:
        """`build_context` is called for each connection; `name` is what the server's certificate must hold."""
        self.address = (host, port)
        self._build_context = build_context
        self._name = name
        self._connection: ssl.SSLSocket | None = None

    def send(self, message: bytes) -> None:
        """Send one message; OSError where the connection cannot be had, breaks, or takes nothing for 10 s."""
        self.connect()
        connection = cast("ssl.SSLSocket", self._connection)
        try:
            connection.sendall(f"{len(message)} ".encode() + message)
        except OSError:
            self.close()
            raise

    def connect(self) -> None:
        """Open the connection; OSError where it cannot be had, ConfigurationError where the files are of no use."""
        if self._connection is not None and _is_over(self._connection):
            self.close()
        if self._connection is None:
            plain = socket.create_connection(self.address, timeout=_PATIENCE_S)
            try:
                self._connection = self._build_context().wrap_socket(plain, server_hostname=self._name)
            except Exception:
                plain.close()
                raise

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _is_over(connection: ssl.SSLSocket) -> bool:
    """Tell whether the server has closed its end: it never says anything, so what can be read is the end."""
    if not select.select([connection], [], [], 0)[0]:
        return False
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except ssl.SSLWantReadError:
        return False  # a session ticket, or another message of TLS itself
    except OSError:
        return True
    finally:
        connection.settimeout(_PATIENCE_S)
