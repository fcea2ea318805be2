"""Statistics as SVG, to stand inline in a page: no script, no style sheet, nothing loaded.

Who cannot see it is read the title; each piece says what it is when it is pointed at, and no meaning hangs on colour
alone: pieces lie in the order of the legend. The same numbers stand in the tables.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from unicodedata import east_asian_width
from xml.sax.saxutils import escape, quoteattr

from dicom_node.languages import ENGLISH, Language
from dicom_node.statistics.counting import Tally
from inference.phrases import Phrase

_HEIGHT, _LEFT, _TOP, _BOTTOM = 220, 52, 34, 26
_BAR, _LETTER = 30, 8.5
_INK, _RULE = "#1a1a1a", "#c8c8c8"


@dataclass(frozen=True, kw_only=True)
class Series:
    """One kind of pieces; its colour has a contrast of 3 to 1 with white, and another lightness than its neighbours."""

    label: str
    field: str
    colour: str


DECISIONS = (
    Series(label=Phrase("fracture"), field="fracture", colour="#7a1f2b"),
    Series(label=Phrase("uncertain"), field="uncertain", colour="#b8860b"),
    Series(label=Phrase("no fracture"), field="no_fracture", colour="#1f4e79"),
    Series(label=Phrase("outside scope"), field="outside_scope", colour="#8a8a8a"),
    Series(label=Phrase("not analysed"), field="otherwise_not_analysed", colour="#4d4d4d"),
)


def draw_decisions(tallies: Sequence[Tally], *, title: str, language: Language = ENGLISH) -> str:
    """Draw a column for each tally, in their order, with a piece for each answer, as an SVG element."""
    columns = {tally.name: _list_decisions(tally, language) for tally in tallies}
    legend = [(language.say(series.label), series.colour) for series in DECISIONS]
    images = language.count("{number} image", "{number} images", sum(tally.images for tally in tallies))
    return _draw(columns, legend, title=f"{title}: {images}", write=str)


def draw_times(tallies: Sequence[Tally], *, title: str, language: Language = ENGLISH) -> str:
    """Draw for each tally how long half of its results took at most, and 19 of 20, as an SVG element."""
    columns = {tally.name: _list_times(tally, language) for tally in tallies}
    legend = [(language.say(label), colour) for label, colour in zip(_TIMES, _TIME_COLOURS, strict=True)]
    said = language.say("{title}: half of the results, and 19 of 20", title=title)
    return _draw(columns, legend, title=said, write=lambda seconds: language.number(write_seconds(seconds)))


def write_seconds(seconds: float | None) -> str:
    """Write a duration shortly; a dash for None."""
    if seconds is None:
        return "-"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


@dataclass(frozen=True, kw_only=True)
class _Piece:
    size: float
    colour: str
    says: str


_Legend = Sequence[tuple[str, str]]
_TIMES = (Phrase("half of the results"), Phrase("19 of 20 results"))
_TIME_COLOURS = ("#1f4e79", "#8fb3d9")


def _list_decisions(tally: Tally, language: Language) -> list[_Piece]:
    counts = [(getattr(tally, series.field), series) for series in DECISIONS]
    return [
        _Piece(size=count, colour=series.colour, says=f"{tally.name}: {count} {language.say(series.label)}")
        for count, series in counts
        if count
    ]


def _list_times(tally: Tally, language: Language) -> list[_Piece]:
    half, most = tally.times.result_median_s, tally.times.result_95_s
    if half is None or most is None:
        return []
    return [
        _Piece(
            size=size,
            colour=colour,
            says=language.say(
                "{name}: {share} within {time}",
                name=tally.name,
                share=label,
                time=language.number(write_seconds(within)),
            ),
        )
        for size, within, label, colour in zip((half, most - half), (half, most), _TIMES, _TIME_COLOURS, strict=True)
    ]


def _draw(columns: Mapping[str, Sequence[_Piece]], legend: _Legend, *, title: str, write: Callable[[int], str]) -> str:
    highest = max([1.0, *(sum(piece.size for piece in pieces) for pieces in columns.values())])
    step = max([_BAR + 14.0, *(_LETTER * len(_shorten(name)) + 8 for name in columns)])
    width = round(max(_LEFT + step * len(columns) + 10, _LEFT + sum(_measure(label) for label, _ in legend)))
    parts = [_draw_legend(legend), *_draw_axis(math.ceil(highest), width, write)]
    for number, (name, pieces) in enumerate(columns.items()):
        parts += _draw_column(name, pieces, _LEFT + number * step + (step - _BAR) / 2, math.ceil(highest))
    return _wrap(parts, title=title, width=width)


def _draw_column(name: str, pieces: Sequence[_Piece], x: float, highest: int) -> list[str]:
    parts, base = [], float(_HEIGHT - _BOTTOM)
    for piece in pieces:
        height = piece.size / highest * (_HEIGHT - _TOP - _BOTTOM)
        base -= height
        place = f'x="{x:.1f}" y="{base:.1f}" width="{_BAR}" height="{height:.1f}"'
        said = f"<title>{escape(piece.says)}</title>"
        parts.append(f'<rect {place} fill="{piece.colour}" stroke="#fff" stroke-width="0.5">{said}</rect>')
    parts.append(_text(_shorten(name), x + _BAR / 2, _HEIGHT - 9, anchor="middle"))
    return parts


def _draw_axis(highest: int, width: int, write: Callable[[int], str]) -> list[str]:
    bottom, top = _HEIGHT - _BOTTOM, _TOP
    lines = []
    for value in sorted({0, highest // 2, highest}):
        y = bottom - value / highest * (bottom - top)
        lines.append(f'<line x1="{_LEFT}" x2="{width - 6}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_RULE}"/>')
        lines.append(_text(write(value), _LEFT - 6, y + 4, anchor="end"))
    return lines


def _draw_legend(legend: _Legend) -> str:
    parts, x = [], _LEFT
    for label, colour in legend:
        parts.append(f'<rect x="{x}" y="6" width="11" height="11" fill="{colour}"/>')
        parts.append(_text(label, x + 15, 16))
        x += _measure(label)
    return "".join(parts)


def _measure(label: str) -> int:
    """Return how wide an entry of the legend is."""
    return 30 + sum(13 if east_asian_width(letter) in "WF" else 7 for letter in label)


def _shorten(name: str) -> str:
    """Return what stands below a column: of a day its month and day."""
    return name[5:] if name[:4].isdigit() and name.count("-") == 2 else name


def _text(text: str, x: float, y: float, *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{_INK}">{escape(text)}</text>'


def _wrap(parts: Sequence[str], *, title: str, width: int) -> str:
    head = (
        f'xmlns="http://www.w3.org/2000/svg" role="img" aria-label={quoteattr(title)} viewBox="0 0 {width} {_HEIGHT}"'
    )
    size = f'width="{width}" height="{_HEIGHT}" font-family="sans-serif" font-size="12"'
    return f"<svg {head} {size}><title>{escape(title)}</title>{''.join(parts)}</svg>"
