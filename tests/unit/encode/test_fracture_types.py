"""What results say of a fracture's type, and that they say nothing of it where no type model spoke."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from analyses import TYPE_MODEL, build_analysis, build_image, build_radiograph, build_study, name_types
from pydicom import dcmread
from report_pages import measure_bar, open_pages, read_page

from dicom_node.encode.results import encode_study
from dicom_node.identity import DISCLAIMER
from dicom_node.operate.record import to_record
from inference.overlay import render_original, render_overlay, show
from inference.probabilities import format_probability

TYPES = {"OBLIQUE": 0.61, "SPIRAL": 0.2, "GREENSTICK": 0.12, "FRACTURE_DISLOCATION": 0.05, "AVULSION": 0.02}
HEAD = "Type of the fracture, if there is one"


def encode(image):
    results = []
    for result in encode_study(build_study([image]), ae_title="FRACTUREAI"):
        with BytesIO() as file:
            result.ds.save_as(file, enforce_file_format=True)
            results.append(dcmread(BytesIO(file.getvalue())))
    return results


def read_report(image):
    (page,) = open_pages(encode(image)[-1])
    return read_page(page)


def read_words(image):
    (page,) = open_pages(encode(image)[-1])
    return page.extract_text()


@pytest.mark.parametrize("types", [TYPES, {"ONLY": 1.0}, {f"type_{n}": (12 - n) / 78 for n in range(12)}])
def test_the_report_shows_a_bar_for_every_type_as_long_as_it_is_probable(types):
    texts, boxes = read_report(build_image(**name_types(**types)))
    assert HEAD in texts
    for label, probability in types.items():
        shown = label.replace("_", " ").capitalize()
        assert measure_bar(shown, texts, boxes) == pytest.approx(probability, abs=1e-3)


def test_the_most_probable_type_is_first_and_the_columns_are_read_downwards():
    texts, _ = read_report(build_image(**name_types(**dict(reversed(TYPES.items())))))
    places = [texts[label] for label in ("Oblique", "Spiral", "Greenstick", "Fracture dislocation", "Avulsion")]
    left, right = places[:3], places[3:]
    assert left == sorted(left, key=lambda place: -place[1])
    assert right == sorted(right, key=lambda place: -place[1])
    assert left[0][1] == right[0][1]
    assert left[0][0] == left[2][0] < right[0][0]


def test_more_than_a_dozen_types_are_summed_up():
    types = {f"KIND_{n:02}": 0.08 for n in range(12)} | {"RARE_ONE": 0.03, "RARE_TWO": 0.01}
    text = read_words(build_image(**name_types(**types)))
    assert "2 less probable types, together 0.04" in text
    assert "Kind 11" in text
    assert "Rare" not in text


def test_labels_in_any_script_and_of_any_length_stay_beside_their_bars():
    types = {"螺旋形骨折": 0.5, "Спиральный": 0.3, "compression_crush_of_the_whole_bone_and_more": 0.15, "كسر": 0.05}
    texts, boxes = read_report(build_image(**name_types(**types)))
    assert "螺旋形骨折" in texts
    assert "Спиральный" in texts
    (cut,) = (text for text in texts if text.startswith("Compression crush") and text.endswith("…"))
    assert measure_bar(cut, texts, boxes) == pytest.approx(0.15, abs=1e-3)
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(texts)


def test_a_report_with_types_says_on_its_page_what_it_is_for():
    text = read_words(build_image(**name_types(**TYPES), flags=("One remark.", "And another.")))
    assert HEAD in text
    assert text.count(DISCLAIMER) == 2


def test_the_type_model_is_named_as_the_others_are():
    _, capture, report = encode(build_image(**name_types(**TYPES)))
    for ds in (capture, report):
        described = ds.ContributingEquipmentSequence[-1]
        assert (described.ManufacturerModelName, described.SoftwareVersions) == ("drawn-type", "0.2.0")
        assert f"type model, SHA-256 {TYPE_MODEL.digest}" in described.ContributionDescription
    text = read_words(build_image(**name_types(**TYPES)))
    for said in ("drawn-type", "0.2.0", TYPE_MODEL.digest[:16]):
        assert said in text


def test_the_capture_names_the_most_probable_type_with_its_probability():
    _, capture, _ = encode(build_image(**name_types(**TYPES)))
    assert "fracture probability 0.87; most probable type Oblique 0.61; region Lower leg 0.97" in capture.ImageComments
    assert "drawn-type 0.2.0" in capture.DerivationDescription
    assert DISCLAIMER in capture.ImageComments


def test_the_overlay_has_a_line_for_the_type_and_is_the_same_below_it():
    radiograph = build_radiograph()
    marks = {"heatmap": None, "rois": (), "heatmap_peak": None}
    without = build_analysis(**marks)
    named = replace(without, fracture_type=name_types(**TYPES)["fracture_type"])
    others = replace(without, fracture_type=name_types(SPIRAL=0.61, OBLIQUE=0.39)["fracture_type"])
    drawn = [render_overlay(show(radiograph), each, disclaimer=DISCLAIMER) for each in (without, named, others)]
    grey = render_original(radiograph)[..., None]
    strips = [int(np.flatnonzero((picture[:256, :20] < grey[:256, :20]).any(axis=(1, 2)))[-1]) for picture in drawn]
    assert strips[0] + 8 < strips[1] == strips[2]
    assert np.array_equal(drawn[0][strips[1] + 1 :], drawn[1][strips[1] + 1 :])
    rows, columns = np.where((drawn[1] != drawn[2]).any(axis=2))
    assert rows.max() - rows.min() < 20  # the words of one line differ, and nothing else
    assert columns.max() < 200


def test_a_line_of_json_gives_the_most_probable_type():
    record = to_record(Path("a.dcm"), build_analysis(**name_types(**TYPES)))
    assert (record["fracture_type"], record["fracture_type_probability"]) == ("OBLIQUE", 0.61)
    assert record["models"][-1]["name"] == "drawn-type"


def test_without_a_type_model_nothing_is_said_of_types():
    image = build_image()
    _, capture, report = encode(image)
    text = read_words(image)
    assert "type" not in text.lower()
    assert "type" not in capture.ImageComments
    assert not any("type model" in item.ContributionDescription for item in report.ContributingEquipmentSequence)
    record = to_record(Path("a.dcm"), image.analysis)
    assert record["fracture_type"] is record["fracture_type_probability"] is None


def test_a_probability_is_never_shown_as_a_certainty_in_a_bar():
    texts, _ = read_report(build_image(**name_types(SURE=1.0, NEVER=0.0)))
    assert {format_probability(1.0), format_probability(0.0)} <= set(texts)
