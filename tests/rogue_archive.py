"""Archives that break off, stall, drip or flood in the middle of what they say."""

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator

from raw_peer import (
    APPLICATION_CONTEXT,
    ASSOCIATE_AC,
    ASSOCIATE_RQ,
    COMMAND,
    LAST,
    P_DATA,
    command,
    even,
    item,
)

FOUR_GIGABYTES = 0xFFFFFFF0
Script = Callable[["Caller"], None]


class RogueArchive:
    """A TCP server; what it does with a connection is a function of the test's own, in a thread."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self.left: list[float] = []
        """When the node closed a connection, or broke it off."""
        self.ending = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._run(self._accept)

    def _run(self, work: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments))
        self._threads[-1].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed: that is the end
            while True:
                self._run(self._serve, self._listener.accept()[0])

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._script(Caller(connection, self))
        with connection:
            self.wait_for_end(connection)

    def wait_for_end(self, connection: socket.socket) -> None:
        """Say nothing until the node has gone, or the test is over."""
        connection.settimeout(0.1)
        while not self.ending.is_set():
            try:
                if not connection.recv(65536):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            return
        self.left.append(time.monotonic())

    def stop(self) -> None:
        self.ending.set()
        with contextlib.suppress(OSError):  # it was stopped before
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()


class Caller:
    """The node, as the archive sees it: one connection."""

    def __init__(self, connection: socket.socket, archive: RogueArchive) -> None:
        connection.settimeout(30)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self._archive = archive

    @property
    def is_over(self) -> bool:
        return self._archive.ending.is_set()

    def read(self) -> tuple[int, bytes]:
        """Read one PDU: its kind and body."""
        header = self._read(6)
        return header[0], self._read(int.from_bytes(header[2:], "big"))

    def _read(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            piece = self.socket.recv(count - len(content))
            if not piece:
                raise ConnectionError
            content += piece
        return content

    def read_message(self) -> None:
        """Read a request, to the end of its data set."""
        while True:
            kind, body = self.read()
            assert kind == P_DATA
            if body[5] == LAST or self._is_echo(body):
                return

    @staticmethod
    def _is_echo(body: bytes) -> bool:
        return body[5] == COMMAND | LAST and body.endswith(b"\x00\x08\x02\x00\x00\x00\x01\x01")

    def accept(self) -> None:
        """Accept whatever the association request proposes."""
        self.socket.sendall(self.build_acceptance())

    def build_acceptance(self) -> bytes:
        """Read an association request and build the A-ASSOCIATE-AC that accepts all of it (PS3.8 9.3.3)."""
        kind, request = self.read()
        assert kind == ASSOCIATE_RQ
        body = request[:68] + item(0x10, APPLICATION_CONTEXT)
        for context in (content for number, content in _items(request[68:]) if number == 0x20):
            syntax = next(content for number, content in _items(context[4:]) if number == 0x40)
            body += item(0x21, context[:1] + bytes(3) + item(0x40, syntax))
        body += item(0x50, item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3.4"))
        return pdu(ASSOCIATE_AC, body)

    def drip(self, content: bytes, every_s: float) -> None:
        """Send it byte by byte."""
        for position in range(len(content)):
            if self.is_over:
                return
            self.socket.sendall(content[position : position + 1])
            time.sleep(every_s)

    def flood(self, content: bytes, times: int) -> None:
        """Send it again and again, without a break."""
        for _ in range(times):
            if self.is_over:
                return
            self.socket.sendall(content)


def _items(content: bytes) -> Iterator[tuple[int, bytes]]:
    while content:
        number, length = struct.unpack_from(">BxH", content)
        yield number, content[4 : 4 + length]
        content = content[4 + length :]


def pdu(kind: int, body: bytes, *, length: int | None = None) -> bytes:
    """Encode a PDU, or one whose header claims another length."""
    return struct.pack(">BxI", kind, len(body) if length is None else length) + body


def store_response(sop_class: str, status: int = 0) -> bytes:
    """Encode a C-STORE-RSP in a P-DATA-TF, for the first message of the second presentation context."""
    content = command(
        0x8001,
        data_set=False,
        e0002=even(sop_class),
        e0110=None,
        e0120=struct.pack("<H", 1),
        e0900=struct.pack("<H", status),
    )
    return data_pdu(content)


def data_pdu(content: bytes, *, context: int = 3, control: int = COMMAND | LAST) -> bytes:
    """Encode a P-DATA-TF of one presentation data value."""
    return pdu(P_DATA, struct.pack(">IBB", len(content) + 2, context, control) + content)
