"""Probabilities as horizontal bars, drawn as vectors."""

from collections.abc import Sequence
from dataclasses import dataclass

from reportlab.lib.colors import Color
from reportlab.platypus import Flowable

from dicom_node.encode.report.typesetting import (
    ACCENT,
    INK,
    QUIET,
    RULE,
    SANS,
    SHADE,
    draw_runs,
    load_font,
    measure,
)

_ROW = 12.0
_BAR = 6.5
_SIZE = 7.5


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One probability."""

    label: str
    probability: float
    written: str
    """The probability as the reader's language writes it."""
    colour: Color = ACCENT
    marks: tuple[tuple[float, str], ...] = ()
    """Operating points: where, and the words below the mark."""


class ProbabilityBars(Flowable):  # type: ignore[misc]  # reportlab ships no types
    """Bars below each other on one axis from 0 to 1."""

    def __init__(self, bars: Sequence[Bar], *, label_width: float) -> None:
        super().__init__()
        self._bars = bars
        self._label_width = label_width
        load_font(SANS)

    def wrap(self, available_width: float, _available_height: float) -> tuple[float, float]:
        """Take the width there is; a marked bar has a row more for the words below it."""
        self.width = available_width
        self.height = sum(_ROW * (1.8 if bar.marks else 1) for bar in self._bars)
        return self.width, self.height

    def draw(self) -> None:
        """Draw from the top down."""
        top = self.height
        for bar in self._bars:
            self._draw_bar(bar, top - _ROW)
            top -= _ROW * (1.8 if bar.marks else 1)

    def _draw_bar(self, bar: Bar, bottom: float) -> None:
        canvas, start, length = self.canv, self._label_width, self.width - self._label_width - 32
        canvas.setFillColor(INK)
        self._draw_label(bar.label, bottom + 2.2)
        draw_runs(canvas, self.width - measure(bar.written, _SIZE), bottom + 2.2, bar.written, _SIZE)
        canvas.setFillColor(SHADE)
        canvas.rect(start, bottom + 1.5, length, _BAR, stroke=0, fill=1)
        canvas.setFillColor(bar.colour)
        canvas.rect(start, bottom + 1.5, length * min(1.0, max(0.0, bar.probability)), _BAR, stroke=0, fill=1)
        canvas.setStrokeColor(RULE)
        canvas.rect(start, bottom + 1.5, length, _BAR, stroke=1, fill=0)
        for number, (where, words) in enumerate(bar.marks):
            self._draw_mark(start + length * where, bottom, words, before=number == 0)

    def _draw_label(self, label: str, baseline: float) -> None:
        """Draw a label in any script, cut where it would run into its bar."""
        draw_runs(self.canv, 0, baseline, _fit(label, self._label_width - 4), _SIZE)

    def _draw_mark(self, x: float, bottom: float, words: str, *, before: bool) -> None:
        """Mark an operating point with a line through the bar, its words on one side of the foot."""
        canvas, width = self.canv, measure(words, 6)
        canvas.setStrokeColor(INK)
        canvas.line(x, bottom - 2, x, bottom + 1.5 + _BAR + 2)
        canvas.setFillColor(QUIET)
        start = max(0, x - 2 - width) if before else min(x + 2, self.width - width)
        draw_runs(canvas, start, bottom - 5.5, words, 6)


def _fit(label: str, width: float) -> str:
    """Cut a label that is wider than `width`, and show that it was cut."""
    if measure(label, _SIZE) <= width:
        return label
    while label and measure(f"{label}…", _SIZE) > width:
        label = label[:-1]
    return f"{label.rstrip()}…"
