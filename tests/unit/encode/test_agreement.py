"""One finding, several encodings: the box is the same pixels of the same SOP instance in all of them."""

from dataclasses import replace
from io import BytesIO

import cv2
import numpy as np
import pytest
from analyses import build_analysis, build_instance, build_radiograph, build_study
from builders import build_cr, build_dx, build_sc, phantom
from pydicom import dcmread
from report_pages import list_pictures, open_pages, read_page

from dicom_node.analyse.geometry import pixel_aspect
from dicom_node.encode.results import encode_study
from dicom_node.operate.record import to_record
from dicom_node.settings import Encoding
from dicom_node.values import AnalysedInstance, ResultKind
from inference.overlay import render_overlay, show
from inference.types import Decision, FracturePrediction, Roi

STUDY = {"StudyInstanceUID": "1.2.3"}
MARK = (90, 225, 255)

SOURCES = {
    "square pixels": (lambda: build_dx(**STUDY), (512, 400), 1.0),
    "an odd matrix of oblong pixels": (
        lambda: build_dx(phantom(331, 257), PixelAspectRatio=[2, 1], ImagerPixelSpacing=None, **STUDY),
        (331, 257),
        2.0,
    ),
    "oblong spacing, landscape": (
        lambda: build_cr(phantom(601, 803, bits=10), PixelSpacing=[0.1, 0.2], **STUDY),
        (601, 803),
        0.5,
    ),
    "a digitised film": (lambda: build_sc(**STUDY), (512, 400), 1.0),
    "a film scanned in oblong pixels": (
        lambda: build_sc(NominalScannedPixelSpacing=[0.2, 0.1], **STUDY),
        (512, 400),
        2.0,
    ),
    "a spacing that is a mistake": (
        lambda: build_dx(PixelSpacing=[200, 0.1], ImagerPixelSpacing=None, PixelAspectRatio=[2, 1], **STUDY),
        (512, 400),
        2.0,
    ),
}
PRINTED = SOURCES | {
    "larger than it is printed": (
        lambda: build_dx(phantom(1501, 1203), PixelAspectRatio=[4, 3], ImagerPixelSpacing=None, **STUDY),
        (1501, 1203),
        4 / 3,
    ),
}
"""Its lines are wider than a pixel."""


def build(name, header=None, **attributes):
    """Build an image with two boxes, one of them at the very edge of the picture."""
    make, (rows, columns), aspect = PRINTED[name]
    rois = (
        Roi(x=columns // 3, y=rows // 3, width=columns // 5, height=rows // 7, score=1.0),
        Roi(x=columns - 31, y=rows // 2, width=31, height=17, score=0.8),
    )
    analysis = build_analysis(rows, columns, rois=rois, **attributes)
    radiograph = build_radiograph(rows, columns, pixel_aspect=aspect)
    ds = make()
    ds.update(header or {})
    return AnalysedInstance(instance=build_instance(ds), shown=show(radiograph), analysis=analysis)


def encode(*images):
    results = {}
    for one in encode_study(build_study(images), ae_title="NODE", encodings=tuple(Encoding)):
        with BytesIO() as file:
            one.ds.save_as(file, enforce_file_format=True)
            results.setdefault(one.kind, []).append(dcmread(BytesIO(file.getvalue())))
    return results


def fill(points):
    """The pixels inside an outline, (left, top, width, height); its corners are between pixels."""
    (left, top), (right, bottom) = np.min(points, axis=0), np.max(points, axis=0)
    assert all(float(value).is_integer() for value in (left, top, right, bottom))
    return int(left), int(top), int(right - left), int(bottom - top)


def boxes_in_report(ds):
    """(SOP instance, box) of every region in the SR."""
    found = []
    for item in walk(ds):
        if item.get("ValueType") == "SCOORD":
            (image,) = item.ContentSequence
            points = np.array(item.GraphicData).reshape(-1, 2)
            assert (item.GraphicType, tuple(points[0])) == ("POLYLINE", tuple(points[-1]))
            found.append((image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID, fill(points)))
    return found


def walk(item):
    yield item
    for child in item.get("ContentSequence", []):
        yield from walk(child)


def boxes_in_state(ds):
    """(SOP instance, box) of every outline in the presentation state; the filled one is the arrow."""
    (annotation,) = ds.GraphicAnnotationSequence
    (image,) = annotation.ReferencedImageSequence
    (series,) = ds.ReferencedSeriesSequence
    assert series.ReferencedImageSequence[0].ReferencedSOPInstanceUID == image.ReferencedSOPInstanceUID
    assert all(item.GraphicAnnotationUnits == "PIXEL" for item in annotation.GraphicObjectSequence)
    outlines = [item for item in annotation.GraphicObjectSequence if item.GraphicFilled == "N"]
    points = [np.array(item.GraphicData).reshape(-1, 2) for item in outlines]
    return [(image.ReferencedSOPInstanceUID, fill(one)) for one in points]


def box_on_overlay(image, roi):
    """The pixels around which the overlay draws the box: what is there with it and not without it."""
    analysis = replace(image.analysis, rois=(roi,), heatmap_peak=None)
    picture, without = (
        render_overlay(image.shown, one, disclaimer="x").astype(int) for one in (analysis, replace(analysis, rois=()))
    )
    drawn = (picture == MARK).all(axis=2) & (without != MARK).any(axis=2)
    rows, columns = np.where(drawn)
    return int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


def one_box_each(image):
    """The image with one box alone to be drawn on it, as often as it has boxes."""
    return [
        replace(image, analysis=replace(image.analysis, rois=(roi,), heatmap_peak=None)) for roi in image.analysis.rois
    ]


def find_cyan(pixels, least):
    """Find what is drawn in the colour of a box: (left, top, right, bottom), its edges between pixels."""
    rows, columns = np.where(np.minimum(pixels[..., 1], pixels[..., 2]) - pixels[..., 0] > least)
    assert len(rows)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


def is_box(found, image, shape, *, within):
    """Tell whether those are the edges of the image's box in a picture of this shape, within so many of its pixels.

    A line is as wide outside the box as inside.
    """
    (roi,), radiograph = image.analysis.rois, image.shown
    scale = np.tile([shape[1] / radiograph.columns, shape[0] / radiograph.rows], 2)
    said = np.array([roi.x, roi.y, roi.x + roi.width, roi.y + roi.height]) * scale
    line = max(1, np.sqrt(radiograph.rows * radiograph.columns * radiograph.pixel_aspect) / 450)
    return (np.abs(found - said) <= within + line / 2 * scale).all()


def overlays_in_report(ds):
    """What the report calls each image, and the right one of the two pictures below: the overlay."""
    found = []
    for page in open_pages(ds):
        texts, _ = read_page(page)
        pictures = list_pictures(page)
        for original, overlay in zip(pictures[::2], pictures[1::2], strict=True):
            assert (original.top, original.width, original.height) == (overlay.top, overlay.width, overlay.height)
            assert original.left + original.width < overlay.left
            above = {y: text for text, (_, y) in texts.items() if text.startswith("Series") and y > overlay.top}
            found.append((above[min(above)], overlay))
    return found


@pytest.mark.parametrize("name", PRINTED)
def test_the_report_prints_the_box_on_the_same_pixels(name):
    for image in one_box_each(build(name)):
        results = encode(image)
        ((_, overlay),) = overlays_in_report(results[ResultKind.ENCAPSULATED_PDF][0])
        check_print(image, overlay)


def check_print(image, overlay):
    assert is_box(find_cyan(overlay.pixels, 80), image, overlay.pixels.shape, within=1)
    # The whole picture is printed, in the shape in which it is seen.
    seen = image.shown.rows * image.shown.pixel_aspect / image.shown.columns
    assert overlay.height / overlay.width == pytest.approx(seen, rel=1e-3)


def find_thumbnail(summary, capture, aspect):
    """Find the overlay in the summary by what it looks like: its top row, its pixels, int (rows, columns, 3)."""
    rows, columns = capture.Rows * aspect, capture.Columns
    size = tuple(round(side * 132 / max(rows, columns)) for side in (columns, rows))
    wanted = cv2.resize(capture.pixel_array, size, interpolation=cv2.INTER_AREA)
    likeness = cv2.matchTemplate(summary.pixel_array, wanted, cv2.TM_CCOEFF_NORMED)
    top, left = np.unravel_index(likeness.argmax(), likeness.shape)
    assert likeness.max() > 0.9
    return top, summary.pixel_array[top : top + size[1], left : left + size[0]].astype(int)


@pytest.mark.parametrize("name", PRINTED)
def test_the_summary_shows_the_box_on_the_same_pixels(name):
    for image in one_box_each(build(name)):
        results = encode(image)
        (summary,), (capture,) = results[ResultKind.SUMMARY], results[ResultKind.SECONDARY_CAPTURE]
        _, thumbnail = find_thumbnail(summary, capture, image.shown.pixel_aspect)
        # Scaled twice, to the size of the report and to this one.
        assert is_box(find_cyan(thumbnail, 12), image, thumbnail.shape, within=1.5)


@pytest.mark.parametrize("decision", [Decision.FRACTURE, Decision.UNCERTAIN])
@pytest.mark.parametrize("name", SOURCES)
def test_the_box_is_the_same_pixels_of_the_same_instance_in_every_encoding(name, decision):
    image = build(name, decision=decision)
    results = encode(image)
    uid = image.instance.sop_instance_uid
    said = [(uid, (roi.x, roi.y, roi.width, roi.height)) for roi in image.analysis.rois]
    (report,), (state,) = results[ResultKind.STRUCTURED_REPORT], results[ResultKind.PRESENTATION_STATE]
    assert boxes_in_report(report) == said
    assert boxes_in_state(state) == said
    (capture,) = results[ResultKind.SECONDARY_CAPTURE]
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == uid
    assert (capture.Rows, capture.Columns) == (image.instance.header.Rows, image.instance.header.Columns)
    assert [(uid, box_on_overlay(image, roi)) for roi in image.analysis.rois] == said
    assert [(uid, tuple(box)) for box in to_record(image.instance.path, image.analysis)["rois"]] == said
    (keys,) = results[ResultKind.KEY_OBJECTS]
    selected = [item.ReferencedSOPSequence[0] for item in walk(keys) if item.ValueType == "IMAGE"]
    assert [item.ReferencedSOPInstanceUID for item in selected] == [uid]


@pytest.mark.parametrize("name", SOURCES)
def test_the_presentation_state_shows_pixels_in_the_shape_of_the_source(name):
    image = build(name)
    assert image.shown.pixel_aspect == pixel_aspect(image.instance.header)
    (state,) = encode(image)[ResultKind.PRESENTATION_STATE]
    (area,) = state.DisplayedAreaSelectionSequence
    assert area.DisplayedAreaBottomRightHandCorner == [image.shown.columns, image.shown.rows]
    height, width = area.get("PresentationPixelSpacing") or area.PresentationPixelAspectRatio
    assert height / width == image.shown.pixel_aspect


@pytest.mark.parametrize("name", SOURCES)
def test_the_arrow_points_to_the_peak(name):
    image = build(name)
    (state,) = encode(image)[ResultKind.PRESENTATION_STATE]
    (arrow,) = [item for item in state.GraphicAnnotationSequence[0].GraphicObjectSequence if item.GraphicFilled == "Y"]
    points = np.array(arrow.GraphicData).reshape(-1, 2)
    seen = np.array([1.0, image.shown.pixel_aspect])
    peak = np.array(image.analysis.heatmap_peak) + 0.5
    distances = np.linalg.norm((points - peak) * seen, axis=1)
    size = np.sqrt(image.shown.rows * image.shown.columns * image.shown.pixel_aspect)
    assert distances.argmin() in {0, len(points) - 1}
    assert distances.min() < 0.02 * size + 3
    assert (points >= 0).all()
    assert (points <= (image.shown.columns, image.shown.rows)).all()


def test_two_images_never_share_a_box():
    images = build("square pixels"), build("an odd matrix of oblong pixels")
    results = encode(*images)
    said = [
        (image.instance.sop_instance_uid, (roi.x, roi.y, roi.width, roi.height))
        for image in images
        for roi in image.analysis.rois
    ]
    assert boxes_in_report(results[ResultKind.STRUCTURED_REPORT][0]) == said
    assert [box for state in results[ResultKind.PRESENTATION_STATE] for box in boxes_in_state(state)] == said


def test_report_and_summary_show_each_box_with_the_image_that_it_is_of():
    names = "square pixels", "an odd matrix of oblong pixels", "oblong spacing, landscape"
    images = [
        one_box_each(build(name, {"InstanceNumber": number}))[number % 2] for number, name in enumerate(names, start=1)
    ]
    results = encode(*images)
    printed = overlays_in_report(results[ResultKind.ENCAPSULATED_PDF][0])
    assert [text.split(", ")[1] for text, _ in printed] == ["image 1", "image 2", "image 3"]
    captures = results[ResultKind.SECONDARY_CAPTURE]
    thumbnails = []
    for image, (_, overlay), capture in zip(images, printed, captures, strict=True):
        assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == image.instance.sop_instance_uid
        check_print(image, overlay)
        top, thumbnail = find_thumbnail(results[ResultKind.SUMMARY][0], capture, image.shown.pixel_aspect)
        assert is_box(find_cyan(thumbnail, 12), image, thumbnail.shape, within=1.5)
        thumbnails.append(top)
    assert thumbnails == sorted(thumbnails), "in the order of the rows, which are numbered like the report's"


def test_every_encoding_says_the_same_probability_and_region():
    image = build("square pixels")
    results = encode(image)
    (report,) = results[ResultKind.STRUCTURED_REPORT]
    numbers = [item.MeasuredValueSequence[0].NumericValue for item in walk(report) if item.ValueType == "NUM"]
    assert set(numbers) == {0.87}
    sites = {
        item.ConceptCodeSequence[0].CodeMeaning
        for item in walk(report)
        if item.ValueType == "CODE" and item.ConceptNameCodeSequence[0].CodeMeaning == "Finding Site"
    }
    comment = next(item.TextValue for item in walk(report) if item.ValueType == "TEXT" and "Region" in item.TextValue)
    assert "Region: Lower leg 0.97." in comment
    assert sites == set()  # LOWER_LEG is no region of the shipped model: named in words alone
    (state,) = results[ResultKind.PRESENTATION_STATE]
    (text,) = state.GraphicAnnotationSequence[0].TextObjectSequence
    assert text.UnformattedTextValue.startswith("Fracture suspected, fracture probability 0.87")
    (keys,) = results[ResultKind.KEY_OBJECTS]
    assert any("Fracture suspected 0.87" in item.get("TextValue", "") for item in walk(keys))
    printed = " ".join(page.extract_text() for page in open_pages(results[ResultKind.ENCAPSULATED_PDF][0]))
    (capture,) = results[ResultKind.SECONDARY_CAPTURE]
    for text in (printed, capture.ImageComments):
        assert "0.87" in text
        assert "Lower leg 0.97" in text


def test_what_is_written_beside_an_operating_point_never_denies_the_decision():
    """0.498 is uncertain where a fracture is one from 0.5 on: rounded to 0.50 the page would contradict itself."""
    fracture = FracturePrediction(probability=0.498, sensitive_threshold=0.2, specific_threshold=0.5)
    results = encode(build("square pixels", decision=Decision.UNCERTAIN, fracture=fracture))
    pages = " ".join(page.extract_text() for page in open_pages(results[ResultKind.ENCAPSULATED_PDF][0]))
    (state,), (keys,) = results[ResultKind.PRESENTATION_STATE], results[ResultKind.KEY_OBJECTS]
    (report,), (capture,) = results[ResultKind.STRUCTURED_REPORT], results[ResultKind.SECONDARY_CAPTURE]
    written = str(state.GraphicAnnotationSequence[0].TextObjectSequence[0].UnformattedTextValue)
    (key,) = [item.TextValue for item in walk(keys) if item.get("ValueType") == "TEXT"]
    assert all("0.498" in text for text in (pages, capture.ImageComments, written, key))
    assert "fracture from 0.500" in pages
    comments = [item.TextValue for item in walk(report) if "No fracture below" in item.get("TextValue", "")]
    assert comments
    assert all("No fracture below 0.200, fracture from 0.500." in comment for comment in comments)
