"""Draw text of any script onto a picture, with the fonts of the report."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from math import ceil

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dicom_node.encode.report.typesetting import BOLD, SANS, find_font, order_for_drawing, split_runs
from inference.types import UInt8Array

RGB = tuple[int, int, int]
_CAPITALS = 0.729
"""Height of a capital of DejaVu Sans, as part of the size."""


@dataclass(frozen=True, kw_only=True)
class Letters:
    """How text looks."""

    size: int
    """In pixels."""
    colour: RGB = (255, 255, 255)
    bold: bool = False

    @property
    def leading(self) -> int:
        """From one line to the next, in pixels."""
        return round(self.size * 1.28)


def draw_line(canvas: ImageDraw.ImageDraw, at: tuple[float, float], text: str, letters: Letters) -> None:
    """Draw one line; `at` is its upper left corner."""
    x, y = at
    for face, run in _split(text, letters):
        canvas.text((x, y + letters.size), run, fill=letters.colour, font=face, anchor="ls")
        x += face.getlength(run)


def set_text(text: str, height: float, colour: RGB = (255, 255, 255), *, bold: bool = False) -> UInt8Array:
    """Set one line on black for an overlay; see `inference.lettering.SetText`."""
    letters = Letters(size=max(1, round(height / _CAPITALS)), colour=colour, bold=bold)
    tile = Image.new("RGB", (max(1, ceil(measure(text, letters)) + 1), round(height * 1.75)))
    draw_line(ImageDraw.Draw(tile), (0, round(height * 1.35) - letters.size), text, letters)
    return np.asarray(tile, np.uint8)


def measure(text: str, letters: Letters) -> float:
    """Return the width of one line."""
    return sum(face.getlength(run) for face, run in _split(text, letters))


def fit(text: str, letters: Letters, width: float) -> Letters:
    """Return smaller letters where one line needs them, down to three fifths of the size."""
    sizes = (replace(letters, size=size) for size in range(letters.size, letters.size * 3 // 5, -1))
    return next((one for one in sizes if measure(text, one) <= width), replace(letters, size=letters.size * 3 // 5))


def wrap(text: str, letters: Letters, width: float, *, most: int) -> list[str]:
    """Break text into at most so many lines; what has no room ends in an ellipsis."""
    lines = [""]
    for word in _split_words(text):
        if lines[-1] and measure(lines[-1] + word.rstrip(), letters) > width:
            lines.append("")
        lines[-1] += word if lines[-1] else word.lstrip()
    kept = lines[:most]
    if len(lines) > most:
        kept[-1] += "…"
    return [_cut(line.rstrip(), letters, width) for line in kept]


def _cut(line: str, letters: Letters, width: float) -> str:
    if measure(line, letters) <= width:
        return line
    kept = line.removesuffix("…")
    while kept and measure(f"{kept}…", letters) > width:
        kept = kept[:-1]
    return f"{kept}…"


def _split_words(text: str) -> Iterator[str]:
    """Split where a line may end: after a blank, and after each character of a script that has none."""
    word = ""
    for character in text:
        word += character
        if character == " " or ord(character) >= 0x2E80:
            yield word
            word = ""
    if word:
        yield word


def _split(text: str, letters: Letters) -> Iterator[tuple[ImageFont.FreeTypeFont, str]]:
    for name, run in split_runs(order_for_drawing(text), BOLD if letters.bold else SANS):
        yield _load_face(name, letters.size), run


@cache
def _load_face(name: str, size: int) -> ImageFont.FreeTypeFont:
    # The basic engine is in every build of Pillow: the same picture everywhere.
    return ImageFont.truetype(str(find_font(name)), size, layout_engine=ImageFont.Layout.BASIC)
