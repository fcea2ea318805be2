"""What a radiologist sees: OHIF on a real Orthanc, in a real browser, with results of every kind of answer."""

from contextlib import ExitStack
from io import BytesIO
from itertools import cycle

import numpy as np
import pytest
from analyses import COLUMNS, ROWS, build_excluded, build_image, build_study
from builders import build_dx
from PIL import Image

from dicom_node.demo.archives import OrthancArchive
from dicom_node.demo.viewer import NoViewerError, address_of, configure_dicomweb, fetch_viewer, running_viewer
from dicom_node.encode.results import encode_study
from dicom_node.result_sets import to_part10
from dicom_node.settings import Encoding
from inference.types import Decision, FracturePrediction

pytestmark = [pytest.mark.orthanc, pytest.mark.browser]

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZE = {"width": 1400, "height": 900}
PATIENCE_MS = 120_000
"""A browser on a busy machine takes long to draw."""
SERIES = '[data-cy="study-browser-thumbnail"], [data-cy="study-browser-thumbnail-no-image"]'
PANE = '[data-cy="viewport-pane"]'


def build_studies():
    """A fracture, none, and a chest that is not analysed: the source images, and the study's analysis."""
    fracture, none, chest = build_dx(), build_dx(), build_dx(BodyPartExamined="CHEST")
    no_finding = {
        "decision": Decision.NO_FRACTURE,
        "fracture": FracturePrediction(probability=0.02, sensitive_threshold=0.2, specific_threshold=0.6),
        "rois": (),
        "heatmap_peak": None,
    }
    return {
        "fracture": (fracture, build_study([build_image(fracture)])),
        "no fracture": (none, build_study([build_image(none, **no_finding)])),
        "not analysed": (chest, build_study([], [build_excluded(chest, "no limb")])),
    }


class Viewer:
    """A page of the viewer, and where it opens each study."""

    def __init__(self, address, page, studies):
        self._address, self._page, self._studies = address, page, studies
        self._sizes = cycle(({"width": 1300, "height": 900}, SIZE))

    def open(self, name):
        uid = self._studies[name][0].StudyInstanceUID
        self._page.goto(address_of(self._address, uid), timeout=PATIENCE_MS)
        self._page.wait_for_selector(SERIES, timeout=PATIENCE_MS)
        self._page.wait_for_load_state("networkidle", timeout=PATIENCE_MS)
        self.wait_until(lambda: self._colours() is not None)

    def list_series(self):
        return [one.inner_text() for one in self._page.locator(SERIES).all()]

    def show(self, words):
        """Put the series whose label has these words into the pane."""
        self._page.locator(SERIES).filter(has_text=words).first.dblclick(timeout=PATIENCE_MS)

    def show_next_image(self):
        """Go to the next image of the series in the pane."""
        self._page.locator(PANE).first.click()
        self._page.keyboard.press("ArrowDown")

    def draw_again(self):
        """Have the pane drawn anew: on a slow machine OHIF may read the report's boxes after it drew the picture."""
        self._page.set_viewport_size(next(self._sizes))

    def wait_until(self, holds):
        if not self.is_soon(holds, within_ms=PATIENCE_MS):
            pytest.fail("the viewer never showed it")

    def is_soon(self, holds, within_ms=5_000):
        for _ in range(within_ms // 500):
            if holds():
                return True
            self._page.wait_for_timeout(500)
        return False

    def _colours(self):
        """Pixels of the pane, int (rows, columns, 3); None while nothing is drawn."""
        panes = self._page.locator(PANE)
        if panes.count() == 0:
            return None
        pixels = np.asarray(Image.open(BytesIO(panes.first.screenshot())).convert("RGB")).astype(int)
        # The middle: the viewer writes its own words into the corners.
        rows, columns = pixels.shape[:2]
        middle = pixels[rows // 4 : -rows // 4, columns // 4 : -columns // 4]
        return pixels if np.ptp(middle) > 100 else None

    def find_heat(self):
        """Where the pane is warm, as fractions (down, right) of the picture, or None where nothing is."""
        return self._find(lambda red, _, blue: red - blue > 90)

    def find_lines(self):
        """Where the pane is green, as OHIF draws what a structured report outlines, and the words beside it."""
        return self._find(lambda red, green, blue: green - np.maximum(red, blue) > 90)

    def _find(self, looks_so):
        pixels = self._colours()
        if pixels is None:
            return None
        found = np.argwhere(looks_so(*np.moveaxis(pixels, 2, 0)))
        if len(found) < 50:
            return None
        # The picture is fitted to the height of the pane, in its middle.
        height, width = pixels.shape[:2]
        picture = height * COLUMNS / ROWS
        down, right = np.median(found, axis=0)
        return down / height, (right - (width - picture) / 2) / picture

    @property
    def is_empty(self):
        return self._colours() is None

    def read_report(self):
        """The address of the document in the pane, or None."""
        shown = self._page.locator("object[type='application/pdf'], embed[type='application/pdf'], iframe")
        return shown.first.get_attribute("data") or shown.first.get_attribute("src") if shown.count() else None


def is_where_the_heat_is(found):
    """Tell whether that is where `build_analysis` puts it: 0.3 down, 0.67 right of the picture."""
    return found is not None and abs(found[0] - 0.3) < 0.08 and abs(found[1] - 0.67) < 0.08


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    try:
        files = fetch_viewer()
    except NoViewerError as error:
        pytest.skip(str(error))
    studies = build_studies()
    with ExitStack() as stack:
        archive = OrthancArchive(tmp_path_factory.mktemp("orthanc"), node_port=1, extra=configure_dicomweb())
        archive.start()
        stack.callback(archive.stop)
        for source, analysis in studies.values():
            results = encode_study(analysis, ae_title="NODE", encodings=tuple(Encoding))
            for ds in (source, *(result.ds for result in results)):
                archive.post("/instances", to_part10(ds))
        address = stack.enter_context(running_viewer(files, archive.http_port))
        browser = stack.enter_context(playwright.sync_playwright()).chromium.launch(
            executable_path=CHROMIUM, args=FLAGS
        )
        stack.callback(browser.close)
        page = browser.new_page(viewport=SIZE)
        page.add_init_script("localStorage.setItem('shownTours', '[\"basicViewerTour\"]')")
        yield Viewer(address, page, studies)


def test_the_results_are_series_beside_the_original(viewer):
    viewer.open("fracture")
    listed = "\n".join(viewer.list_series())
    for words in ("DX", "Fracture AI overlay", "Fracture AI report"):
        assert words in listed


def test_the_overlay_is_warm_where_the_heat_is_and_the_original_nowhere(viewer):
    viewer.open("fracture")
    viewer.show("DX")
    viewer.wait_until(lambda: not viewer.is_empty)
    assert viewer.find_heat() is None, "the original is grey: what is warm is not the viewer's own"
    viewer.show("Fracture AI overlay")
    viewer.wait_until(lambda: viewer.find_heat() is not None)
    assert not is_where_the_heat_is(viewer.find_heat()), "the summary comes first, its answer in orange at the top"
    viewer.show_next_image()
    viewer.wait_until(lambda: is_where_the_heat_is(viewer.find_heat()))


def test_the_structured_report_shows_its_box_and_label_on_the_original(viewer):
    viewer.open("fracture")
    viewer.show("Fracture AI overlay")
    viewer.wait_until(lambda: viewer.find_heat() is not None)
    assert viewer.find_lines() is None, "what is green is not the viewer's own"
    viewer.show("structured report")
    viewer.wait_until(lambda: viewer.is_soon(lambda: viewer.find_lines() is not None) or viewer.draw_again())
    down, right = viewer.find_lines()
    # The box is where the heat is; its label, "Probability: 0.87", stands to the right of it.
    assert abs(down - 0.3) < 0.12
    assert 0.6 < right < 1


@pytest.mark.parametrize("name", ["fracture", "not analysed"])
def test_the_report_opens(viewer, name):
    viewer.open(name)
    viewer.show("Fracture AI report")
    viewer.wait_until(viewer.read_report)


@pytest.mark.parametrize("name", ["fracture", "no fracture", "not analysed"])
def test_no_study_opens_as_an_empty_pane(viewer, name):
    viewer.open(name)
    viewer.wait_until(lambda: not viewer.is_empty)
