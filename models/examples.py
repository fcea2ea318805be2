"""Galleries of radiographs with their overlays: fractures missed, false alarms and hits, the surest answers first."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from inference.overlay import render_overlay, show
from inference.probabilities import format_fracture_probability
from inference.types import Decision, Radiograph
from models.asking import Asked
from models.datasets import read_unit_pixels
from models.figures import draw_grid
from models.held_out import Answers

MOST = 6
"""Pictures in a gallery."""
DISCLAIMER = "Research use only"

KINDS: Mapping[str, tuple[bool, Decision]] = MappingProxyType(
    {
        "missed": (True, Decision.NO_FRACTURE),
        "false_alarms": (False, Decision.FRACTURE),
        "hits": (True, Decision.FRACTURE),
    }
)
"""Name of a gallery to what the data set says and what was answered."""
TITLES: Mapping[str, str] = MappingProxyType(
    {
        "missed": "Fractures missed (answered: no fracture), the surest first; radiologists' boxes dashed",
        "false_alarms": "False alarms (answered: fracture), the surest first",
        "hits": "Fractures found, the surest first; radiologists' boxes dashed",
    }
)


def choose_examples(answers: Answers, kind: str) -> list[int]:
    """Return the rows of a gallery, at most `MOST`; radiographs whose twins carry the other label are not judged."""
    fractured, decision = KINDS[kind]
    found = [
        (analysis.fracture.probability, row)
        for row, (sample, analysis) in enumerate(zip(answers.samples, answers.analyses, strict=True))
        if analysis.fracture is not None
        and analysis.decision is decision
        and sample.fractured is fractured
        and not sample.contradicted
    ]
    return [row for _, row in sorted(found, reverse=decision is Decision.FRACTURE)[:MOST]]


def draw_examples(folder: Path, asked: Asked, answers: Answers) -> list[Path]:
    """Draw a gallery of each kind that occurs, and return their paths. Radiologists' boxes are green and dashed."""
    drawn = []
    for kind, title in TITLES.items():
        rows = choose_examples(answers, kind)
        if rows:
            path = folder / f"{kind}.png"
            draw_grid(path, [_Example(asked, answers, row) for row in rows], title=title)
            drawn.append(path)
    return drawn


class _Example:
    """One radiograph, asked again for its heat map."""

    def __init__(self, asked: Asked, answers: Answers, row: int) -> None:
        self._asked, self._sample, self._name = asked, answers.samples[row], answers.names[row]

    def __call__(self, axes: Axes) -> None:
        """Draw overlay, boxes and a caption."""
        radiograph = Radiograph(pixels=read_unit_pixels(self._sample.path))
        analysis = self._asked.answer(radiograph, self._sample)
        axes.imshow(render_overlay(show(radiograph), analysis, disclaimer=DISCLAIMER))
        for x, y, width, height in self._sample.boxes:
            # Image coordinates of a pixel's corner: its middle is the whole number.
            axes.add_patch(
                Rectangle((x - 0.5, y - 0.5), width, height, fill=False, edgecolor="lime", linestyle="--", linewidth=1)
            )
        probability = format_fracture_probability(analysis.fracture) if analysis.fracture else "-"
        axes.set_title(f"{self._name}  {self._sample.region}  p {probability}", fontsize=8)
        axes.axis("off")
