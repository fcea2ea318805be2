"""The scope gate that ships, on what it must refuse and what it must let pass."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from sklearn.datasets import load_sample_images

from inference.pipeline import Pipeline
from inference.types import Radiograph
from models.outliers import FAMILIES, draw_outliers

BUNDLES = Path(__file__).parents[3] / "models" / "bundles"
EACH = 4


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.load(BUNDLES)


def refuses(pipeline: Pipeline, pixels: np.ndarray) -> bool:
    analysis = pipeline.analyse(Radiograph(pixels=np.ascontiguousarray(pixels, np.float32)))
    return analysis.reason.startswith("outside scope: ")


def read_bone_bright(name: str) -> np.ndarray:
    """Read a MONOCHROME1 radiograph of the pydicom-data package, between its percentiles, bone bright."""
    path = get_testdata_file(name)
    assert path is not None
    pixels = pydicom.dcmread(str(path)).pixel_array.astype(np.float32)
    low, high = np.percentile(pixels, [0.5, 99.5])
    return 1 - np.clip((pixels - low) / (high - low), 0, 1)


def vary(pixels: np.ndarray) -> list[np.ndarray]:
    """Return the picture as it is, mirrored, inverted, in its middle, darker and brighter."""
    rows, columns = pixels.shape
    middle = pixels[rows // 8 : -rows // 8, columns // 8 : -columns // 8]
    return [pixels, pixels[:, ::-1], 1 - pixels, middle, pixels**1.6, pixels**0.6]


def test_outsiders_of_every_family_are_refused_but_for_one_in_fifty(pipeline: Pipeline) -> None:
    verdicts = [refuses(pipeline, pixels) for _, pixels in draw_outliers(EACH, seed=77)]
    assert len(verdicts) == EACH * len(FAMILIES)
    assert np.mean(verdicts) >= 0.98


def test_a_chest_is_refused_however_it_is_windowed_mirrored_or_cropped(pipeline: Pipeline) -> None:
    assert [refuses(pipeline, pixels) for pixels in vary(read_bone_bright("RG1_UNCR.dcm"))] == [True] * 6


@pytest.mark.parametrize("number", [0, 1], ids=["temple", "flower"])
def test_a_photograph_is_refused_however_it_is_shown(pipeline: Pipeline, number: int) -> None:
    photograph = load_sample_images().images[number].mean(axis=2) / 255
    assert [refuses(pipeline, pixels) for pixels in vary(photograph)] == [True] * 6


@pytest.mark.parametrize("name", ["mlut_18.dcm", "JPEG2000_UNC.dcm", "MR-SIEMENS-DICOM-WithOverlays.dcm"])
def test_test_patterns_and_sections_are_refused(pipeline: Pipeline, name: str) -> None:
    assert refuses(pipeline, 1 - read_bone_bright(name))


def test_a_distal_tibia_passes_however_it_is_windowed_or_mirrored(pipeline: Pipeline) -> None:
    tibia = read_bone_bright("RG3_UNCR.dcm")
    for pixels in (tibia, tibia[:, ::-1], tibia**1.4, tibia**0.7):
        assert not refuses(pipeline, pixels)
