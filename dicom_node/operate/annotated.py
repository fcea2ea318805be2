"""The picture of an answer, as plain PNG."""

from dicom_node.encode.lettering import set_text
from dicom_node.identity import DISCLAIMER
from dicom_node.languages import Language
from dicom_node.operate.pictures import encode_png
from inference.overlay import render_overlay
from inference.types import RadiographAnalysis, ShownRadiograph


def draw_answer(radiograph: ShownRadiograph, said: RadiographAnalysis, language: Language) -> bytes:
    """Draw what was said onto the image: PNG, square pixels as wide as the source's."""
    disclaimer = language.say(DISCLAIMER)
    drawn = render_overlay(radiograph, said, disclaimer=disclaimer, voice=language, set_text=set_text)
    return encode_png(drawn, rows=max(1, round(drawn.shape[0] * radiograph.pixel_aspect)))
