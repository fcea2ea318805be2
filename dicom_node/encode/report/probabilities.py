"""Lay out the probabilities of an image as bars: of a fracture, of the regions, and of its types."""

from collections.abc import Mapping, Sequence

from reportlab.lib.colors import Color
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, Table

from dicom_node.encode.report.bars import Bar, ProbabilityBars
from dicom_node.encode.report.typesetting import FLUSH, QUIET, build_table, set_paragraph, set_row
from dicom_node.encode.report.wording import say_fracture_probability, say_probability
from dicom_node.languages import Language
from inference.phrases import format_label
from inference.probabilities import format_operating_points
from inference.types import FracturePrediction, RadiographAnalysis, TypePrediction

_REGIONS = 5
_TYPES = 12
_LEFT, _RIGHT = 28 * mm, 28 * mm
_TYPE = 40 * mm
"""Widths of the labels."""


def lay_out_probabilities(
    analysis: RadiographAnalysis, width: float, colour: Color, language: Language
) -> list[Flowable]:
    """Lay out fracture beside regions, below them the types where a type model spoke; `colour` is the decision's."""
    bars = [_lay_out_fracture_and_region(analysis, width, colour, language)]
    return bars + _lay_out_types(analysis.fracture_type, width, colour, language) if analysis.fracture_type else bars


def _lay_out_fracture_and_region(
    analysis: RadiographAnalysis, width: float, colour: Color, language: Language
) -> Table:
    """Fracture probability with its operating points on the left, the most probable regions on the right."""
    left = [_build_fracture_bar(analysis.fracture, colour, language)] if analysis.fracture else []
    right = _build_bars(analysis.region.probabilities, QUIET, language)[:_REGIONS] if analysis.region else []
    return _set_beside((language.say("Fracture"), language.say("Region")), (left, right), (_LEFT, _RIGHT), width)


def _lay_out_types(prediction: TypePrediction, width: float, colour: Color, language: Language) -> list[Flowable]:
    """Every type, the most probable first, down the left column and then down the right one."""
    bars = _build_bars(prediction.probabilities, colour, language)
    shown, others = bars[:_TYPES], bars[_TYPES:]
    half = (len(shown) + 1) // 2
    heads = language.say("Type of the fracture, if there is one"), ""
    block: list[Flowable] = [_set_beside(heads, (shown[:half], shown[half:]), (_TYPE, _TYPE), width)]
    if others:
        rest = language.count(
            "{number} less probable type: {together}",
            "{number} less probable types, together {together}",
            len(others),
            together=say_probability(sum(bar.probability for bar in others), language),
        )
        block.append(set_paragraph(rest, 7.5, QUIET))
    return block


def _build_bars(probabilities: Mapping[str, float], first: Color, language: Language) -> list[Bar]:
    """Build a bar for each label, the most probable first and in a colour of its own."""
    ranked = sorted(probabilities.items(), key=lambda item: -item[1])
    return [
        _build_bar(language.say(format_label(label)), probability, QUIET if rank else first, language)
        for rank, (label, probability) in enumerate(ranked)
    ]


def _build_fracture_bar(fracture: FracturePrediction, colour: Color, language: Language) -> Bar:
    sensitive, specific = map(language.number, format_operating_points(fracture))
    marks = (
        (fracture.sensitive_threshold, language.say("no fracture below {threshold}", threshold=sensitive)),
        (fracture.specific_threshold, language.say("fracture from {threshold}", threshold=specific)),
    )
    return Bar(
        label=language.say("Probability"),
        probability=fracture.probability,
        written=say_fracture_probability(fracture, language),
        colour=colour,
        marks=marks,
    )


def _build_bar(label: str, probability: float, colour: Color, language: Language) -> Bar:
    return Bar(label=label, probability=probability, written=say_probability(probability, language), colour=colour)


def _set_beside(heads: Sequence[str], columns: Sequence[Sequence[Bar]], labels: Sequence[float], width: float) -> Table:
    """Set two columns of bars, each half of `width`, below their heads; `labels` are the widths of their labels."""
    cells = [ProbabilityBars(bars, label_width=label) for bars, label in zip(columns, labels, strict=True)]
    between = [("RIGHTPADDING", (0, 0), (0, -1), 6 * mm), ("VALIGN", (0, 0), (-1, -1), "TOP")]
    return build_table([set_row(heads, QUIET), cells], [width / 2] * 2, *FLUSH, *between)
