"""What a radiologist sees: OHIF on a real Orthanc, in a real browser, with results of every kind of answer."""

from contextlib import ExitStack
from io import BytesIO

import numpy as np
import pytest
from analyses import COLUMNS, ROWS, build_excluded, build_image, build_study
from builders import build_dx
from ohif import running_browser
from pypdf import PdfReader

from dicom_node.demo.archives import OrthancArchive
from dicom_node.demo.viewer import NoViewerError, address_of, configure_dicomweb, fetch_viewer, running_viewer
from dicom_node.encode.results import encode_study
from dicom_node.result_sets import to_part10
from dicom_node.settings import Encoding
from dicom_node.values import ResultKind
from inference.types import Decision, FracturePrediction

pytestmark = [pytest.mark.orthanc, pytest.mark.browser]

PICTURE = ROWS, COLUMNS
PAPER = (255, 255, 255)
RIBBONS = {"fracture": (0xB3, 0x26, 0x1E), "not analysed": (0x9A, 0x5B, 0x00)}
"""Behind the report's answer."""


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


def is_where_the_heat_is(found):
    """Tell whether that is where `build_analysis` puts it: 0.3 down, 0.67 right of the picture."""
    return found is not None and abs(found[0] - 0.3) < 0.08 and abs(found[1] - 0.67) < 0.08


@pytest.fixture(scope="module")
def studies():
    return build_studies()


@pytest.fixture(scope="module")
def results(studies):
    """What the archive has of the node, for each study."""
    return {
        name: encode_study(analysis, ae_title="NODE", encodings=tuple(Encoding))
        for name, (_, analysis) in studies.items()
    }


@pytest.fixture(scope="module")
def viewer(tmp_path_factory, studies, results):
    try:
        files = fetch_viewer()
    except NoViewerError as error:
        pytest.skip(str(error))
    with ExitStack() as stack:
        archive = OrthancArchive(tmp_path_factory.mktemp("orthanc"), node_port=1, extra=configure_dicomweb())
        archive.start()
        stack.callback(archive.stop)
        for name, (source, _) in studies.items():
            for ds in (source, *(result.ds for result in results[name])):
                archive.post("/instances", to_part10(ds))
        address = stack.enter_context(running_viewer(files, archive.http_port))
        yield address, stack.enter_context(running_browser())


@pytest.fixture
def open_study(viewer, studies):
    address, page = viewer

    def open_it(name):
        page.open(address_of(address, studies[name][0].StudyInstanceUID))
        return page

    return open_it


def test_the_results_are_series_beside_the_original(open_study):
    listed = "\n".join(open_study("fracture").list_series())
    for words in ("DX", "Fracture AI overlay", "Fracture AI report"):
        assert words in listed


def test_the_overlay_is_warm_where_the_heat_is_and_the_original_nowhere(open_study):
    page = open_study("fracture")
    page.show("DX")
    page.wait_until(lambda: not page.is_empty)
    assert page.find_heat(*PICTURE) is None, "the original is grey: what is warm is not the viewer's own"
    page.show("Fracture AI overlay")
    page.wait_until(lambda: page.find_heat(*PICTURE) is not None)
    assert not is_where_the_heat_is(page.find_heat(*PICTURE)), "the summary comes first, its answer orange at the top"
    page.show_next_image()
    page.wait_until(lambda: is_where_the_heat_is(page.find_heat(*PICTURE)))


def test_the_structured_report_shows_its_box_and_label_on_the_original(open_study, studies):
    page = open_study("fracture")
    page.show("Fracture AI overlay")
    page.wait_until(lambda: page.find_heat(*PICTURE) is not None)
    assert page.find_lines(*PICTURE) is None, "what is green is not the viewer's own"
    assert page.list_labels() == []
    page.show("structured report")
    page.wait_until(lambda: page.is_soon(lambda: page.find_lines(*PICTURE) is not None) or page.draw_again())
    down, right = page.find_lines(*PICTURE)
    # The box is where the heat is; its label stands to the right of it.
    assert abs(down - 0.3) < 0.12
    assert 0.6 < right < 1
    ((roi,),) = [image.analysis.rois for image in studies["fracture"][1].images]
    (box,) = page.list_boxes(*PICTURE)
    assert np.allclose(box, (roi.x, roi.y, roi.x + roi.width, roi.y + roi.height), atol=1)
    (label,) = page.list_labels()
    assert label.startswith("Probability: 0.87")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fracture", ["Fracture suspected in 1 of 1 analysed image", "Phantom, Drawn", "Not for diagnosis"]),
        ("not analysed", ["Not analysed", "No limb.", "Not for diagnosis"]),
    ],
)
def test_the_report_opens(open_study, results, name, words):
    page = open_study(name)
    page.show("Fracture AI report")
    page.wait_until(page.read_document)
    media_type, document = page.read_document()
    assert media_type == "application/pdf"
    (report,) = [one.ds for one in results[name] if one.kind is ResultKind.ENCAPSULATED_PDF]
    assert document == report.EncapsulatedDocument, "the viewer has every byte, that of the padding too"
    printed = " ".join(part.extract_text() for part in PdfReader(BytesIO(document)).pages)
    assert [word for word in words if word not in printed] == []
    # The page is drawn: white paper, and on it the ribbon with the answer.
    page.wait_until(lambda: page.share_of(PAPER) > 0.15 and page.share_of(RIBBONS[name]) > 0.01)


@pytest.mark.parametrize("name", ["fracture", "no fracture", "not analysed"])
def test_no_study_opens_as_an_empty_pane(open_study, name):
    assert not open_study(name).is_empty
