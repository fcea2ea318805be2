"""Borders of one grey are left away, and what is found in the square lies where it lay in the source."""

import numpy as np
import pytest

from inference.grad_cam import find_peak, spread_over_source
from inference.limb import SIDE, find_limb
from inference.preprocessing import (
    BORDERS,
    SMALLEST_SIDE,
    STEP,
    Exposed,
    Letterbox,
    Preprocessing,
    find_exposed,
    prepare,
)
from inference.types import Float32Array, Radiograph

PREPROCESSING = Preprocessing(image_size=160, scale=2.0, offset=-1.0)


def draw_plate(rows: int = 300, columns: int = 200) -> Float32Array:
    """Draw a limb from top to bottom, noisy to its edges as what a detector measured is."""
    pixels = np.full((rows, columns), 0.15, np.float32)
    pixels[:, columns // 3 : 2 * columns // 3] = 0.7
    noise = np.random.default_rng(3).normal(0, 0.03, pixels.shape)
    return np.asarray(np.clip(pixels + noise, 0, 1), np.float32)


def add_border(
    pixels: Float32Array, *, top: int = 0, bottom: int = 0, left: int = 0, right: int = 0, grey: float = 0.0
) -> Float32Array:
    return np.pad(pixels, ((top, bottom), (left, right)), constant_values=grey)


@pytest.mark.parametrize("grey", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(
    "border",
    [
        {"top": 90, "bottom": 40, "left": 70, "right": 130},
        {"left": 150},
        {"right": 1},
        {"top": 300},
        {"bottom": 63},
        {"bottom": 64},
    ],
    ids=str,
)
def test_a_model_reads_the_same_whatever_border_of_one_grey_lies_around(border: dict[str, int], grey: float) -> None:
    plate = draw_plate()
    alone, _ = prepare(Radiograph(pixels=plate), PREPROCESSING)
    bordered, box = prepare(Radiograph(pixels=add_border(plate, grey=grey, **border)), PREPROCESSING)
    assert np.array_equal(bordered, alone)
    assert (box.exposed.rows, box.exposed.columns) == plate.shape
    assert (box.exposed.top, box.exposed.left) == (border.get("top", 0), border.get("left", 0))


def test_a_shutter_on_a_page_is_left_away_with_it_however_wide_each_side_is() -> None:
    plate = draw_plate()
    shutter = add_border(plate, top=30, bottom=30, left=20, right=20, grey=0.02)
    page = add_border(shutter, top=12, bottom=8, left=12, right=12, grey=1.0)
    assert find_exposed(page) == Exposed(42, 342, 32, 232)


def test_three_borders_in_one_another_are_left_away_each_of_its_own_grey() -> None:
    page = draw_plate()
    for width, grey in ((10, 0.0), (20, 0.5), (12, 1.0)):
        page = add_border(page, top=width, bottom=width, left=width, right=width, grey=grey)
    assert find_exposed(page) == Exposed(42, 342, 42, 242)


def test_two_sides_of_another_grey_than_top_and_bottom_are_one_border_with_them() -> None:
    page = draw_plate()
    for number in range(BORDERS):
        page = add_border(page, left=10, right=10, grey=1.0 - 0.1 * number)
        page = add_border(page, top=10, bottom=10, grey=0.2 * number)
    assert find_exposed(page) == Exposed(10 * BORDERS, 300 + 10 * BORDERS, 10 * BORDERS, 200 + 10 * BORDERS)


def test_what_compression_leaves_in_a_border_is_no_picture() -> None:
    plate = draw_plate()
    page = add_border(plate, top=50, bottom=50, left=50, right=50, grey=100 / 255)
    level = np.random.default_rng(1).integers(0, 3, page.shape) / np.float32(255)
    assert find_exposed(np.where(page == np.float32(100 / 255), page + level, page)) == Exposed(50, 350, 50, 250)


@pytest.mark.parametrize("uneven", [4 / 255, 0.2])
def test_a_border_that_says_something_stays(uneven: float) -> None:
    page = add_border(draw_plate(), top=60)
    page[::10, 100] += np.float32(uneven)
    assert find_exposed(page).top == 0


@pytest.mark.parametrize(
    ("lines", "highest", "most"), [(100, 1, 3), (100, 10 / 255, 80), (5 * STEP, 10 / 255, 4 * STEP)]
)
def test_lines_that_change_from_one_to_the_next_are_no_border(lines: int, highest: float, most: int) -> None:
    """However slowly: within each of the blocks that are looked at, the last wedge is of one grey."""
    plate = draw_plate()
    wedge = np.repeat(np.linspace(0, highest, lines, dtype=np.float32)[:, np.newaxis], plate.shape[1], axis=1)
    assert find_exposed(np.vstack([wedge, plate])).top <= most


@pytest.mark.parametrize("contrast", [1.0, 0.1])
def test_a_border_is_as_even_as_the_contrast_is_low(contrast: float) -> None:
    page = add_border(draw_plate(), top=60)
    page[:60:2] += np.float32(2 / 255)
    page[60:90] = np.where(np.arange(200) % 2, 6 / 255, 0).astype(np.float32)
    assert find_exposed(page * np.float32(contrast)).top == 60


def draw_bands(count: int) -> Float32Array:
    return np.repeat(np.arange(count, dtype=np.float32) % 2, 400 // count)[:, np.newaxis] * np.ones(300, np.float32)


def draw_dust() -> Float32Array:
    page = np.full((400, 300), 1 / 255, np.float32)
    page[10, 50], page[200, 90] = 0, 3 / 255
    return page


@pytest.mark.parametrize(
    ("picture", "left"),
    [(draw_bands(2), (0, 400)), (draw_bands(4), (100, 300)), (draw_bands(400), (3, 397)), (draw_dust(), (0, 400))],
    ids=["halves", "bands", "lines", "dust"],
)
def test_a_picture_of_whose_borders_nothing_lies_within_is_read(picture: Float32Array, left: tuple[int, int]) -> None:
    assert find_exposed(picture) == Exposed(*left, 0, 300)
    assert find_exposed(picture.T) == Exposed(0, 300, *left)


def test_a_radiograph_without_a_border_is_left_as_it_is() -> None:
    plate = draw_plate()
    assert find_exposed(plate) == Exposed(0, 300, 0, 200)
    assert np.shares_memory(find_exposed(plate).cut(plate), plate)


@pytest.mark.parametrize("side", [SMALLEST_SIDE - 1, SMALLEST_SIDE])
def test_no_border_is_left_away_where_too_little_would_be_left(side: int) -> None:
    page = add_border(draw_plate(side, 200), top=100, bottom=100, left=40)
    left = find_exposed(page)
    assert (left == Exposed(0, side + 200, 0, 240)) is (side < SMALLEST_SIDE)


@pytest.mark.parametrize("shape", [(64, 64), (500, 90)])
def test_a_radiograph_of_one_grey_is_read_whole(shape: tuple[int, int]) -> None:
    assert find_exposed(np.full(shape, 0.4, np.float32)) == Exposed(0, shape[0], 0, shape[1])


@pytest.mark.parametrize("aspect", [1.0, 2.0, 0.7])
def test_heat_lies_where_the_model_saw_it_and_never_in_a_border(aspect: float) -> None:
    page = Radiograph(pixels=add_border(draw_plate(), top=37, bottom=210, left=115, right=18), pixel_aspect=aspect)
    box = Letterbox.around(page, size=160)
    for x, y in [(0.1, 0.1), (0.5, 0.5), (0.85, 0.3)]:
        source = box.exposed.left + x * box.exposed.columns, box.exposed.top + y * box.exposed.rows
        cam = np.zeros((20, 20), np.float32)
        cam[int((source[1] * box.scale_y + box.top) / 8), int((source[0] * box.scale_x + box.left) / 8)] = 1
        heat = spread_over_source(cam, box, rows=page.rows, columns=page.columns)
        assert heat.shape == page.pixels.shape
        peak = find_peak(heat)
        assert peak is not None
        # A cell of 8 model pixels is this many source pixels wide and high.
        assert abs(peak[0] - source[0]) <= 8 / box.scale_x
        assert abs(peak[1] - source[1]) <= 8 / box.scale_y
    everywhere = spread_over_source(np.ones((20, 20), np.float32), box, rows=page.rows, columns=page.columns)
    assert everywhere.sum() == pytest.approx(box.exposed.rows * box.exposed.columns, rel=1e-3)
    assert box.exposed.cut(everywhere).min() > 0.99


def test_the_limb_lies_in_the_square_that_the_model_reads() -> None:
    plate = draw_plate()
    alone = find_limb(Radiograph(pixels=plate)).mask
    assert np.array_equal(find_limb(Radiograph(pixels=add_border(plate, left=200, top=90))).mask, alone)
    columns = np.flatnonzero(alone.any(axis=0)) / SIDE * 300
    # The square of 300 shows the plate from column 50 on; the limb is widened by a twentieth of the side.
    assert (columns.min(), columns.max()) == pytest.approx((50 + 66 - 15, 50 + 133 + 15), abs=8)
