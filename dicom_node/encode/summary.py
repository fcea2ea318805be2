"""Draw the answer for a study on one picture: what a reader sees first, down to the size of a thumbnail.

The answer stands in letters a seventh of the picture's width, then how much of the study it is about, then a row for
each image, the gravest first, then what was left out and why. Nothing on it names the patient.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw

from dicom_node import __version__
from dicom_node.encode.lettering import RGB, Letters, draw_line, fit, measure, wrap
from dicom_node.encode.provenance import Origin
from dicom_node.encode.report import wording
from dicom_node.encode.report.pictures import ImagePictures
from dicom_node.encode.versions import describe_version
from dicom_node.identity import DISCLAIMER, MANUFACTURER_MODEL_NAME
from dicom_node.languages import Language
from dicom_node.values import AnalysedInstance, StudyAnalysis
from inference.overlay import HEADLINES
from inference.types import Decision, UInt8Array

_WIDTH, _LEAST_HEIGHT = 1024, 1024
_MARGIN = 36
_INNER = _WIDTH - 2 * _MARGIN
_THUMBNAIL = 132
_ROW = 150
_COLUMNS = (184, 536, 756)
"""Where finding, probability and region begin."""
_MOST_IMAGES, _MOST_LEFT_OUT = 8, 6
"""So many are named; the rest is counted."""
_GROUND: RGB = (16, 20, 24)
_QUIET: RGB = (160, 172, 184)
_WARNING: RGB = (255, 225, 90)
_COLOURS: Mapping[Decision, RGB] = {
    Decision.FRACTURE: (255, 150, 40),
    Decision.UNCERTAIN: _WARNING,
    Decision.NO_FRACTURE: (255, 255, 255),
    Decision.NOT_ANALYSED: _WARNING,
}
_TEXT, _SMALL, _HEAD = Letters(size=26), Letters(size=22, colour=_QUIET), Letters(size=22, colour=_QUIET)


class _Sheet:
    """A picture that is filled from the top down, and cut where the content ends."""

    def __init__(self, height: int) -> None:
        self.picture = Image.new("RGB", (_WIDTH, height), _GROUND)
        self.canvas = ImageDraw.Draw(self.picture)
        self.y = _MARGIN

    def write(self, text: str, letters: Letters, *, most: int = 3, left: int = _MARGIN) -> None:
        """Write lines below what is there."""
        for line in wrap(text, letters, _WIDTH - _MARGIN - left, most=most):
            draw_line(self.canvas, (left, self.y), line, letters)
            self.y += letters.leading

    def rule(self) -> None:
        """Draw a line across, with room around it."""
        self.canvas.line((_MARGIN, self.y + 12, _WIDTH - _MARGIN, self.y + 12), fill=(70, 80, 90), width=2)
        self.y += 24

    def finish(self) -> UInt8Array:
        """Return the pixels: never wider than high, so that a thumbnail is as wide as it can be."""
        height = max(_LEAST_HEIGHT, self.y + _MARGIN)
        return np.asarray(self.picture.crop((0, 0, _WIDTH, height)), np.uint8)


def render_summary(origin: Origin, pictures: Mapping[str, ImagePictures]) -> UInt8Array:
    """Render the summary: shape (rows, 1024, 3), RGB; `pictures` are those of the analysed images, by SOP Instance UID.

    It always has as many columns, and at least as many rows.
    """
    analysis, language = origin.analysis, origin.language
    sheet = _Sheet(4096)
    _write_answer(sheet, analysis, language)
    _write_images(sheet, analysis, pictures, language)
    _write_left_out(sheet, analysis, language)
    sheet.rule()
    models = ", ".join(f"{model.name} {model.version} ({language.say(model.task)})" for model in analysis.models)
    loaded = language.say("Models: {models}", models=models) if models else language.say("No model is loaded.")
    sheet.write(loaded, _SMALL, most=4)
    details = language.say("The report has the details.")
    sheet.write(f"{MANUFACTURER_MODEL_NAME} {__version__}. {details}", _SMALL)
    return sheet.finish()


def _write_answer(sheet: _Sheet, analysis: StudyAnalysis, language: Language) -> None:
    """Write the answer as large as it can be, and beside it what it does not say."""
    answered = wording.summarise_study(analysis, language)
    decision = answered.decision
    lines = answered.headline.rsplit(" ", 1) if decision is not Decision.NOT_ANALYSED else [answered.headline]
    size = min(148, *(int(148 * _INNER / measure(line, Letters(size=148, bold=True))) for line in lines))
    for line in lines:
        draw_line(sheet.canvas, (_MARGIN, sheet.y), line, Letters(size=size, colour=_COLOURS[decision], bold=True))
        sheet.y += round(size * 1.1)
    sheet.y += 30
    about, left_out = answered.about, wording.count_not_analysed(analysis)
    if left_out and decision is not Decision.NOT_ANALYSED:
        about += "; " + language.count("{number} not analysed", "{number} not analysed", left_out)
    sheet.write(about, Letters(size=46, bold=True), most=2)
    sheet.write(wording.count_images(analysis, language), _TEXT)
    if analysis.study.version > 1:
        sheet.write(language.say("{text}.", text=describe_version(analysis.study, language)), _TEXT)
    sheet.write(language.say(DISCLAIMER), Letters(size=30, colour=_WARNING, bold=True))


def _write_images(
    sheet: _Sheet, analysis: StudyAnalysis, pictures: Mapping[str, ImagePictures], language: Language
) -> None:
    """Write a row for each analysed image under the number that the report gives it."""
    numbered = list(enumerate(wording.list_analysed(analysis), start=1))
    if not numbered:
        return
    sheet.rule()
    say = language.say
    heads = say("Image"), say("Finding"), say("Probability"), say("Region")
    for left, right, head in zip((_MARGIN, *_COLUMNS), (*_COLUMNS, _WIDTH - _MARGIN), heads, strict=True):
        _write_cell(sheet, (left, sheet.y), head, _HEAD, right - left - 12)
    sheet.y += _HEAD.leading + 6
    gravest = sorted(numbered, key=lambda one: list(_COLOURS).index(one[1].analysis.decision))
    for number, image in gravest[:_MOST_IMAGES]:
        _write_image(sheet, number, image, pictures[image.instance.sop_instance_uid], language)
    if others := gravest[_MOST_IMAGES:]:
        most = HEADLINES[others[0][1].analysis.decision]
        more = language.count(
            "and {number} more in the report, none graver than: {finding}",
            "and {number} more in the report, none graver than: {finding}",
            len(others),
            finding=most,
        )
        sheet.write(more, _TEXT)


def _write_image(
    sheet: _Sheet, number: int, image: AnalysedInstance, pictures: ImagePictures, language: Language
) -> None:
    analysis, top, say = image.analysis, sheet.y, language.say
    _paste_thumbnail(sheet, pictures)
    fracture = analysis.fracture
    cells = (
        (say(HEADLINES[analysis.decision]), Letters(size=30, colour=_COLOURS[analysis.decision], bold=True)),
        (wording.say_fracture_probability(fracture, language) if fracture else say("none"), Letters(size=30)),
        (wording.say_region(analysis, language), _TEXT),
    )
    for left, right, (text, letters) in zip(_COLUMNS, (*_COLUMNS[1:], _WIDTH - _MARGIN), cells, strict=True):
        _write_cell(sheet, (left, top), text, letters, right - left - 12)
    sheet.y = top + 42
    named = wording.describe_image(image.instance.header, language)
    sheet.write(f"{number}: {named}", _TEXT, most=1, left=_COLUMNS[0])
    sheet.write(wording.describe_uncertainty(analysis, language), _SMALL, most=1, left=_COLUMNS[0])
    remarks = " ".join(filter(None, (wording.explain(analysis, language), *map(say, analysis.flags))))
    sheet.write(remarks, Letters(size=22, colour=_WARNING), most=2, left=_COLUMNS[0])
    sheet.y = max(sheet.y + 8, top + _ROW)


def _write_cell(sheet: _Sheet, at: tuple[int, int], text: str, letters: Letters, width: int) -> None:
    """Write one line, smaller where it is long, and cut where even that does not help."""
    fitting = fit(text, letters, width)
    (line,) = wrap(text, fitting, width, most=1)
    draw_line(sheet.canvas, (at[0], at[1] + letters.size - fitting.size), line, fitting)


def _paste_thumbnail(sheet: _Sheet, pictures: ImagePictures) -> None:
    with Image.open(BytesIO(pictures.overlay)) as overlay:
        overlay.thumbnail((_THUMBNAIL, _THUMBNAIL))
        sheet.picture.paste(overlay, (_MARGIN + (_THUMBNAIL - overlay.width) // 2, sheet.y))


def _write_left_out(sheet: _Sheet, analysis: StudyAnalysis, language: Language) -> None:
    missing: Sequence[tuple[str, str]] = wording.list_not_analysed(analysis, language)
    if not missing:
        return
    sheet.rule()
    sheet.write(language.say("Not analysed"), Letters(size=30, colour=_WARNING, bold=True))
    for image, reason in missing[:_MOST_LEFT_OUT]:
        sheet.write(f"{image}: {reason}", _TEXT, most=4)
    if others := missing[_MOST_LEFT_OUT:]:
        more = language.count(
            "and {number} more, which the report names", "and {number} more, which the report names", len(others)
        )
        sheet.write(more, _TEXT)
