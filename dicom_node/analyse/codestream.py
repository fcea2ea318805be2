"""The shape an encoded frame says it has, read from its own header before any decoder allocates memory for it."""

MAX_PIXELS = 64_000_000
"""Three times the largest flat panel (43 cm at 0.1 mm), enough for a stitched leg; beyond it nothing is decoded."""

_J2K_SOC_SIZ = b"\xff\x4f\xff\x51"
_JPEG_SOI = b"\xff\xd8"
Shape = tuple[int, int, int]
"""Rows, columns, components."""

_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})  # TEM, RSTn, SOI (ITU-T T.81, Table B.1)
# SOF0 to SOF15 without DHT, JPG and DAC (ITU-T T.81, Table B.1); SOF55 is JPEG-LS (ITU-T T.87, C.2.2)
_FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})


def frame_shape(codestream: bytes) -> Shape | None:
    """Return the shape that a JPEG, JPEG-LS or JPEG 2000 codestream declares; None where it declares none.

    RLE declares none: its decoder fills the rows and columns of the data set and no more.
    """
    if codestream.startswith(_J2K_SOC_SIZ):
        return _jpeg_2000_shape(codestream)
    if codestream.startswith(_JPEG_SOI):
        return _jpeg_shape(codestream)
    return None


def _jpeg_2000_shape(codestream: bytes) -> Shape | None:
    # SIZ: marker, Lsiz, Rsiz, then Xsiz, Ysiz, XOsiz, YOsiz and four of the tiles, 32 bits each, Csiz (T.800, A.5.1)
    if len(codestream) < 42:
        return None
    right, bottom, left, top = (int.from_bytes(codestream[at : at + 4], "big") for at in range(8, 24, 4))
    return bottom - top, right - left, int.from_bytes(codestream[40:42], "big")


def _jpeg_shape(codestream: bytes) -> Shape | None:
    at = 2
    while at + 10 <= len(codestream) and codestream[at] == 0xFF:
        marker = codestream[at + 1]
        if marker in _FRAME_HEADERS:
            # SOF: marker, Lf, P, then Y and X, 16 bits each, Nf (T.81, B.2.2)
            rows, columns = codestream[at + 5 : at + 7], codestream[at + 7 : at + 9]
            return int.from_bytes(rows, "big"), int.from_bytes(columns, "big"), codestream[at + 9]
        if marker == 0xFF:  # fill byte before a marker (B.1.1.2)
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        else:
            at += 2 + int.from_bytes(codestream[at + 2 : at + 4], "big")
    return None
