"""An encoder for JPEG Lossless (ITU-T T.81 process 14, predictor 1), which no Python package brings: for tests only."""

from itertools import chain

import numpy as np
from numpy.typing import NDArray

_CATEGORIES = 17  # of differences: 0 to 16 additional bits (T.81, Table H.2)


def encode(pixels: NDArray[np.uint16], precision: int) -> bytes:
    """Encode a grey image of `precision` bits, shape (rows, columns)."""
    rows, columns = pixels.shape
    # All codes five bits long: the code of category n is n.
    table = bytes([0x00, 0, 0, 0, 0, _CATEGORIES, *[0] * 11, *range(_CATEGORIES)])
    frame = bytes([precision, *rows.to_bytes(2, "big"), *columns.to_bytes(2, "big"), 1, 1, 0x11, 0])
    scan = bytes([1, 1, 0x00, 1, 0, 0])  # one component, table 0, predictor 1, no point transform
    segments = _segment(0xC3, frame) + _segment(0xC4, table) + _segment(0xDA, scan)
    return b"\xff\xd8" + segments + _entropy_coded(_differences(pixels, precision)) + b"\xff\xd9"


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def _differences(pixels: NDArray[np.uint16], precision: int) -> NDArray[np.int64]:
    # The left neighbour predicts; the row above in the first column; half the range at the start (H.1.2.1).
    values = pixels.astype(np.int64)
    predicted = np.roll(values, 1, axis=1)
    predicted[1:, 0] = values[:-1, 0]
    predicted[0, 0] = 2 ** (precision - 1)
    return (values - predicted + 32768) % 65536 - 32768


def _entropy_coded(differences: NDArray[np.int64]) -> bytes:
    bits = "".join(chain.from_iterable(_code(int(difference)) for difference in differences.ravel()))
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")


def _code(difference: int) -> tuple[str, str]:
    category = abs(difference).bit_length()
    if category in {0, 16}:
        return f"{category:05b}", ""
    additional = difference if difference > 0 else difference + 2**category - 1
    return f"{category:05b}", f"{additional:0{category}b}"
