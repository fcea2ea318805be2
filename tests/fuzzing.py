"""A sender that spoils what it sends: whole conversations of PDUs, and data sets inside sound ones."""

import random
import select
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydicom import Dataset
from raw_peer import (
    ABORT,
    APPLICATION_CONTEXT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    COMMAND,
    DX,
    EXPLICIT,
    LAST,
    P_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    command,
    echo_command,
    even,
    item,
    store_command,
)
from receiving import encode

INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
FIELDS = (
    0x0001,
    0x0010,
    0x0020,
    0x0021,
    0x0030,
    0x0100,
    0x0110,
    0x0120,
    0x0130,
    0x0140,
    0x0150,
    0x0FFF,
    0x8001,
    0x8030,
)
"""Command fields of PS3.7 E.1, those of C-STORE and C-ECHO among them."""
LONG_VRS = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
"""Those whose length takes four bytes (PS3.5 7.1.2)."""
UNDEFINED = 0xFFFFFFFF
PATIENCE_S = 0.5
"""How long an answer is waited for: a PDU that claims to be longer than it is gets none before its deadline."""
HANG_S = 60
"""A conversation that is not over so long after the peer has said its last byte hangs."""


@dataclass
class PDU:
    """A PDU to be sent: its type, its body, and the length that its header claims."""

    kind: int
    body: bytes
    claimed: int | None = None

    @property
    def content(self) -> bytes:
        """The bytes on the wire."""
        return struct.pack(">BxI", self.kind, len(self.body) if self.claimed is None else self.claimed) + self.body


def converse(ds: Dataset, chance: random.Random, *, sound: bool = False) -> list[PDU]:
    """Build a conversation: an association, a C-ECHO or a C-STORE in pieces of some size, a release.

    Unless it is to be `sound`, every second C-STORE request says something wrong.
    """
    contexts = b"".join(
        item(0x20, bytes([number, 0, 0, 0]) + item(0x30, syntax.encode()) + item(0x40, EXPLICIT.encode()))
        for number, syntax in ((1, DX), (3, "1.2.840.10008.1.1"))
    )
    request = struct.pack(">HH16s16s32x", 1, 0, b"FRACTUREAI".ljust(16), b"ORTHANC".ljust(16))
    request += item(0x10, APPLICATION_CONTEXT) + contexts
    request += item(0x50, item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3.4"))
    pdus = [PDU(ASSOCIATE_RQ, request)]
    if not sound and chance.random() < 0.2:
        pdus.append(_data(3, COMMAND | LAST, echo_command()))
    else:
        content, piece = encode(ds), chance.choice([200, 1000, 16000])
        is_spoiled = not sound and chance.random() < 0.5
        request = spoil_command(ds, chance) if is_spoiled else store_command(ds.SOPClassUID, ds.SOPInstanceUID)
        pdus.append(_data(1, COMMAND | LAST, request))
        pieces = [content[start : start + piece] for start in range(0, len(content), piece)]
        pdus += [_data(1, 0, one) for one in pieces[:-1]] + [_data(1, LAST, pieces[-1])]
    return [*pdus, PDU(RELEASE_RQ, bytes(4))]


def _data(context: int, control: int, content: bytes) -> PDU:
    return PDU(P_DATA, struct.pack(">IBB", len(content) + 2, context, control) + content)


def spoil_command(ds: Dataset, chance: random.Random) -> bytes:
    """Encode a C-STORE request with an element that is wrong or missing."""
    elements: dict[str, bytes | None] = {
        "e0002": even(ds.SOPClassUID),
        "e0700": b"\0\0",
        "e1000": even(ds.SOPInstanceUID),
    }
    name = chance.choice(["e0002", "e0110", "e0700", "e0800", "e1000", "e1030", "e1031"])
    elements[name] = chance.choice([None, b"", b"\0", b"\xff\xff", chance.randbytes(chance.choice([2, 64, 5000]))])
    return command(chance.choice(FIELDS) if chance.random() < 0.3 else 1, data_set=chance.random() < 0.9, **elements)


# Spoiling


def spoil_bytes(content: bytes, chance: random.Random) -> bytes:
    """Change a few bytes: flipped bits, numbers at the edges, pieces cut out, doubled, filled in."""
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 5, 20])):
        if not changed:
            break
        at = chance.randrange(len(changed))
        size = chance.choice([1, 2, 4, 8, 100])
        match chance.randrange(6):
            case 0:
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                width = chance.choice([1, 2, 4])
                number = chance.choice(INTERESTING) & (256**width - 1)
                changed[at : at + width] = number.to_bytes(width, chance.choice(["little", "big"]))
            case 2:
                del changed[at : at + size]
            case 3:
                changed[at:at] = changed[at : at + size]
            case 4:
                changed[at:at] = chance.randbytes(size)
            case _:
                del changed[at:]
    return bytes(changed)


def _spoil_body(pdus: list[PDU], chance: random.Random) -> None:
    pdu = chance.choice(pdus)
    pdu.body = spoil_bytes(pdu.body, chance)


def _lie_about_length(pdus: list[PDU], chance: random.Random) -> None:
    pdu = chance.choice(pdus)
    pdu.claimed = chance.choice([*INTERESTING, max(len(pdu.body) - 1, 0), len(pdu.body) + 1])


def _change_type(pdus: list[PDU], chance: random.Random) -> None:
    chance.choice(pdus).kind = chance.choice([*range(10), 0xFF])


def _leave_out(pdus: list[PDU], chance: random.Random) -> None:
    pdus.pop(chance.randrange(len(pdus)))


def _say_twice(pdus: list[PDU], chance: random.Random) -> None:
    at = chance.randrange(len(pdus))
    pdus.insert(at, pdus[at])


def _change_order(pdus: list[PDU], chance: random.Random) -> None:
    chance.shuffle(pdus)


def _put_in(pdus: list[PDU], chance: random.Random) -> None:
    pdus.insert(chance.randrange(len(pdus) + 1), PDU(chance.randrange(9), chance.randbytes(chance.choice([0, 4, 300]))))


def _change_value_header(pdus: list[PDU], chance: random.Random) -> None:
    for pdu in pdus:
        if pdu.kind == P_DATA and len(pdu.body) >= 6 and chance.random() < 0.5:
            pdu.body = pdu.body[:4] + chance.randbytes(2) + pdu.body[6:]


SPOILERS: tuple[Callable[[list[PDU], random.Random], None], ...] = (
    _spoil_body,
    _spoil_body,
    _lie_about_length,
    _change_type,
    _leave_out,
    _say_twice,
    _change_order,
    _put_in,
    _change_value_header,
)


def spoil(pdus: list[PDU], chance: random.Random) -> list[PDU]:
    """Spoil a conversation in one to three ways."""
    for _ in range(chance.choice([1, 1, 2, 3])):
        if pdus:
            chance.choice(SPOILERS)(pdus, chance)
    return pdus


# Data sets, as element after element

Element = tuple[bytes, bytes, bytes, int | None]
"""Tag (four bytes, little endian), VR, value, and the length that it claims, None for its own."""


def take_apart(ds: Dataset) -> list[Element]:
    """Split a data set into its elements, encoded in Explicit VR Little Endian."""
    content, elements = encode(ds), []
    while content:
        vr, start = content[4:6], 12 if content[4:6] in LONG_VRS else 8
        length = int.from_bytes(content[start - (4 if start == 12 else 2) : start], "little")
        if length == UNDEFINED:
            length = len(content) - start
        elements.append((content[:4], vr, content[start : start + length], None))
        content = content[start + length :]
    return elements


def put_together(elements: Sequence[Element]) -> bytes:
    """Encode elements in the order they are given, whatever they claim."""
    return b"".join(_encode_element(*element) for element in elements)


def _encode_element(tag: bytes, vr: bytes, value: bytes, claimed: int | None) -> bytes:
    length = len(value) if claimed is None else claimed
    if vr in LONG_VRS:
        return tag + vr + b"\0\0" + (length & UNDEFINED).to_bytes(4, "little") + value
    return tag + vr + (length & 0xFFFF).to_bytes(2, "little") + value


# What the node says

ENDS = {ABORT: "aborted", RELEASE_RP: "released", ASSOCIATE_RJ: "rejected"}


def hear_out(port: int, pdus: Sequence[PDU]) -> str:
    """Say PDUs to a server, hang up when it says no more; return how it ended it, by its last PDU.

    TimeoutError where the server does not end the connection even then: it hangs.
    """
    answer, whole = b"", True
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_S) as connection:
        try:
            for number, pdu in enumerate(pdus):
                connection.sendall(pdu.content)
                if number == 0:  # until the association is accepted, everything else is out of place
                    _is_answered(connection)
            while not _is_over(answer) and _is_answered(connection) and (piece := connection.recv(65536)):
                answer += piece
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                answer += piece
        except TimeoutError:
            raise
        except OSError:
            whole = False  # it has hung up first; its last words may be lost
    return how_it_ended(answer, whole=whole)


def _is_answered(connection: socket.socket) -> bool:
    return bool(select.select([connection], [], [], PATIENCE_S)[0])


def _is_over(answer: bytes) -> bool:
    """Tell whether a last word has been said: the rest is to hang up."""
    return how_it_ended(answer, whole=False) != "closed"


def how_it_ended(answer: bytes, *, whole: bool) -> str:
    """Name the last PDU of an answer; AssertionError where it is none that an acceptor may send."""
    last = 0
    while answer:
        kind, length = struct.unpack_from(">BxI", answer.ljust(6, b"\0"))
        assert ASSOCIATE_AC <= kind <= ABORT, "the node said what is no PDU of an acceptor"
        assert len(answer) >= 6 + length or not whole, "the node said half a PDU"
        last, answer = kind, answer[6 + length :]
    return ENDS.get(last, "closed")
