from dataclasses import replace

import cv2
import numpy as np
import pytest
from analyses import build_analysis, build_radiograph

from inference.overlay import describe_boxes, render_original, render_overlay, show
from inference.types import Decision, Roi

DISCLAIMER = "Research use only. Not for diagnosis."


def overlay(radiograph, analysis):
    return render_overlay(show(radiograph), analysis, disclaimer=DISCLAIMER)


def test_the_original_keeps_black_black_and_white_white():
    radiograph = build_radiograph()
    original = render_original(radiograph)
    assert original.dtype == np.uint8
    assert original.shape == radiograph.pixels.shape
    assert np.abs(original / 255 - radiograph.pixels).max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize(
    "shape", [(400, 300), (300, 400), (2500, 2000), (64, 64), (16, 16), (1, 1), (30, 900), (900, 30)]
)
@pytest.mark.parametrize("aspect", [1.0, 2.0, 0.5])
def test_the_overlay_has_the_rows_and_columns_of_the_source(shape, aspect):
    picture = overlay(build_radiograph(*shape, pixel_aspect=aspect), build_analysis(*shape))
    assert picture.shape == (*shape, 3)
    assert picture.dtype == np.uint8


def test_a_pixel_that_is_cold_and_unmarked_stays_grey_as_it_was():
    radiograph, analysis = build_radiograph(), build_analysis()
    picture, grey = overlay(radiograph, analysis), render_original(radiograph)
    left = slice(100, 400), slice(0, 120)
    assert np.array_equal(picture[left], np.repeat(grey[left][..., None], 3, axis=2))


def test_heat_below_the_threshold_leaves_the_radiograph_as_it_was_even_between_hot_spots():
    radiograph = build_radiograph()
    analysis = build_analysis(heatmap=np.full((512, 400), round(0.29 * 255), np.uint8), rois=(), heatmap_peak=None)
    analysis.heatmap[[70, 300], [0, 399]] = 255
    picture, grey = overlay(radiograph, analysis), render_original(radiograph)
    beside = slice(71, 300), slice(0, 400)
    assert np.array_equal(picture[beside], np.repeat(grey[beside][..., None], 3, axis=2))


def test_the_heat_is_drawn_where_it_is_hot_in_warm_colours():
    analysis = replace(build_analysis(), rois=(), heatmap_peak=None)
    picture = overlay(build_radiograph(), analysis).astype(int)
    warm = picture[..., 0] - picture[..., 2] > 40
    legend = np.zeros_like(warm)
    legend[:60], legend[-60:] = True, True
    assert warm[analysis.heatmap > 0.7 * 255].all()
    assert not warm[(analysis.heatmap < 0.3 * 255) & ~legend].any()


def test_bone_stays_brighter_than_its_surroundings_under_the_heat():
    radiograph = build_radiograph()
    analysis = replace(build_analysis(heatmap=np.full((512, 400), 255, np.uint8)), rois=(), heatmap_peak=None)
    seen = overlay(radiograph, analysis)[150:350].astype(float).sum(axis=2)
    pixels = radiograph.pixels[150:350]
    assert seen[pixels > 0.7].min() > seen[pixels < 0.1].max()


def test_the_arrow_points_at_the_peak_and_does_not_cover_it():
    analysis = build_analysis()
    x, y = analysis.heatmap_peak
    with_arrow, without = (
        overlay(build_radiograph(), each) for each in (analysis, replace(analysis, heatmap_peak=None))
    )
    drawn = np.argwhere((with_arrow != without).any(axis=2))
    distance = np.hypot(drawn[:, 0] - y, drawn[:, 1] - x)
    assert 2 <= distance.min() <= 12
    assert distance.max() > 30
    assert np.array_equal(with_arrow[y, x], without[y, x])


def test_no_arrow_points_at_anything_where_no_fracture_was_found():
    analysis = replace(build_analysis(), decision=Decision.NO_FRACTURE, rois=())
    without = replace(analysis, heatmap_peak=None)
    assert np.array_equal(overlay(build_radiograph(), analysis), overlay(build_radiograph(), without))


@pytest.mark.parametrize("peak", [(0, 0), (399, 0), (0, 511), (399, 511)])
def test_a_peak_in_the_corner_still_gets_its_arrow(peak):
    analysis = replace(build_analysis(), rois=())
    with_arrow, without = (
        overlay(build_radiograph(), each)
        for each in (replace(analysis, heatmap_peak=peak), replace(analysis, heatmap_peak=None))
    )
    assert (with_arrow != without).any()


def find_box(analysis):
    drawn = (overlay(build_radiograph(), analysis) != overlay(build_radiograph(), replace(analysis, rois=()))).any(
        axis=2
    )
    drawn[:60] = False  # the legend, which says what the line means
    rows, columns = np.where(drawn)
    return drawn, (columns.min(), rows.min(), columns.max(), rows.max())


def test_the_box_lies_on_the_pixels_the_roi_names():
    roi = Roi(x=120, y=200, width=80, height=60, score=1.0)
    _, (left, top, right, bottom) = find_box(replace(build_analysis(), rois=(roi,), heatmap_peak=None))
    expected = (120, 200, 199, 259)
    assert np.abs(np.array((left, top, right, bottom)) - expected).max() <= 2  # the dark halo


def test_the_box_is_solid_for_a_fracture_and_dashed_otherwise():
    roi = Roi(x=120, y=200, width=80, height=60, score=1.0)
    analysis = replace(build_analysis(), rois=(roi,), heatmap_peak=None)
    solid, _ = find_box(analysis)
    dashed, _ = find_box(replace(analysis, decision=Decision.UNCERTAIN))
    assert solid[200, 120:200].all()
    assert not dashed[200, 120:200].all()
    assert dashed[200, 120:200].any()


@pytest.mark.parametrize(
    ("decision", "probability", "said"),
    [
        (Decision.FRACTURE, 0.87, "Solid box: the specific operating point is reached"),
        (Decision.UNCERTAIN, 0.3, "Dashed box: only the sensitive operating point is reached"),
        (Decision.UNCERTAIN, 0.87, "Dashed box: uncertain"),  # by conformal prediction
        (Decision.NO_FRACTURE, 0.1, ""),
    ],
)
def test_the_legend_says_what_the_line_of_a_box_means(decision, probability, said):
    analysis = build_analysis()
    rois = () if decision is Decision.NO_FRACTURE else analysis.rois
    analysis = replace(
        analysis, decision=decision, rois=rois, fracture=replace(analysis.fracture, probability=probability)
    )
    assert describe_boxes(analysis) == said
    rows = [overlay(build_radiograph(), one)[34:46, :200] for one in (analysis, replace(analysis, rois=()))]
    assert np.array_equal(*rows) is (not said)


def test_the_legend_moves_away_from_a_box_at_the_top():
    high = Roi(x=150, y=0, width=60, height=40, score=1.0)
    grey = render_original(build_radiograph())
    for rois, darkened in (((), True), ((high,), False)):
        picture = overlay(build_radiograph(), replace(build_analysis(), heatmap=None, heatmap_peak=None, rois=rois))
        assert (picture[30, 240, 0] < grey[30, 240]) is np.bool_(darkened)
        assert picture[-6, 200, 0] < grey[-6, 200]


@pytest.mark.parametrize("decision", list(Decision))
def test_every_decision_is_written(decision):
    blank = replace(build_analysis(), decision=decision, heatmap=None, rois=(), heatmap_peak=None)
    other = Decision.UNCERTAIN if decision is not Decision.UNCERTAIN else Decision.FRACTURE
    strips = [overlay(build_radiograph(), each)[:24, :200] for each in (blank, replace(blank, decision=other))]
    assert not np.array_equal(*strips)
    assert (strips[0] > 200).any()


def test_a_withheld_heat_map_is_said_in_place_of_the_colour_scale():
    withheld = overlay(build_radiograph(), replace(build_analysis(), heatmap=None))[:60].astype(int)
    shown = overlay(build_radiograph(), build_analysis())[:60].astype(int)
    scale = [((strip[:, 250:, 0] - strip[:, 250:, 2]) > 60).sum() for strip in (withheld, shown)]
    assert scale[0] == 0
    assert scale[1] > 50


def test_text_is_set_for_the_eye_when_pixels_are_not_square():
    analysis = replace(build_analysis(500, 800), heatmap=None, rois=(), heatmap_peak=None)
    flat = overlay(build_radiograph(500, 800, pixel_aspect=2.0), analysis)
    square = overlay(build_radiograph(1000, 800), replace(analysis, heatmap=None))
    seen = cv2.resize(flat, (800, 1000), interpolation=cv2.INTER_LINEAR)
    difference = np.abs(seen[:50].astype(int) - square[:50].astype(int))
    assert difference.mean() < 12


def test_what_is_not_ascii_in_a_model_name_does_not_break_the_legend():
    model = replace(build_analysis().models[0], name="поломка" * 40)
    assert overlay(build_radiograph(), replace(build_analysis(), models=(model,))).shape == (512, 400, 3)
