"""Statistics as SVG, to stand inline in a page: no script, no style sheet, nothing loaded.

Who cannot see it is read the title; each piece says what it is when it is pointed at, and no meaning hangs on colour
alone: pieces lie in the order of the legend. The same numbers stand in the tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from dicom_node.statistics.counting import Tally

_HEIGHT, _LEFT, _TOP, _BOTTOM = 220, 44, 34, 26
_BAR, _LETTER, _LEGEND = 30, 7.5, 560
_INK, _RULE = "#1a1a1a", "#c8c8c8"


@dataclass(frozen=True, kw_only=True)
class Series:
    """One kind of pieces; its colour has a contrast of 3 to 1 with white, and another lightness than its neighbours."""

    label: str
    field: str
    colour: str


DECISIONS = (
    Series(label="fracture", field="fracture", colour="#7a1f2b"),
    Series(label="uncertain", field="uncertain", colour="#b8860b"),
    Series(label="no fracture", field="no_fracture", colour="#1f4e79"),
    Series(label="outside scope", field="outside_scope", colour="#8a8a8a"),
    Series(label="not analysed", field="otherwise_not_analysed", colour="#4d4d4d"),
)


def draw_decisions(tallies: Sequence[Tally], *, title: str) -> str:
    """Draw a column for each tally, in their order, with a piece for each answer, as an SVG element."""
    highest = max([tally.images for tally in tallies] + [1])
    step = max([_BAR + 14.0, *(_LETTER * len(_shorten(tally.name)) + 8 for tally in tallies)])
    width = round(max(_LEFT + step * len(tallies) + 10, _LEGEND))
    parts = [_draw_legend(), *_draw_axis(highest, width)]
    for number, tally in enumerate(tallies):
        parts += _draw_column(tally, _LEFT + number * step + (step - _BAR) / 2, highest)
    return _wrap(parts, title=f"{title}: {sum(tally.images for tally in tallies)} images", width=width)


def _draw_column(tally: Tally, x: float, highest: int) -> list[str]:
    parts, base = [], float(_HEIGHT - _BOTTOM)
    for series in DECISIONS:
        count = getattr(tally, series.field)
        if not count:
            continue
        height = count / highest * (_HEIGHT - _TOP - _BOTTOM)
        base -= height
        said = escape(f"{tally.name}: {count} {series.label}")
        place = f'x="{x:.1f}" y="{base:.1f}" width="{_BAR}" height="{height:.1f}"'
        parts.append(
            f'<rect {place} fill="{series.colour}" stroke="#fff" stroke-width="0.5"><title>{said}</title></rect>'
        )
    parts.append(_text(_shorten(tally.name), x + _BAR / 2, _HEIGHT - 9, anchor="middle"))
    return parts


def _draw_axis(highest: int, width: int) -> list[str]:
    bottom, top = _HEIGHT - _BOTTOM, _TOP
    lines = []
    for value in sorted({0, highest // 2, highest}):
        y = bottom - value / highest * (bottom - top)
        lines.append(f'<line x1="{_LEFT}" x2="{width - 6}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_RULE}"/>')
        lines.append(_text(str(value), _LEFT - 6, y + 4, anchor="end"))
    return lines


def _draw_legend() -> str:
    parts, x = [], _LEFT
    for series in DECISIONS:
        parts.append(f'<rect x="{x}" y="6" width="11" height="11" fill="{series.colour}"/>')
        parts.append(_text(series.label, x + 15, 16))
        x += 30 + 7 * len(series.label)
    return "".join(parts)


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
