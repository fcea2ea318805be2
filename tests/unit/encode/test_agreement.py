"""One finding, several encodings: the box is the same pixels of the same SOP instance in all of them."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from analyses import build_analysis, build_instance, build_radiograph, build_study
from builders import build_cr, build_dx, build_sc, phantom
from pydicom import dcmread
from report_pages import open_pages

from dicom_node.encode.results import encode_study
from dicom_node.operate.record import to_record
from dicom_node.settings import Encoding
from dicom_node.values import AnalysedInstance, ResultKind
from inference.overlay import render_overlay, show
from inference.types import Decision, Roi

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
}


def build(name, **attributes):
    """Build an image with two boxes, one of them at the very edge of the picture."""
    make, (rows, columns), aspect = SOURCES[name]
    rois = (
        Roi(x=columns // 3, y=rows // 3, width=columns // 5, height=rows // 7, score=1.0),
        Roi(x=columns - 31, y=rows // 2, width=31, height=17, score=0.8),
    )
    analysis = build_analysis(rows, columns, rois=rois, **attributes)
    radiograph = build_radiograph(rows, columns, pixel_aspect=aspect)
    return AnalysedInstance(instance=build_instance(make()), shown=show(radiograph), analysis=analysis)


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
