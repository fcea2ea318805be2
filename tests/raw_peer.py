"""A DICOM peer made of bytes: it can say what no DICOM library would, and say it slowly."""

import socket
import struct
from types import TracebackType
from typing import Self

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
COMMAND, LAST = 1, 2
APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
VERIFICATION = "1.2.840.10008.1.1"
CR, DX = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1"


class RawPeer:
    """One TCP connection to a DICOM server on this machine."""

    def __init__(self, port: int, *, timeout_s: float = 10, source: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s, source_address=(source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.socket.close()

    # PDUs

    def send(self, kind: int, body: bytes, *, length: int | None = None) -> None:
        """Send one PDU, or a header that claims another length."""
        self.socket.sendall(struct.pack(">BxI", kind, len(body) if length is None else length) + body)

    def read(self) -> tuple[int, bytes]:
        """Read one PDU: its kind and body; (0, b"") where the connection is closed."""
        header = self._read(6)
        return (header[0], self._read(int.from_bytes(header[2:], "big"))) if header else (0, b"")

    def _read(self, count: int) -> bytes:
        content = b""
        try:
            while len(content) < count:
                piece = self.socket.recv(count - len(content))
                if not piece:
                    return b""
                content += piece
        except ConnectionError:
            return b""
        return content

    def wait_for_end(self, timeout_s: float = 10) -> bool:
        """Tell whether the server closes the connection within a time."""
        self.socket.settimeout(timeout_s)
        try:
            while self.socket.recv(65536):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True

    # Associations

    def request(
        self,
        contexts: list[tuple[str, list[str]]] | None = None,
        *,
        calling: str = "ORTHANC",
        called: str = "FRACTUREAI",
        maximum_length: int = 16384,
    ) -> tuple[int, bytes]:
        """Ask for an association; return the answer. Contexts get the IDs 1, 3, 5, …"""
        contexts = (
            contexts if contexts is not None else [(DX, [EXPLICIT]), (VERIFICATION, [IMPLICIT]), (CR, [EXPLICIT])]
        )
        body = struct.pack(">HH16s16s32x", 1, 0, called.ljust(16).encode(), calling.ljust(16).encode())
        body += item(0x10, APPLICATION_CONTEXT)
        for number, (abstract_syntax, transfer_syntaxes) in enumerate(contexts):
            syntaxes = item(0x30, abstract_syntax.encode()) + b"".join(
                item(0x40, one.encode()) for one in transfer_syntaxes
            )
            body += item(0x20, bytes([2 * number + 1, 0, 0, 0]) + syntaxes)
        body += item(0x50, item(0x51, struct.pack(">I", maximum_length)) + item(0x52, b"1.2.3.4"))
        self.send(ASSOCIATE_RQ, body)
        return self.read()

    def associate(self, contexts: list[tuple[str, list[str]]] | None = None, **options: object) -> Self:
        """Open an association that must be accepted."""
        kind, _ = self.request(contexts, **options)  # type: ignore[arg-type]
        assert kind == ASSOCIATE_AC
        return self

    def release(self) -> int:
        """Release the association; return the kind of the answer."""
        self.send(RELEASE_RQ, bytes(4))
        return self.read()[0]

    # Messages

    def send_values(self, *values: tuple[int, int, bytes]) -> None:
        """Send one P-DATA-TF of presentation data values: context ID, message control header, content."""
        body = b"".join(
            struct.pack(">IBB", len(content) + 2, context, control) + content for context, control, content in values
        )
        self.send(P_DATA, body)

    def send_data_set(self, data_set: bytes, *, context: int = 1, piece: int = 16000) -> None:
        """Send a data set in P-DATA-TF PDUs of a size."""
        pieces = [data_set[start : start + piece] for start in range(0, len(data_set), piece)] or [b""]
        for content in pieces[:-1]:
            self.send_values((context, 0, content))
        self.send_values((context, LAST, pieces[-1]))

    def store(
        self, data_set: bytes, *, sop_class: str = DX, sop_instance: str = "1.2.3", context: int = 1
    ) -> dict[int, bytes]:
        """Send a C-STORE request; return the elements of the response, empty where there is none."""
        self.send_values((context, COMMAND | LAST, store_command(sop_class, sop_instance)))
        self.send_data_set(data_set, context=context)
        return self.read_response()

    def read_response(self) -> dict[int, bytes]:
        """Read a response: values by element number of group 0000; empty where there is none."""
        content = b""
        while True:
            kind, body = self.read()
            if kind != P_DATA:
                return {}
            content += body[6:]
            if body[5] & LAST:
                return parse_command(content)


def item(kind: int, content: bytes) -> bytes:
    """Encode an item of an A-ASSOCIATE-RQ."""
    return struct.pack(">BxH", kind, len(content)) + content


def command(field: int, *, data_set: bool, **elements: bytes | None) -> bytes:
    """Encode a command set; `elements` are values by `e` and four hexadecimal digits, None to leave one out."""
    values: dict[int, bytes | None] = {
        0x0100: struct.pack("<H", field),
        0x0110: struct.pack("<H", 7),
        0x0800: struct.pack("<H", 1 if data_set else 0x0101),
        **{int(name[1:], 16): value for name, value in elements.items()},
    }
    body = b"".join(
        struct.pack("<HHI", 0, number, len(value)) + value
        for number, value in sorted(values.items())
        if value is not None
    )
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def store_command(sop_class: str = DX, sop_instance: str | None = "1.2.3") -> bytes:
    """Encode a C-STORE-RQ."""
    return command(
        1,
        data_set=True,
        e0002=even(sop_class),
        e0700=b"\0\0",
        e1000=None if sop_instance is None else even(sop_instance),
    )


def echo_command() -> bytes:
    """Encode a C-ECHO-RQ."""
    return command(0x30, data_set=False, e0002=even(VERIFICATION))


def even(uid: str) -> bytes:
    """Encode a UID with even length."""
    value = uid.encode("latin-1")
    return value + b"\0" * (len(value) % 2)


def parse_command(content: bytes) -> dict[int, bytes]:
    """Decode a command set: values by element number."""
    values = {}
    while content:
        _, number, length = struct.unpack_from("<HHI", content)
        values[number] = content[8 : 8 + length]
        content = content[8 + length :]
    return values


def status_of(response: dict[int, bytes]) -> int:
    """Return the status of a response."""
    return int.from_bytes(response[0x0900], "little")
