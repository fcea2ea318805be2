from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node.analyse.pixels import load_radiograph
from dicom_node.assemble.selection import RULES

SAMPLES = Path(__file__).parents[2] / "sample_studies"
FILES = sorted(SAMPLES.glob("*/*.dcm"))


def named(study: str) -> Path:
    return SAMPLES / study / "1.dcm"


def test_every_study_is_in_the_readme() -> None:
    readme = (SAMPLES / "README.md").read_text()

    assert FILES
    assert all(f"`{path.parent.name}`" in readme for path in FILES)


def test_every_sample_decodes_and_has_an_identity_of_its_own() -> None:
    headers = [dcmread(path, stop_before_pixels=True) for path in FILES]

    assert all(load_radiograph(path).pixels.std() > 0.1 for path in FILES)
    assert len({header.SOPInstanceUID for header in headers}) == len(FILES)
    assert len({header.StudyInstanceUID for header in headers}) == len({path.parent for path in FILES})
    assert all(str(header.PatientName).startswith("Sample^") for header in headers)
    assert all(header.PatientID.startswith("SAMPLE-") for header in headers)


def test_the_two_tibias_are_the_same_picture() -> None:
    one, two = load_radiograph(named("tibia_jpeg_2000")), load_radiograph(named("tibia_jpeg_ls"))

    assert (one.pixels == two.pixels).all()
    # The shaft is brighter than the soft tissue, and that than the air beside it.
    shaft, soft_tissue, air = one.pixels[400, 820], one.pixels[400, 700], one.pixels[400, 520]
    assert shaft > soft_tissue > air


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_only_the_chest_is_left_out(path: Path) -> None:
    header = dcmread(path, stop_before_pixels=True)
    reasons = [reason for rule in RULES if (reason := rule(header))]

    chest = ["It is outside the scope of the models: the header says CHEST."]
    assert reasons == (chest if path.parent.name == "chest" else [])


def test_the_spacing_of_zero_in_the_chest_is_not_believed() -> None:
    assert dcmread(named("chest"), stop_before_pixels=True).PixelSpacing == [0, 0]
    assert load_radiograph(named("chest")).spacing_mm is None


def test_oblong_pixels_are_known_by_ratio_and_by_spacing() -> None:
    assert load_radiograph(named("phantom_oblong_pixels")).pixel_aspect == 2.0
    assert load_radiograph(named("phantom_oblong_spacing")).pixel_aspect == 0.5
