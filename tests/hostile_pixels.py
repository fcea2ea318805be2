"""Images that are small, valid enough to reach a decoder, and do harm there."""

import struct

import numpy as np
from builders import build_dx, encapsulated, phantom
from pydicom import Dataset
from pydicom.uid import JPEGLSLossless, RLELossless

SLOW_JPEG_LS = bytes.fromhex("ffd8fff7000b0c0030002801011100ffda00080101000000000166041042000000000332d02046108400")
"""48 x 40 pixels by its header, broken behind it: the decoder works on these 42 bytes for seconds."""


def build_panicking_rle() -> Dataset:
    """Build an image whose run-length codes give more bytes than it has pixels: its decoder, in Rust, panics."""
    rows, columns = 48, 40
    segments = [b"\x81\x07" * (rows * columns // 128 + 2)] * 2
    return encapsulated(build_dx(phantom(rows, columns)), RLELossless, _rle(segments))


def build_bloating_rle(side: int = 4000) -> Dataset:
    """Build an image of `side` x `side` pixels of 32 bits, all of one value: 16 million of them in 1 MB."""
    attributes = {"Rows": side, "Columns": side, "BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}
    full_runs, rest = divmod(side * side, 128)
    segment = b"\x81\x07" * full_runs + (bytes([257 - rest, 7]) if rest > 1 else b"")
    return encapsulated(build_dx(np.zeros((4, 4), np.uint16), **attributes), RLELossless, _rle([segment] * 4))


def build_bomb() -> Dataset:
    """Build an image of a few bytes whose header says 65,535 x 65,535 pixels."""
    return encapsulated(
        build_dx(np.zeros((4, 4), np.uint16), Rows=65535, Columns=65535), RLELossless, _rle([b"\x81\x07"] * 2)
    )


def build_slow_jpeg_ls() -> Dataset:
    """Build an image that keeps its decoder busy for seconds."""
    return encapsulated(build_dx(phantom(48, 40)), JPEGLSLossless, SLOW_JPEG_LS)


def _rle(segments: list[bytes]) -> bytes:
    """Put an RLE header before segments (PS3.5 G.5)."""
    segments = [segment + b"\0" * (len(segment) % 2) for segment in segments]
    offsets = [64 + sum(map(len, segments[:number])) for number in range(len(segments))]
    return struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(segments))) + b"".join(segments)
