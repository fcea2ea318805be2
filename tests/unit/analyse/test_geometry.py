import pytest
from builders import build_dx, phantom
from pydicom import Dataset

from dicom_node.analyse.geometry import pixel_aspect, spacing_mm
from dicom_node.analyse.pixels import to_radiograph


def header(**attributes: object) -> Dataset:
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def test_spacing_at_the_patient_comes_before_spacing_at_the_detector() -> None:
    ds = header(PixelSpacing=["0.1", "0.1"], ImagerPixelSpacing=["0.2", "0.2"])

    assert spacing_mm(ds) == (0.1, 0.1)
    del ds.PixelSpacing
    assert spacing_mm(ds) == (0.2, 0.2)


@pytest.mark.fault(49)
@pytest.mark.parametrize("value", [["0", "0"], ["-0.1", "0.1"], ["0.000", "0.143"], "0.1", "", ["0.1", "100"]])
def test_a_spacing_that_cannot_be_counts_as_none(value: object) -> None:
    assert spacing_mm(header(PixelSpacing=value)) is None
    assert spacing_mm(header(PixelSpacing=value, ImagerPixelSpacing=["0.2", "0.2"])) == (0.2, 0.2)
    assert pixel_aspect(header(PixelSpacing=value)) == 1.0


@pytest.mark.fault(49)
def test_a_spacing_that_is_no_number_counts_as_none() -> None:
    ds = Dataset.from_json({"00280030": {"vr": "LO", "Value": ["0,1", "0,1"]}})

    assert spacing_mm(ds) is None


@pytest.mark.fault(49)
@pytest.mark.parametrize(
    ("attributes", "aspect"),
    [
        ({"PixelAspectRatio": [2, 1]}, 2.0),
        ({"PixelAspectRatio": [1, 2]}, 0.5),
        ({"PixelAspectRatio": [0, 1]}, 1.0),
        ({"PixelAspectRatio": [1, 0]}, 1.0),
        ({"PixelAspectRatio": [1]}, 1.0),
        ({"PixelSpacing": ["0.4", "0.2"], "PixelAspectRatio": [1, 1]}, 2.0),
        ({}, 1.0),
    ],
)
def test_the_aspect_is_height_by_width_of_a_pixel(attributes: dict[str, object], aspect: float) -> None:
    assert pixel_aspect(header(**attributes)) == aspect


def test_a_radiograph_carries_its_geometry() -> None:
    radiograph = to_radiograph(build_dx(phantom(40, 30), ImagerPixelSpacing=["0.3", "0.15"]))

    assert (radiograph.spacing_mm, radiograph.pixel_aspect) == ((0.3, 0.15), 2.0)
