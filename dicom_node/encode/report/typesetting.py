"""Set text of any script: fonts that are embedded, and a font for each run of characters.

DejaVu Sans has Latin, Greek, Cyrillic, Arabic and Hebrew; Droid Sans Fallback has Chinese, Japanese and Korean. A
character that neither has is printed as U+FFFD, the replacement character: visible, and never a black square.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from arabic_reshaper import reshape  # type: ignore[import-untyped]  # ships no types
from bidi import get_display  # type: ignore[import-untyped]  # ships no types
from reportlab.lib.colors import Color, HexColor
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Flowable, Paragraph, Table

SANS, BOLD, WIDE = "node-sans", "node-sans-bold", "node-sans-wide"
_FILES = {SANS: "DejaVuSans.ttf", BOLD: "DejaVuSans-Bold.ttf", WIDE: "DroidSansFallback.ttf"}
_FONTS = Path(__file__).parent.parent / "fonts"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_LONGEST = 200
_FIRST_WIDE = 0x2E80
"""From here on are the scripts that have no blanks between words."""

INK, QUIET, WARNING, ALERT = HexColor(0x16202B), HexColor(0x5A6672), HexColor(0x9A5B00), HexColor(0xB3261E)
RULE, SHADE, ACCENT = HexColor(0xC9D0D6), HexColor(0xEEF1F4), HexColor(0x1F6F8B)
FLUSH = [("LEFTPADDING", (0, 0), (-1, -1), 0), ("RIGHTPADDING", (0, 0), (-1, -1), 0)]
"""Of a table whose cells begin and end with their columns."""


def find_font(name: str) -> Path:
    """Return the file of an embedded font."""
    return _FONTS / _FILES[name]


@cache
def load_font(name: str) -> TTFont:
    """Register an embedded font at its first use and return it."""
    font = TTFont(name, str(find_font(name)))
    pdfmetrics.registerFont(font)
    return font


@cache
def load_style(size: float, colour: Color = INK, *, bold: bool = False, wrap: str | None = None) -> ParagraphStyle:
    """Return the paragraph style of a size in points and a colour; with `wrap` CJK lines may end at any character."""
    font = load_font(BOLD if bold else SANS)
    return ParagraphStyle(
        f"{font.fontName}-{size}",
        fontName=font.fontName,
        fontSize=size,
        leading=size * 1.28,
        textColor=colour,
        wordWrap=wrap,
    )


def set_paragraph(text: str, size: float = 8.5, colour: Color = INK, *, bold: bool = False) -> Paragraph:
    """Set text as a paragraph: every script, nothing of it read as markup, cut where it is absurdly long."""
    wide = any(ord(character) >= _FIRST_WIDE for character in text)
    style = load_style(size, colour, bold=bold, wrap="CJK" if wide else None)
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    runs = (
        f'<font name="{font}">{escape(run)}</font>' if font != style.fontName else escape(run)
        for font, run in split_runs(order_for_drawing(shown), style.fontName)
    )
    return Paragraph("".join(runs), style)


def set_row(texts: Sequence[str], colour: Color = INK) -> list[Flowable]:
    """Set the cells of a table's row; quiet ones, those of its head, are smaller."""
    return [set_paragraph(text, 7.5 if colour is QUIET else 8.5, colour) for text in texts]


def build_table(rows: Sequence[Sequence[Flowable]], widths: Sequence[float], *style: Any) -> Table:
    """Build a table whose own font, though no cell uses it, is an embedded one."""
    embedded = ("FONTNAME", (0, 0), (-1, -1), load_font(SANS).fontName)
    return Table(rows, colWidths=widths, style=[embedded, *style], hAlign="LEFT")


def split_runs(text: str, font: str) -> Iterator[tuple[str, str]]:
    """Split text into runs of one font each: `font` where it has the character, the wide one where only that has it."""

    def choose(character: str) -> str:
        if character == _REPLACEMENT or ord(character) in load_font(font).face.charToGlyph:
            return font
        return WIDE if ord(character) in load_font(WIDE).face.charToGlyph else ""

    for chosen, characters in groupby(text, choose):
        run = "".join(characters)
        yield (chosen, run) if chosen else (font, _REPLACEMENT * len(run))


def measure(text: str, size: float) -> float:
    """Return the width of one line, in points."""
    return float(sum(stringWidth(run, font, size) for font, run in split_runs(order_for_drawing(text), SANS)))


def draw_runs(canvas: Any, x: float, baseline: float, text: str, size: float) -> None:
    """Draw one line of any script; `x` is where it begins, in points."""
    for font, run in split_runs(order_for_drawing(text), SANS):
        canvas.setFont(font, size)
        canvas.drawString(x, baseline, run)
        x += stringWidth(run, font, size)


def order_for_drawing(text: str) -> str:
    """Put right-to-left text into the order it is drawn in, Arabic letters joined; drop invisible controls."""
    visible = "".join(character for character in text if unicodedata.category(character) not in {"Cc", "Cf", "Cs"})
    if any(unicodedata.bidirectional(character) in {"R", "AL"} for character in visible):
        return str(get_display(reshape(visible), base_dir="L"))
    return visible
