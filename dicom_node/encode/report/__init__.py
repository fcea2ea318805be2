"""Lay out the report of a study as a PDF, A4: the answer first, then each image with its overlay.

The same study always gives the same bytes: reportlab writes no clock and no random identifier into an invariant
document.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from reportlab.lib.colors import Color, white
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    HRFlowable,
    KeepTogether,
    PageTemplate,
    Spacer,
    Table,
)

from dicom_node import __version__
from dicom_node.encode.provenance import Origin
from dicom_node.encode.report import wording
from dicom_node.encode.report.pictures import ImagePictures, Picture
from dicom_node.encode.report.probabilities import lay_out_probabilities
from dicom_node.encode.report.typesetting import (
    ACCENT,
    ALERT,
    FLUSH,
    INK,
    QUIET,
    RULE,
    SANS,
    SHADE,
    WARNING,
    build_table,
    draw_runs,
    load_font,
    measure,
    set_paragraph,
    set_row,
)
from dicom_node.encode.versions import describe_version
from dicom_node.identity import DISCLAIMER, MANUFACTURER_MODEL_NAME
from dicom_node.languages import Language
from dicom_node.values import AnalysedInstance, StudyAnalysis
from inference.overlay import HEADLINES, HEATMAP_WITHHELD, describe_boxes
from inference.phrases import Phrase
from inference.types import Decision

_TITLE = Phrase("Fracture AI report")
_WIDTH = A4[0] - 30 * mm
_PICTURE_HEIGHTS = (98 * mm, 84 * mm, 70 * mm, 56 * mm)
_DENSE = [
    *FLUSH,
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("TOPPADDING", (0, 0), (-1, -1), 1.6),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 1.6),
]
_COLOURS = {
    Decision.FRACTURE: ALERT,
    Decision.UNCERTAIN: WARNING,
    Decision.NO_FRACTURE: ACCENT,
    Decision.NOT_ANALYSED: WARNING,
}


def render_report(origin: Origin, pictures: Mapping[str, ImagePictures]) -> bytes:
    """Render the report; `pictures` are those of the analysed images, by SOP Instance UID.

    A study of one image fits on one page: its pictures are made smaller until it does.
    """
    heights = _PICTURE_HEIGHTS if len(pictures) == 1 else _PICTURE_HEIGHTS[:1]
    for height in heights:
        document, pages = _build(origin, pictures, height)
        if pages == 1:
            break
    return document


def _build(origin: Origin, pictures: Mapping[str, ImagePictures], height: float) -> tuple[bytes, int]:
    with BytesIO() as file:
        template = BaseDocTemplate(
            file,
            pagesize=A4,
            title=origin.language.say(_TITLE),
            author=MANUFACTURER_MODEL_NAME,
            subject=origin.language.say(DISCLAIMER),
            lang=origin.language.code,
            initialFontName=load_font(SANS).fontName,
            invariant=1,
        )
        frame = Frame(15 * mm, 14 * mm, _WIDTH, A4[1] - 26 * mm, 0, 0, 0, 0)
        template.addPageTemplates(PageTemplate(frames=[frame], onPage=_Footer(origin.language)))
        template.build(_lay_out(origin, pictures, height))
        return file.getvalue(), template.page


def _lay_out(origin: Origin, pictures: Mapping[str, ImagePictures], height: float) -> list[Flowable]:
    analysis, language = origin.analysis, origin.language
    story = [*_lay_out_answer(analysis, language), _lay_out_identification(origin)]
    story += _lay_out_images(analysis, language)
    story += _lay_out_not_analysed(analysis, language)
    story += _lay_out_models(analysis, language)
    for number, image in enumerate(wording.list_analysed(analysis), start=1):
        shown = pictures[image.instance.sop_instance_uid]
        story.append(KeepTogether(_lay_out_image(number, image, shown, height, language)))
    return story


def _lay_out_answer(analysis: StudyAnalysis, language: Language) -> list[Flowable]:
    answered = wording.summarise_study(analysis, language)
    counted = wording.count_images(analysis, language)
    version = describe_version(analysis.study, language)
    beside = measure(version, 8) + 1 * mm
    title = build_table(
        [[set_paragraph(language.say(_TITLE), 15, bold=True), set_paragraph(version, 8, QUIET)]],
        [_WIDTH - beside, beside],
        ("VALIGN", (0, 0), (-1, -1), "BOTTOM"),
        *FLUSH,
    )
    answer = build_table(
        [[set_paragraph(answered.sentence, 12, white, bold=True)], [set_paragraph(counted, 8.5, white)]],
        [_WIDTH],
        ("BACKGROUND", (0, 0), (-1, -1), _COLOURS[answered.decision]),
        ("BOTTOMPADDING", (0, 0), (0, 0), 1),
    )
    return [
        title,
        set_paragraph(language.say(DISCLAIMER), 9, ALERT, bold=True),
        Spacer(0, 2 * mm),
        answer,
        Spacer(0, 2 * mm),
    ]


def _lay_out_identification(origin: Origin) -> Table:
    """Two pairs of label and value a row."""
    cells = [
        (
            set_paragraph(label, 7.5, QUIET),
            set_paragraph(value or origin.language.say("not given"), 9, INK if value else QUIET),
        )
        for label, value in wording.describe_patient_and_study(origin)
    ]
    rows = [[*left, *right] for left, right in zip(cells[::2], cells[1::2], strict=True)]
    widths = [33 * mm, 62 * mm, 32 * mm, _WIDTH - 127 * mm]
    return build_table(
        rows, widths, *_DENSE, ("BACKGROUND", (0, 0), (-1, -1), SHADE), ("LEFTPADDING", (0, 0), (-1, -1), 6)
    )


def _lay_out_images(analysis: StudyAnalysis, language: Language) -> list[Flowable]:
    images, say = wording.list_analysed(analysis), language.say
    if not images:
        return []
    rows = [set_row(["", say("Image"), say("Finding"), say("Probability"), say("Region")], QUIET)]
    rows += [_list_image(number, image, language) for number, image in enumerate(images, start=1)]
    return [
        _set_heading(say("Images")),
        build_table(rows, [8 * mm, 60 * mm, 40 * mm, 30 * mm, _WIDTH - 138 * mm], *_DENSE),
    ]


def _list_image(number: int, image: AnalysedInstance, language: Language) -> list[Flowable]:
    analysis = image.analysis
    said = wording.say_fracture_probability(analysis.fracture, language) if analysis.fracture else language.say("none")
    return [
        set_paragraph(str(number)),
        set_paragraph(wording.describe_image(image.instance.header, language)),
        set_paragraph(language.say(HEADLINES[analysis.decision]), 8.5, _COLOURS[analysis.decision], bold=True),
        set_paragraph(said),
        set_paragraph(wording.say_region(analysis, language)),
    ]


def _lay_out_not_analysed(analysis: StudyAnalysis, language: Language) -> list[Flowable]:
    missing, say = wording.list_not_analysed(analysis, language), language.say
    if not missing:
        return []
    rows = [set_row([say("Image"), say("Reason")], QUIET)]
    rows += [[set_paragraph(image), set_paragraph(reason, bold=True)] for image, reason in missing]
    return [_set_heading(say("Not analysed"), WARNING), build_table(rows, [62 * mm, _WIDTH - 62 * mm], *_DENSE)]


def _lay_out_models(analysis: StudyAnalysis, language: Language) -> list[Flowable]:
    if not analysis.models:
        return []
    say = language.say
    rows = [set_row([say("Model"), say("Version"), say("Task"), "SHA-256"], QUIET)]
    rows += [set_row([model.name, model.version, say(model.task), model.digest[:16]]) for model in analysis.models]
    return [_set_heading(say("Models")), build_table(rows, [75 * mm, 30 * mm, 30 * mm, _WIDTH - 135 * mm], *_DENSE)]


def _lay_out_image(
    number: int, image: AnalysedInstance, pictures: ImagePictures, height: float, language: Language
) -> list[Flowable]:
    """Lay out an image: what was found, original beside overlay, probabilities, remarks."""
    analysis, say = image.analysis, language.say
    heading = say("Image {number}: {finding}", number=number, finding=HEADLINES[analysis.decision])
    overlay = say("Overlay") if analysis.heatmap is not None else say(HEATMAP_WITHHELD)
    if boxes := say(describe_boxes(analysis)):
        overlay = say("{overlay}. {boxes}", overlay=overlay, boxes=boxes)
    captions = [say("As received"), overlay]
    described = set_paragraph(wording.describe_image(image.instance.header, language), 8, QUIET)
    block = [_set_heading(heading, _COLOURS[analysis.decision]), described, Spacer(0, 1.5 * mm)]
    block += [_lay_out_pictures(pictures, height, captions), Spacer(0, 1 * mm)]
    block += lay_out_probabilities(analysis, _WIDTH, _COLOURS[analysis.decision], language)
    remarks = [analysis.reason, *analysis.flags] if analysis.reason else analysis.flags
    block += [set_paragraph(f"• {say(remark)}", 8.5, WARNING) for remark in remarks]
    return block


def _lay_out_pictures(pictures: ImagePictures, height: float, captions: Sequence[str]) -> Table:
    width = (_WIDTH - 4 * mm) / 2
    shown = min(height, width * pictures.height_to_width)
    jpegs = pictures.original, pictures.overlay
    row = [Picture(jpeg, width=shown / pictures.height_to_width, height=shown) for jpeg in jpegs]
    style = [("ALIGN", (0, 0), (-1, -1), "LEFT"), ("TOPPADDING", (0, 0), (-1, -1), 0), *FLUSH]
    return build_table([row, set_row(captions, QUIET)], [_WIDTH / 2] * 2, *style)


def _set_heading(text: str, colour: Color = INK) -> Table:
    rule = HRFlowable(width=_WIDTH, thickness=0.6, color=RULE, spaceBefore=0, spaceAfter=0)
    tight = [("TOPPADDING", (0, 1), (0, 1), 0), ("BOTTOMPADDING", (0, 0), (0, -1), 1)]
    return build_table([[set_paragraph(text, 10.5, colour, bold=True)], [rule]], [_WIDTH], *FLUSH, *tight)


class _Footer:
    """Repeats on every page that this is not for diagnosis."""

    def __init__(self, language: Language) -> None:
        self._language = language

    def __call__(self, canvas: Any, template: Any) -> None:
        """Draw it."""
        say = self._language.say
        canvas.saveState()
        canvas.setFillColor(QUIET)
        draw_runs(canvas, 15 * mm, 8 * mm, f"{say(DISCLAIMER)} {MANUFACTURER_MODEL_NAME} {__version__}.", 7.5)
        page = say("Page {number}", number=template.page)
        draw_runs(canvas, A4[0] - 15 * mm - measure(page, 7.5), 8 * mm, page, 7.5)
        canvas.restoreState()
