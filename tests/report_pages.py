"""Read the report of a study: its pages, and the bars and pictures drawn on them."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from pydicom import Dataset
from pypdf import PageObject, PdfReader


def open_pages(report: Dataset):
    """Open the pages of an Encapsulated PDF."""
    return PdfReader(BytesIO(report.EncapsulatedDocument[: report.EncapsulatedDocumentLength])).pages


def read_page(page: PageObject):
    """Return where each line of text begins, {text: (x, y)}, and the boxes drawn, each as (x, y, width), in points."""
    texts, boxes = {}, []

    def take_text(text, cm, tm, _font, _size):
        if text.strip():
            # The matrix of the text within that of the page; neither turns or scales here.
            texts[text.strip()] = round(tm[4] + cm[4], 1), round(tm[5] + cm[5], 1)

    def take_box(operator, operands, cm, _tm):
        if operator == b"re":
            x, y, width, _ = (float(value) for value in operands)
            boxes.append((x + cm[4], y + cm[5], width))

    page.extract_text(visitor_text=take_text, visitor_operand_before=take_box)
    return texts, boxes


def measure_bar(label, texts, boxes):
    """Return the filled share of the bar beside a label: its row holds the shade, the bar itself and the outline."""
    x, y = texts[label]
    shade, filled, outline = [width for left, bottom, width in boxes if 0 < left - x < 200 and abs(bottom - y) < 3]
    assert shade == outline
    return filled / shade


@dataclass(frozen=True, kw_only=True)
class PrintedPicture:
    """A picture on a page."""

    pixels: np.ndarray
    """As embedded: int, shape (rows, columns, 3)."""
    left: float
    """In points, as all that follows; up from the bottom of the page."""
    top: float
    width: float
    height: float


def list_pictures(page: PageObject):
    """Return the pictures in the order in which they are drawn; none is turned, skewed or mirrored."""
    pictures = []

    def take_picture(operator, operands, cm, _tm):
        if operator == b"Do":
            width, across, down, height, left, bottom = cm
            assert across == down == 0
            assert min(width, height) > 0
            pixels = np.asarray(page.images[operands[0]].image.convert("RGB")).astype(int)
            pictures.append(PrintedPicture(pixels=pixels, left=left, top=bottom + height, width=width, height=height))

    page.extract_text(visitor_operand_before=take_picture)
    return pictures
