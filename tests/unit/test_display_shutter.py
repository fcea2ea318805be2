"""What a display shutter leaves to be seen (PS3.3 C.7.6.11), and that presentation states keep it."""

from typing import Any

import numpy as np
import pytest
from analyses import build_image, build_study
from builders import build_cr, build_dx
from numpy.testing import assert_allclose

from dicom_node.analyse.pixels import to_radiograph
from dicom_node.display_shutter import find_opening
from dicom_node.encode.results import encode_study
from dicom_node.settings import Encoding
from dicom_node.values import ResultKind

ROWS, COLUMNS = 60, 50
EDGES = (
    "ShutterLeftVerticalEdge",
    "ShutterRightVerticalEdge",
    "ShutterUpperHorizontalEdge",
    "ShutterLowerHorizontalEdge",
)
RECTANGLE = {"ShutterShape": "RECTANGULAR", **dict(zip(EDGES, (11, 40, 6, 55), strict=True))}
CIRCLE = {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [30, 20], "RadiusOfCircularShutter": 15}
TRIANGLE = {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [1, 1, 1, 50, 60, 1]}
ROW, COLUMN = np.mgrid[1 : ROWS + 1, 1 : COLUMNS + 1]
INSIDE = {
    "RECTANGULAR": (COLUMN >= 11) & (COLUMN <= 40) & (ROW >= 6) & (ROW <= 55),
    "CIRCULAR": (ROW - 30) ** 2 + (COLUMN - 20) ** 2 <= 15**2,
    "POLYGONAL": (ROW - 1) / 59 + (COLUMN - 1) / 49 <= 1,
}


def build(values: int | np.ndarray = 1000, **attributes: Any) -> Any:
    pixels = np.full((ROWS, COLUMNS), values, np.uint16)
    return build_dx(pixels, BitsStored=12, HighBit=11, **attributes)


@pytest.mark.parametrize("attributes", [RECTANGLE, CIRCLE, TRIANGLE], ids=lambda one: one["ShutterShape"])
def test_what_lies_inside_is_open(attributes: dict[str, Any]) -> None:
    opening = find_opening(build(**attributes), 1.0)
    assert opening is not None
    inside = INSIDE[attributes["ShutterShape"]]
    if attributes is TRIANGLE:  # its slanting side may pass on either side of a pixel's middle
        assert (opening != inside).sum() < ROWS
    else:
        assert np.array_equal(opening, inside)


def test_of_several_shapes_what_lies_inside_all_is_open() -> None:
    opening = find_opening(build(**RECTANGLE | CIRCLE | {"ShutterShape": ["RECTANGULAR", "CIRCULAR"]}), 1.0)
    assert opening is not None
    assert np.array_equal(opening, INSIDE["RECTANGULAR"] & INSIDE["CIRCULAR"])


def test_a_circle_is_round_where_pixels_are_not_square() -> None:
    """Pixels twice as high as wide: 15 columns are as far as seven and a half rows."""
    opening = find_opening(build(**CIRCLE), 2.0)
    assert opening is not None
    assert opening[:, 19].sum() == 15
    assert opening[29].sum() == 31


def test_edges_beyond_the_picture_open_all_of_it() -> None:
    opening = find_opening(build(**RECTANGLE | dict(zip(EDGES, (0, 51, -3, 100), strict=True))), 1.0)
    assert opening is not None
    assert opening.all()


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"ShutterShape": ""},
        {"ShutterShape": "BITMAP"},
        RECTANGLE | {"ShutterShape": ["RECTANGULAR", "BITMAP"]},
        RECTANGLE | {"ShutterLowerHorizontalEdge": None},
        RECTANGLE | {"ShutterLeftVerticalEdge": 40, "ShutterRightVerticalEdge": 11},
        RECTANGLE | {"ShutterUpperHorizontalEdge": 55},
        CIRCLE | {"CenterOfCircularShutter": 30},
        CIRCLE | {"RadiusOfCircularShutter": 0},
        CIRCLE | {"CenterOfCircularShutter": [3000, 20]},
        TRIANGLE | {"VerticesOfThePolygonalShutter": [1, 1, 1, 50]},
        TRIANGLE | {"VerticesOfThePolygonalShutter": [1, 1, 1, 50, 60]},
        TRIANGLE | {"VerticesOfThePolygonalShutter": [1, 1, 1, 50, 2**30, 1]},
    ],
)
def test_a_shutter_that_cannot_be_believed_hides_nothing(attributes: dict[str, Any]) -> None:
    assert find_opening(build(**attributes), 1.0) is None


@pytest.mark.parametrize("negative", [False, True])
def test_what_lies_outside_is_black_and_does_not_move_the_percentiles(*, negative: bool) -> None:
    inside = np.linspace(500, 1500, ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    kind = {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"} if negative else {}
    window = {"WindowCenter": None, "WindowWidth": None}

    def read(outside: int) -> np.ndarray:
        values = np.where(INSIDE["CIRCULAR"], inside, outside).astype(np.uint16)
        return to_radiograph(build(values, **CIRCLE, **kind, **window)).pixels

    glare, dark = read(4095), read(0)
    assert not glare[~INSIDE["CIRCULAR"]].any()
    assert np.ptp(glare[INSIDE["CIRCULAR"]]) == 1
    assert_allclose(glare, dark)


def test_colour_is_shuttered_too() -> None:
    values = np.full((ROWS, COLUMNS, 3), 200, np.uint8)
    ds = build_cr(values, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0, **RECTANGLE)
    pixels = to_radiograph(ds).pixels
    assert np.array_equal(pixels > 0, INSIDE["RECTANGULAR"])


def show(attributes: dict[str, Any]) -> Any:
    study = build_study([build_image(build_dx(**attributes))])
    results = encode_study(study, ae_title="NODE", encodings=tuple(Encoding))
    (state,) = [one.ds for one in results if one.kind is ResultKind.PRESENTATION_STATE]
    return state


def test_a_presentation_state_keeps_the_shutter() -> None:
    """One without would show the source without it, glare and all."""
    state = show(RECTANGLE | dict(zip(EDGES, (40, 280, 80, 440), strict=True)))
    assert state.ShutterShape == "RECTANGULAR"
    assert [int(state[edge].value) for edge in EDGES] == [40, 280, 80, 440]
    assert state.ShutterPresentationValue == 0


def test_a_presentation_state_takes_no_shutter_over_that_was_not_believed() -> None:
    assert "ShutterShape" not in show(RECTANGLE | dict(zip(EDGES, (280, 40, 80, 440), strict=True)))
