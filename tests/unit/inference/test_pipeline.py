"""The hierarchy on tiny bundles whose answers can be foreseen."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from inference.bundle import MANIFEST
from inference.errors import BundleError, UnsupportedImageError
from inference.pipeline import Pipeline
from inference.scope import Scope
from inference.testing import build_tiny_bundles
from inference.types import Decision, Radiograph, RadiographAnalysis, Task


@pytest.fixture(scope="module", params=["", "second_look = 0.7"], ids=["one look", "a closer look"])
def pipeline(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Pipeline:
    folder = build_tiny_bundles(tmp_path_factory.mktemp("bundles"))
    manifest = folder / "tiny_fracture" / MANIFEST
    manifest.write_text(f"{request.param}\n{manifest.read_text()}")
    return Pipeline.load(folder, threads=1)


def build_radiograph(
    *, rows: int = 300, columns: int = 200, spot: tuple[int, int] = (50, 120), heat: float = 1.0, aspect: float = 1.0
) -> Radiograph:
    """Draw a grey plate with a bright square of 60 pixels centred at `spot` (x, y)."""
    pixels = np.full((rows, columns), 0.3, np.float32)
    x, y = spot
    pixels[y - 30 : y + 30, x - 30 : x + 30] = heat
    return Radiograph(pixels=pixels, pixel_aspect=aspect)


def test_a_bright_spot_is_a_fracture_with_its_box_and_peak_on_the_spot(pipeline: Pipeline) -> None:
    analysis = pipeline.analyse(build_radiograph())
    assert analysis.decision is Decision.FRACTURE
    assert analysis.region is not None
    assert analysis.region.region == "HAND"
    assert sum(analysis.region.probabilities.values()) == pytest.approx(1)
    assert analysis.fracture is not None
    assert analysis.fracture.probability == pytest.approx(1 / (1 + np.exp(-5)), abs=1e-4)
    assert analysis.heatmap is not None
    assert analysis.heatmap.shape == (300, 200)
    assert analysis.heatmap.dtype == np.uint8
    assert analysis.heatmap.max() == 255
    assert [model.task for model in analysis.models] == [Task.REGION, Task.FRACTURE]
    (roi,) = analysis.rois
    assert roi.x <= 50 < roi.x + roi.width
    assert roi.y <= 120 < roi.y + roi.height


@pytest.mark.parametrize("spot", [(40, 40), (160, 40), (40, 260), (160, 260), (100, 60)])
@pytest.mark.parametrize("aspect", [1.0, 0.5, 2.0])
def test_the_heat_lies_where_the_spot_was_planted(pipeline: Pipeline, spot: tuple[int, int], aspect: float) -> None:
    analysis = pipeline.analyse(build_radiograph(spot=spot, aspect=aspect))
    assert_heat_at(analysis, spot)


@pytest.mark.parametrize("turn", ["mirrored", "upside down", "transposed"])
def test_the_heat_follows_a_turned_radiograph(pipeline: Pipeline, turn: str) -> None:
    pixels = build_radiograph(spot=(40, 60)).pixels
    turned, spot = {
        "mirrored": (pixels[:, ::-1], (159, 60)),
        "upside down": (pixels[::-1], (40, 239)),
        "transposed": (pixels.T, (60, 40)),
    }[turn]
    assert_heat_at(pipeline.analyse(Radiograph(pixels=np.ascontiguousarray(turned))), spot)


@pytest.mark.fault(49)
def test_the_same_field_in_taller_pixels_gives_the_same_heat(pipeline: Pipeline) -> None:
    square = build_radiograph(rows=300, columns=200, spot=(100, 100))
    tall = Radiograph(pixels=square.pixels.reshape(150, 2, 200).mean(axis=1), pixel_aspect=2.0)
    analyses = pipeline.analyse(square), pipeline.analyse(tall)
    assert analyses[0].heatmap is not None
    assert analyses[1].heatmap is not None
    halved = analyses[0].heatmap.reshape(150, 2, 200).mean(axis=1)
    assert np.abs(halved - analyses[1].heatmap).max() < 0.05 * 255


def assert_heat_at(analysis: RadiographAnalysis, spot: tuple[int, int]) -> None:
    assert analysis.heatmap is not None
    assert analysis.heatmap_peak is not None
    assert np.abs(np.subtract(analysis.heatmap_peak, spot)).max() < 30
    y, x = np.indices(analysis.heatmap.shape)
    centre = [float(np.average(where, weights=analysis.heatmap)) for where in (x, y)]
    assert np.abs(np.subtract(centre, spot)).max() < 8  # a cell of the tallest plate here is 37 pixels wide


@pytest.mark.parametrize(
    ("heat", "decision"), [(0.35, Decision.NO_FRACTURE), (0.75, Decision.UNCERTAIN), (1.0, Decision.FRACTURE)]
)
def test_two_operating_points_make_three_answers(pipeline: Pipeline, heat: float, decision: Decision) -> None:
    analysis = pipeline.analyse(build_radiograph(heat=heat))
    assert analysis.decision is decision
    assert bool(analysis.reason) is (decision is Decision.UNCERTAIN)
    assert bool(analysis.rois) is (decision is not Decision.NO_FRACTURE)
    assert analysis.heatmap is not None


def test_an_embedding_that_is_no_number_is_outside_scope(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pipeline = Pipeline.load(build_tiny_bundles(tmp_path), threads=1)
    monkeypatch.setattr(Scope, "distance", lambda *_: float("nan"))
    assert pipeline.analyse(build_radiograph()).reason.startswith("outside scope: ")


def test_a_black_image_is_outside_scope(pipeline: Pipeline) -> None:
    analysis = pipeline.analyse(Radiograph(pixels=np.zeros((100, 100), np.float32)))
    assert analysis.decision is Decision.NOT_ANALYSED
    assert analysis.reason.startswith("outside scope: ")
    assert analysis.region is None
    assert [model.task for model in analysis.models] == [Task.REGION]


def test_a_region_without_a_model_is_said_to_have_none(tmp_path: Path) -> None:
    pipeline = Pipeline.load(build_tiny_bundles(tmp_path, region="ELBOW", served=("HAND", "KNEE")), threads=1)
    analysis = pipeline.analyse(build_radiograph())
    assert analysis.decision is Decision.NOT_ANALYSED
    assert analysis.reason == "no validated model for region ELBOW"
    assert analysis.region is not None
    assert analysis.fracture is None
    assert pipeline.regions_served == ("HAND", "KNEE")


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((63, 100), np.float32),
        np.full((100, 100), np.nan, np.float32),
        np.zeros((100, 100, 3), np.float32),
    ],
    ids=["too small", "not finite", "colour"],
)
def test_what_is_not_a_usable_picture_is_unsupported(pipeline: Pipeline, pixels: np.ndarray) -> None:
    with pytest.raises(UnsupportedImageError):
        pipeline.analyse(Radiograph(pixels=pixels))


def test_two_bundles_for_one_region_are_refused(tmp_path: Path) -> None:
    build_tiny_bundles(tmp_path)
    (tmp_path / "tiny_fracture").rename(tmp_path / "tiny_other")
    build_tiny_bundles(tmp_path / "more")
    (tmp_path / "more" / "tiny_fracture").rename(tmp_path / "tiny_fracture")
    with pytest.raises(BundleError, match="tiny_fracture and tiny_other both serve region HAND"):
        Pipeline.load(tmp_path)


def test_a_folder_without_a_region_bundle_is_refused(tmp_path: Path) -> None:
    build_tiny_bundles(tmp_path)
    for path in (tmp_path / "tiny_region").iterdir():
        path.unlink()
    with pytest.raises(BundleError, match="0 region bundles"):
        Pipeline.load(tmp_path)


def test_a_fracture_is_given_its_type_and_the_model_that_named_it(tmp_path: Path) -> None:
    types = ("OBLIQUE", "SPIRAL", "GREENSTICK")
    pipeline = Pipeline.load(build_tiny_bundles(tmp_path, types=types), threads=1)
    analysis = pipeline.analyse(build_radiograph())
    assert analysis.fracture_type is not None
    assert analysis.fracture_type.label == "OBLIQUE"
    assert tuple(analysis.fracture_type.probabilities) == types
    assert list(analysis.fracture_type.probabilities.values()) == pytest.approx(
        [0.665241, 0.244728, 0.090031], abs=1e-6
    )
    assert analysis.fracture_type.confidence == analysis.fracture_type.probabilities["OBLIQUE"]
    assert [model.task for model in analysis.models] == [Task.REGION, Task.FRACTURE, Task.TYPE]
    assert [model.task for model in pipeline.models] == [Task.REGION, Task.FRACTURE, Task.TYPE]


@pytest.mark.parametrize("heat", [0.35, 0.75], ids=["no fracture", "uncertain"])
def test_no_type_is_named_where_no_fracture_is_affirmed(tmp_path: Path, heat: float) -> None:
    pipeline = Pipeline.load(build_tiny_bundles(tmp_path, types=("OBLIQUE", "SPIRAL")), threads=1)
    analysis = pipeline.analyse(build_radiograph(heat=heat))
    assert analysis.fracture_type is None
    assert [model.task for model in analysis.models] == [Task.REGION, Task.FRACTURE]


def test_a_type_bundle_speaks_for_its_regions_only(tmp_path: Path) -> None:
    build_tiny_bundles(tmp_path, types=("OBLIQUE", "SPIRAL"))
    path = tmp_path / "tiny_type" / MANIFEST
    path.write_text(path.read_text() + 'regions = ["KNEE"]\n')
    assert Pipeline.load(tmp_path, threads=1).analyse(build_radiograph()).fracture_type is None


def test_two_type_bundles_for_one_region_are_refused(tmp_path: Path) -> None:
    build_tiny_bundles(tmp_path, types=("OBLIQUE", "SPIRAL"))
    shutil.copytree(tmp_path / "tiny_type", tmp_path / "tiny_type_too")
    with pytest.raises(BundleError, match="tiny_type and tiny_type_too both serve region HAND"):
        Pipeline.load(tmp_path)


@pytest.mark.parametrize(("confidence", "flagged"), [(0.79, True), (0.81, False)])
def test_a_region_of_little_confidence_is_remarked(tmp_path: Path, *, confidence: float, flagged: bool) -> None:
    bundles = build_tiny_bundles(tmp_path)
    path = bundles / "tiny_region" / MANIFEST
    # A logit of 10 before nine of 0.
    temperature = 10 / np.log(9 * confidence / (1 - confidence))
    path.write_text(path.read_text().replace("temperature = 1.0", f"temperature = {temperature}"))
    analysis = Pipeline.load(bundles, threads=1).analyse(build_radiograph())
    assert analysis.region is not None
    assert analysis.region.confidence == pytest.approx(confidence)
    said = f"The region is in doubt: HAND with a confidence of {confidence:.0%}."
    assert analysis.flags == ((said,) if flagged else ())
