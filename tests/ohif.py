"""OHIF in a real browser, as a radiologist sees it."""

import base64
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import cycle

import numpy as np
import pytest
from chromium_browser import running_chromium
from PIL import Image

SIZE = {"width": 1400, "height": 900}
PATIENCE_MS = 120_000
"""A browser on a busy machine takes long to draw."""
SERIES = '[data-cy="study-browser-thumbnail"], [data-cy="study-browser-thumbnail-no-image"]'
PANE = '[data-cy="viewport-pane"]'
MARKS = f"{PANE} svg.svg-layer"
"""Where OHIF draws what a structured report outlines, over the picture."""
READ_AS_DATA = """
async address => {
  const blob = await (await fetch(address)).blob();
  return await new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = failed;
    reader.readAsDataURL(blob);
  });
}
"""


class Viewer:
    """A page of the viewer."""

    def __init__(self, page) -> None:
        self._page = page
        self._sizes = cycle(({"width": 1300, "height": 900}, SIZE))

    def open(self, address: str) -> None:
        """Open a study, and wait until its first picture is drawn."""
        self._page.goto(address, timeout=PATIENCE_MS)
        self._page.wait_for_selector(SERIES, timeout=PATIENCE_MS)
        self._page.wait_for_load_state("networkidle", timeout=PATIENCE_MS)
        self.wait_until(lambda: not self.is_empty)

    def list_series(self) -> list[str]:
        """Return what the list of series says of each."""
        return [one.inner_text() for one in self._page.locator(SERIES).all()]

    def show(self, words: str) -> None:
        """Put the series whose label has these words into the pane."""
        self._page.locator(SERIES).filter(has_text=words).first.dblclick(timeout=PATIENCE_MS)

    def show_next_image(self) -> None:
        """Go to the next image of the series in the pane."""
        self._page.locator(PANE).first.click()
        self._page.keyboard.press("ArrowDown")

    def draw_again(self) -> None:
        """Have the pane drawn anew: on a slow machine OHIF may read the report's boxes after it drew the picture."""
        self._page.set_viewport_size(next(self._sizes))

    def wait_until(self, holds: Callable[[], object]) -> None:
        """Wait until it holds; fails where it never does."""
        if not self.is_soon(holds, within_ms=PATIENCE_MS):
            pytest.fail("the viewer never showed it")

    def is_soon(self, holds: Callable[[], object], within_ms: int = 5_000) -> bool:
        """Tell whether it holds before long."""
        deadline = time.monotonic() + within_ms / 1000
        while time.monotonic() < deadline:
            if holds():
                return True
            self._page.wait_for_timeout(500)
        return False

    def _colours(self):
        """Pixels of the pane, int (rows, columns, 3); None while nothing is drawn."""
        panes = self._page.locator(PANE)
        if panes.count() == 0:
            return None
        pixels = _read_pixels(panes.first.screenshot())
        # The middle: the viewer writes its own words into the corners.
        rows, columns = pixels.shape[:2]
        middle = pixels[rows // 4 : -rows // 4, columns // 4 : -columns // 4]
        return pixels if np.ptp(middle) > 100 else None

    @property
    def is_empty(self) -> bool:
        """Whether the pane has no picture."""
        return self._colours() is None

    def find_heat(self, rows: int, columns: int):
        """Where the pane is warm, as fractions (down, right) of a picture of that shape, or None where nothing is."""
        return self._find(lambda red, _, blue: red - blue > 90, rows, columns)

    def find_lines(self, rows: int, columns: int):
        """Where the pane is green, as OHIF draws what a structured report outlines, and the words beside it."""
        return self._find(_is_green, rows, columns)

    def _find(self, looks_so, rows, columns):
        pixels = self._colours()
        if pixels is None:
            return None
        found = np.argwhere(looks_so(*np.moveaxis(pixels, 2, 0)))
        if len(found) < 50:
            return None
        # The picture is fitted to the height of the pane, in its middle.
        height, width = pixels.shape[:2]
        picture = height * columns / rows
        down, right = np.median(found, axis=0)
        return down / height, (right - (width - picture) / 2) / picture

    def list_boxes(self, rows: int, columns: int) -> list[tuple[float, ...]]:
        """Return the outlines over a picture of that shape: (left, top, right, bottom) in its pixels."""
        layer = self._page.locator(MARKS).first
        size = layer.evaluate("layer => [layer.clientWidth, layer.clientHeight]")
        scale = min(size[0] / columns, size[1] / rows)
        margins = (np.array(size) - scale * np.array([columns, rows])) / 2
        boxes = []
        for line in self._page.locator(f"{MARKS} polyline").all():
            points = np.array(line.get_attribute("points").replace(",", " ").split(), float).reshape(-1, 2)
            boxes.append((*((points.min(axis=0) - margins) / scale), *((points.max(axis=0) - margins) / scale)))
        return boxes

    def list_labels(self) -> list[str]:
        """Return the words that are drawn over the picture, of those alone that are in sight."""
        texts = self._page.locator(f"{MARKS} text").all()
        return [text.text_content() for text in texts if self._is_drawn(text)]

    def _is_drawn(self, text) -> bool:
        pixels = _read_pixels(self._page.screenshot(clip=text.bounding_box()))
        return bool(_is_green(*np.moveaxis(pixels, 2, 0)).sum() > 50)

    def read_document(self) -> tuple[str, bytes] | None:
        """Return the media type and the bytes of the document that the pane has loaded, or None."""
        shown = self._page.locator(f"{PANE} object, {PANE} embed, {PANE} iframe")
        if shown.count() == 0:
            return None
        address = shown.first.get_attribute("data") or shown.first.get_attribute("src")
        if not address:
            return None
        head, content = self._page.evaluate(READ_AS_DATA, address).split(",", 1)
        return head.removeprefix("data:").removesuffix(";base64"), base64.b64decode(content)

    def share_of(self, colour: tuple[int, int, int]) -> float:
        """Return how much of the pane has a colour, 0 to 1."""
        pixels = _read_pixels(self._page.locator(PANE).first.screenshot())
        return float((np.abs(pixels - colour).max(axis=2) <= 8).mean())


def _read_pixels(picture: bytes):
    """Pixels of a screenshot, int (rows, columns, 3)."""
    return np.asarray(Image.open(BytesIO(picture)).convert("RGB")).astype(int)


def _is_green(red, green, blue):
    return green - np.maximum(red, blue) > 90


@contextmanager
def running_browser() -> Iterator[Viewer]:
    """Start Chromium with an empty page, and end it with the block."""
    with running_chromium() as browser:
        yield Viewer(browser.new_page(viewport=SIZE))
