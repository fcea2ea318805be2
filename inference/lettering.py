"""Set text and strips of text for a picture: white on black, black being where the picture shows through."""

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np

from inference.types import UInt8Array

WHITE = (255, 255, 255)


class SetText(Protocol):
    """Sets one line on black, capitals `height` pixels high: a tile 1.75 times as high, shape (rows, columns, 3)."""

    def __call__(
        self, text: str, height: float, colour: tuple[int, int, int] = WHITE, *, bold: bool = False
    ) -> UInt8Array:
        """Set it; the baseline is 1.35 times the height from the top."""


def set_text(text: str, height: float, colour: tuple[int, int, int] = WHITE, *, bold: bool = False) -> UInt8Array:
    """Set one line of ASCII on black, capitals `height` pixels high; what is not ASCII becomes a question mark."""
    face = cv2.FONT_HERSHEY_DUPLEX if bold else cv2.FONT_HERSHEY_SIMPLEX
    line = text.encode("ascii", "replace").decode()
    scale = height / cv2.getTextSize("H", face, 1.0, 1)[0][1]
    weight = max(1, round(height / 18))
    width = cv2.getTextSize(line, face, scale, weight)[0][0]
    tile = np.zeros((round(height * 1.75), max(1, width + weight), 3), np.uint8)
    cv2.putText(tile, line, (0, round(height * 1.35)), face, scale, colour, weight, cv2.LINE_AA)
    return tile


def set_strip(rows: Sequence[Sequence[UInt8Array]], columns: int, height: float, aspect: float) -> UInt8Array:
    """Set rows of tiles into a strip of `columns`: side by side where they fit, one below the other where not."""
    margin = max(2, round(height * 0.6))
    inner = max(1, columns - 2 * margin)
    lines: list[UInt8Array] = []
    for tiles in rows:
        beside = sum(tile.shape[1] for tile in tiles) + 2 * margin * (len(tiles) - 1) <= inner
        for group in [tiles] if beside else [[tile] for tile in tiles]:
            fitted = [_shrink(tile, inner) for tile in group]
            line = np.zeros((max(map(len, fitted)), columns, 3), np.uint8)
            for tile, start in zip(fitted, (margin, columns - margin - fitted[-1].shape[1]), strict=False):
                line[len(line) - len(tile) :, start : start + tile.shape[1]][:, : columns - start] = tile
            lines.append(line)
    strip = np.concatenate([lines[0][:0], *lines, np.zeros((round(height * 0.4), columns, 3), np.uint8)])
    seen_rows = max(1, round(len(strip) / aspect))
    return np.asarray(cv2.resize(strip, (columns, seen_rows), interpolation=cv2.INTER_AREA), np.uint8)


def _shrink(tile: UInt8Array, width: int) -> UInt8Array:
    """Shrink a tile that is wider than `width`, keeping its proportions."""
    if tile.shape[1] <= width:
        return tile
    height = max(1, round(len(tile) * width / tile.shape[1]))
    return np.asarray(cv2.resize(tile, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
