"""The bundles that ship, on real radiographs and on what is none."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from sklearn.datasets import load_sample_images

from inference.model import Model, add_mirror_image
from inference.pipeline import Pipeline
from inference.preprocessing import prepare
from inference.types import Decision, Radiograph, Task

ROOT = Path(__file__).parents[3]
BUNDLES = ROOT / "models" / "bundles"
LIMIT_MB = 60


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.load(BUNDLES)


def read_radiograph(name: str) -> Radiograph:
    """Read a MONOCHROME1 radiograph of the pydicom-data package, between its percentiles, bone bright."""
    path = get_testdata_file(name)
    assert path is not None
    pixels = pydicom.dcmread(str(path)).pixel_array.astype(np.float32)
    low, high = np.percentile(pixels, [0.5, 99.5])
    return Radiograph(pixels=1 - np.clip((pixels - low) / (high - low), 0, 1))


def draw(kind: str) -> np.ndarray:
    """Draw a picture that is no radiograph."""
    rng = np.random.default_rng(11)
    y, x = np.mgrid[0:400, 0:330] / 400
    if kind == "text page":
        page = np.full((400, 330), 255, np.uint8)
        for row in range(12):
            line = "".join(chr(letter) for letter in rng.integers(65, 91, 18))
            cv2.putText(page, line, (5, 30 + 30 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 0, 1)
        return page / 255
    return {
        "uniform noise": lambda: rng.random((400, 330)),
        "normal noise": lambda: np.clip(rng.normal(0.4, 0.1, (400, 330)), 0, 1),
        "smooth noise": lambda: cv2.normalize(cv2.GaussianBlur(rng.random((400, 330)), (0, 0), 8), None, 0, 1, 32),
        "black": lambda: np.zeros((400, 330)),
        "grey": lambda: np.full((400, 330), 0.5),
        "white": lambda: np.ones((400, 330)),
        "gradient": lambda: y,
        "chessboard": lambda: (x // 0.05 + y // 0.05) % 2,
        "rings": lambda: 0.5 + 0.5 * np.sin(80 * np.hypot(x - 0.4, y - 0.5)),
    }[kind]()


KINDS = (
    "uniform noise", "normal noise", "smooth noise", "black", "grey", "white", "gradient", "chessboard", "rings",
    "text page",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_radiograph_is_outside_scope(pipeline: Pipeline, kind: str) -> None:
    analysis = pipeline.analyse(Radiograph(pixels=draw(kind).astype(np.float32)))
    assert analysis.decision is Decision.NOT_ANALYSED
    assert analysis.reason.startswith("outside scope: ")


@pytest.mark.parametrize("photograph", [0, 1], ids=["temple", "flower"])
def test_a_photograph_is_outside_scope(pipeline: Pipeline, photograph: int) -> None:
    pixels = load_sample_images().images[photograph].mean(axis=2) / 255
    analysis = pipeline.analyse(Radiograph(pixels=pixels.astype(np.float32)))
    assert analysis.reason.startswith("outside scope: ")


@pytest.mark.parametrize("name", ["CT_small.dcm", "693_UNCR.dcm"])
def test_a_section_by_computed_tomography_is_outside_scope(pipeline: Pipeline, name: str) -> None:
    shown = read_radiograph(name)
    assert pipeline.analyse(Radiograph(pixels=1 - shown.pixels)).reason.startswith("outside scope: ")


def test_a_chest_is_outside_scope(pipeline: Pipeline) -> None:
    analysis = pipeline.analyse(read_radiograph("RG1_UNCR.dcm"))
    assert analysis.decision is Decision.NOT_ANALYSED
    assert analysis.reason.startswith("outside scope: ")


def test_a_distal_tibia_is_recognised_as_leg_or_ankle(pipeline: Pipeline) -> None:
    radiograph = read_radiograph("RG3_UNCR.dcm")
    analysis = pipeline.analyse(radiograph)
    assert analysis.region is not None
    assert analysis.region.region in {"LEG", "ANKLE_FOOT"}
    assert not analysis.reason.startswith("outside scope")
    if analysis.region.region in pipeline.regions_served:
        assert analysis.heatmap is not None
        assert analysis.heatmap.shape == (radiograph.rows, radiograph.columns)


def test_every_bundle_has_its_card_and_all_fit_the_budget(pipeline: Pipeline) -> None:
    for model in (pipeline.region_model, *pipeline.fracture_models):
        manifest, folder = model.bundle.manifest, model.bundle.folder
        card = (folder / "card.md").read_text(encoding="utf-8")
        assert manifest.digests["model.onnx"] in card
        assert "10.1038/s41597-023-02432-4" in card
        assert (folder / "metrics.json").is_file()
        assert list((folder / "figures").glob("*.png"))
    size = sum(path.stat().st_size for path in BUNDLES.rglob("*") if path.is_file())
    assert size < LIMIT_MB * 1_000_000


def test_served_regions_are_those_the_card_says(pipeline: Pipeline) -> None:
    (fracture,) = pipeline.fracture_models
    rows = (fracture.bundle.folder / "card.md").read_text(encoding="utf-8").splitlines()
    served = {row.split("|")[1].strip() for row in rows if row.rstrip().endswith("| yes |")}
    assert served == set(pipeline.regions_served)


def test_serving_never_imports_tensorflow() -> None:
    program = (
        "import sys, numpy, pathlib\n"
        "from inference.pipeline import Pipeline\n"
        "from inference.types import Radiograph\n"
        "pipeline = Pipeline.load(pathlib.Path(sys.argv[1]))\n"
        "pipeline.analyse(Radiograph(pixels=numpy.zeros((100, 100), numpy.float32)))\n"
        "assert not {'tensorflow', 'keras', 'torch', 'models', 'pydicom'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(BUNDLES)], cwd=ROOT, check=True, timeout=60)


@pytest.mark.tensorflow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_both_runtimes_give_the_same_probabilities_and_maps(pipeline: Pipeline) -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed", exc_type=ImportError)
    radiograph = read_radiograph("RG3_UNCR.dcm")
    for model in (pipeline.region_model, *pipeline.fracture_models):
        reference = Model.load(model.bundle, runtime="tensorflow", threads=2)
        pair = add_mirror_image(prepare(radiograph, model.bundle.preprocessing)[0])
        ours, theirs = model.runtime.run(pair), reference.runtime.run(pair)
        scale = 1 if model.bundle.manifest.task is Task.REGION else max(1, answer_slope(model))
        assert np.abs(ours.logits - theirs.logits).max() * scale / 4 < 1e-4
        assert np.abs(ours.cam - theirs.cam).max() < 1e-4 * max(1e-3, float(theirs.cam.max()))


@pytest.mark.tensorflow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_both_runtimes_look_closer_at_the_same_place(pipeline: Pipeline) -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed", exc_type=ImportError)
    radiograph = read_radiograph("RG3_UNCR.dcm")
    for model in pipeline.fracture_models:
        reference = Model.load(model.bundle, runtime="tensorflow", threads=2)
        for output in model.bundle.manifest.labels:
            ours, theirs = (one.look_for(output, radiograph) for one in (model, reference))
            assert ours.first is not None
            assert ours.box == theirs.box
            assert abs(ours.logit - theirs.logit) * max(1, answer_slope(model)) / 4 < 1e-4


def answer_slope(model: Model) -> float:
    """Return the steepest calibration: a probability moves by at most a quarter of it per unit of logit."""
    return max(answer.slope for answer in model.bundle.manifest.answers)
