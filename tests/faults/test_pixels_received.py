"""Images as they were received, through the whole analysis with real models, to the report of their study."""

from contextlib import closing

import numpy as np
import pytest
from builders import build_dx, phantom
from result_bench import Bench, build_small_dx

from dicom_node.analyse.decoder import Decoder
from dicom_node.result_sets import ResultSets
from dicom_node.settings import DEFAULT_ENCODINGS, AnalysisSettings
from inference.pipeline import Pipeline
from inference.testing import build_tiny_bundles


@pytest.fixture(scope="module")
def decoder():
    with closing(Decoder(AnalysisSettings())) as decoder:
        yield decoder


@pytest.fixture
def node(tmp_path, decoder):
    bench = Bench(tmp_path, None)
    pipeline = Pipeline.load(build_tiny_bundles(tmp_path / "bundles", region="LEG"), threads=1)
    bench.results = ResultSets(bench.settings, bench.store, pipeline, {"archive": DEFAULT_ENCODINGS}, decode=decoder)
    yield bench
    bench.store.close()


def reasons(node):
    return {finding.sop_instance_uid: finding.reason for finding in node.findings if finding.decision == "not analysed"}


@pytest.mark.fault(33)
def test_an_image_that_ends_within_its_pixels_is_not_analysed_and_the_other_of_its_study_is(node):
    """An image cut off in its pixel data is said to be; the other image of the study has its result."""
    cut, sound = build_small_dx(), build_small_dx()
    sound.StudyInstanceUID = cut.StudyInstanceUID
    cut.PixelData = cut.PixelData[: len(cut.PixelData) // 2]
    node.receive(cut)
    node.receive(sound)
    made = node.make(cut.StudyInstanceUID)
    assert [ds.Modality for ds in made] == ["OT", "OT", "DOC"]
    said = "The image could not be decoded: its pixel data is shorter than its rows and columns say."
    assert reasons(node) == {cut.SOPInstanceUID: said}


@pytest.mark.fault(48)
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 400), (400, 1), (31, 400)])
def test_a_picture_of_a_point_or_a_line_is_not_analysed(node, rows, columns):
    """An image of 1 x 1, 1 x n or too few pixels is not shown to the models, and its report says so."""
    ds = build_dx(phantom(512, 400)[:rows, :columns])
    node.receive(ds)
    assert [made.Modality for made in node.make(ds.StudyInstanceUID)] == ["OT", "DOC"]
    assert reasons(node)[ds.SOPInstanceUID].startswith("The models do not accept the image: ")


@pytest.mark.fault(49)
@pytest.mark.parametrize("spacing", [["0.2", "0.1"], ["0", "0"], ["-1", "-1"], None])
def test_an_image_is_analysed_whatever_is_said_of_its_pixels(node, spacing):
    """Oblong pixels, a spacing of zero, below zero or none at all divide nothing by zero: the image is analysed."""
    ds = build_small_dx(ImagerPixelSpacing=spacing, PixelSpacing=spacing)
    node.receive(ds)
    assert [made.Modality for made in node.make(ds.StudyInstanceUID)] == ["OT", "OT", "DOC"]
    assert reasons(node) == {}


@pytest.mark.fault(53)
def test_a_picture_of_nothing_is_outside_scope(node):
    """A radiograph that shows nothing the models know has no claim about a fracture in its result."""
    ds = build_dx(np.zeros((96, 72), np.uint16))
    node.receive(ds)
    assert [made.Modality for made in node.make(ds.StudyInstanceUID)] == ["OT", "DOC"]
    assert "outside scope" in reasons(node)[ds.SOPInstanceUID]
