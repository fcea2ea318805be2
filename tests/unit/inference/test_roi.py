"""Boxes of hot areas."""

import numpy as np
import pytest

from inference.grad_cam import find_peak, spread_over_source
from inference.preprocessing import Exposed, Letterbox
from inference.roi import find_rois


def test_separate_areas_give_separate_boxes_hottest_first() -> None:
    heatmap = np.zeros((200, 300), np.float32)
    heatmap[20:40, 30:90] = 0.7
    heatmap[100:150, 200:210] = 0.9
    heatmap[180:190, 10:20] = 0.4
    first, second = find_rois(heatmap)
    assert (first.x, first.y, first.width, first.height) == (200, 100, 10, 50)
    assert (second.x, second.y, second.width, second.height) == (30, 20, 60, 20)
    assert first.score == pytest.approx(0.9)


def test_no_heat_gives_no_box_and_no_peak() -> None:
    heatmap = np.zeros((100, 100), np.float32)
    assert find_rois(heatmap) == ()
    assert find_peak(heatmap) is None


def test_boxes_of_a_large_radiograph_reach_its_edge_and_no_further() -> None:
    heatmap = np.zeros((2501, 2003), np.float32)
    heatmap[2400:, 1900:] = 1
    (roi,) = find_rois(heatmap)
    assert (roi.x + roi.width, roi.y + roi.height) == (2003, 2501)
    assert abs(roi.x - 1900) <= 3
    assert abs(roi.y - 2400) <= 3


@pytest.mark.parametrize("side", [512, 1537, 2048, 2500, 4095])
def test_a_box_lies_in_the_middle_of_its_heat_however_large_the_radiograph(side: int) -> None:
    off = []
    for centre in 0.4 * side + np.arange(40) * 4.33:
        along = np.exp(-np.square(np.arange(side, dtype=np.float32) + 0.5 - centre) / (2 * (0.03 * side) ** 2))
        across = np.exp(-np.square(np.arange(600, dtype=np.float32) + 0.5 - 300) / (2 * 20**2))
        (wide,) = find_rois(np.repeat(across, 4)[:, np.newaxis] * along)
        (high,) = find_rois(along[:, np.newaxis] * np.repeat(across, 4))
        off.append((wide.x + wide.width / 2 - centre, high.y + high.height / 2 - centre))
    assert np.abs(np.mean(off, axis=0)).max() < 0.75


@pytest.mark.parametrize("side", range(2048, 2056))
def test_heat_at_the_edge_is_in_the_box_however_many_pixels_are_left_there(side: int) -> None:
    heatmap = np.zeros((side, side), np.float32)
    heatmap[-40:, -40:] = 1
    (roi,) = find_rois(heatmap)
    assert (roi.x + roi.width, roi.y + roi.height) == (side, side)


@pytest.mark.parametrize(
    ("rows", "columns", "aspect"), [(400, 200, 1.0), (200, 400, 1.0), (300, 300, 2.0), (111, 97, 0.7)]
)
def test_a_point_of_the_source_comes_back_where_it_was(rows: int, columns: int, aspect: float) -> None:
    box = Letterbox.fit(Exposed(0, rows, 0, columns), pixel_aspect=aspect, size=320)
    for x, y in [(0.25, 0.25), (0.5, 0.5), (0.8, 0.3)]:
        cam = np.zeros((40, 40), np.float32)
        cam[int((y * rows * box.scale_y + box.top) / 8), int((x * columns * box.scale_x + box.left) / 8)] = 1
        peak = find_peak(spread_over_source(cam, box, rows=rows, columns=columns))
        assert peak is not None
        # A cell of 8 model pixels is this many source pixels wide and high.
        assert abs(peak[0] - x * columns) <= 8 / box.scale_x
        assert abs(peak[1] - y * rows) <= 8 / box.scale_y


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_peak_lies_between_the_cells_that_share_the_heat(share: float) -> None:
    cam = np.zeros((10, 10), np.float32)
    cam[4, 5], cam[4, 6] = 1.0, share
    box = Letterbox.fit(Exposed(0, 400, 0, 400), pixel_aspect=1.0, size=160)
    x, y = find_peak(spread_over_source(cam, box, rows=400, columns=400))
    # Cells of 40 pixels: the middle of the first at 220, the border between the two at 240.
    assert x == pytest.approx({0.0: 220, 0.5: 230, 1.0: 240}[share], abs=5)
    assert y == pytest.approx(180, abs=3)


def test_heat_in_the_padding_leaves_that_of_the_radiograph_as_little_as_it_is() -> None:
    # A radiograph twice as wide as high: the upper and the lower quarter of the square are padding.
    box = Letterbox.fit(Exposed(0, 200, 0, 400), pixel_aspect=1.0, size=160)
    cam = np.zeros((20, 20), np.float32)
    cam[10, 10] = 1
    alone = spread_over_source(cam, box, rows=200, columns=400)
    assert alone.max() == pytest.approx(1, abs=0.01)
    cam[1, 10] = 10
    beside = spread_over_source(cam, box, rows=200, columns=400)
    assert beside.max() == pytest.approx(0.1, abs=0.01)
    assert find_rois(beside) == ()
    assert find_peak(beside) == pytest.approx(find_peak(alone), abs=1)


def test_of_equally_hot_places_the_first_from_the_top_is_the_peak() -> None:
    heatmap = np.zeros((10, 10), np.float32)
    heatmap[4, 2:5] = heatmap[3, 6] = 1
    assert find_peak(heatmap) == (6, 3)
