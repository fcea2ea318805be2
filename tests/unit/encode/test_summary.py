"""The summary: first of the result series, the answer in letters that a thumbnail shows, nothing left unsaid."""

from dataclasses import replace

import numpy as np
import pytest
from analyses import MODELS, build_excluded, build_image, build_study
from builders import build_dx, build_sr
from PIL import Image, ImageDraw

from dicom_node.encode import lettering
from dicom_node.encode.report.wording import NEVER_CAME
from dicom_node.encode.results import encode_study
from dicom_node.identity import DISCLAIMER
from dicom_node.values import Expectation, ListedImage, ResultKind
from inference.types import Decision, FracturePrediction

STUDY = {"StudyInstanceUID": "1.2.3"}
BETWEEN = "between the sensitive and the specific operating point"


def negative(**attributes):
    probability = FracturePrediction(probability=0.03, sensitive_threshold=0.2, specific_threshold=0.6)
    found = {
        "decision": Decision.NO_FRACTURE,
        "rois": (),
        "heatmap_peak": None,
        "heatmap": None,
        "fracture": probability,
    }
    return build_image(build_dx(**STUDY, **attributes), **found)


def uncertain(**attributes):
    return build_image(build_dx(**STUDY, **attributes), decision=Decision.UNCERTAIN, reason=BETWEEN)


def not_analysed(**attributes):
    reason = "outside scope: more like a chest than like a limb"
    return build_image(build_dx(**STUDY, **attributes), decision=Decision.NOT_ANALYSED, reason=reason)


@pytest.fixture
def lines(monkeypatch):
    """What is drawn, with the letters it is drawn in: pictures cannot be asked."""
    drawn = []
    draw = ImageDraw.ImageDraw.text

    def note(canvas, at, text, *args, font, **options):
        if canvas.im.size[0] == 1024:  # overlays have letters too
            drawn.append((text, font.size, at))
        return draw(canvas, at, text, *args, font=font, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    return drawn


def encode(study):
    first = encode_study(study, ae_title="NODE")[0]
    assert first.kind is ResultKind.SUMMARY
    return first.ds


def said(lines):
    return " ".join(text for text, _, _ in lines)


@pytest.mark.parametrize(
    ("images", "answer", "about"),
    [
        ([build_image(build_dx(**STUDY)), negative()], ("Fracture", "suspected"), "in 1 of 2 analysed images"),
        ([negative(), uncertain()], ("Uncertain",), "in 1 of 2 analysed images"),
        ([negative()], ("No fracture", "found"), "in 1 analysed image"),
        ([negative(), not_analysed()], ("No fracture", "found"), "in 1 analysed image; 1 not analysed"),
        ([not_analysed()], ("Not analysed",), "no image of this study could be analysed"),
    ],
)
def test_the_answer_is_written_so_large_that_a_thumbnail_of_128_pixels_shows_it(lines, images, answer, about):
    ds = encode(build_study(images))
    written = lines[: len(answer)]
    assert tuple(text for text, _, _ in written) == answer
    assert min(size for _, size, _ in written) * 128 / max(ds.Rows, ds.Columns) >= 9
    assert about in said(lines)
    assert DISCLAIMER in said(lines)


def test_every_image_has_a_row_with_finding_probability_region_and_where_it_is_uncertain(lines):
    encode(build_study([negative(InstanceNumber=1), uncertain(InstanceNumber=2)]))
    text = said(lines)
    rows = [
        "No fracture found 0.03 Lower leg 0.97 1: Series 1, image 1, DX, AP, left",
        "Uncertain 0.87 Lower leg 0.97 2: Series 1, image 2, DX, AP, left",
    ]
    assert all(row in text for row in rows)
    assert text.index(rows[1]) < text.index(rows[0])  # the gravest first
    assert text.count("No fracture below 0.20, fracture from 0.60") == 2
    assert "Between the sensitive and the specific operating point." in text


def test_the_thumbnail_is_the_overlay():
    """In the column of thumbnails, below the answer, there is the heat of the overlay and nothing else that is warm."""
    for image, hot in ((build_image(), True), (negative(), False)):
        picture = encode(build_study([image])).pixel_array[560:, :170].astype(int)
        assert (picture[..., 0] - picture[..., 2] > 90).any() is np.bool_(hot)


def test_what_was_left_out_is_there_with_its_reason(lines):
    study = build_study([negative(), not_analysed(InstanceNumber=2)], [build_excluded(build_sr(**STUDY), "No image.")])
    missing = ListedImage(sop_instance_uid="1", series_instance_uid="2", modality="DX", series_number=1)
    expectation = Expectation(archive="pacs", listed=3, missing=(missing,))
    encode(replace(study, study=replace(study.study, expectation=expectation)))
    text = said(lines)
    assert "in 1 analysed image; 2 not analysed" in text
    assert "Analysed 1 of 3 images; never came: series 1, image ?. 1 other object in the study." in text
    assert "Series 1, image 2, DX, AP, left: Outside scope: more like a chest than like a limb." in text
    assert "SR: No image." in text
    assert NEVER_CAME in text


def test_what_the_header_says_of_an_image_without_a_model_is_there(lines):
    """It may be the only hint that the region was taken for another."""
    remarks = (
        "The region is in doubt: SHOULDER with a confidence of 51%.",
        "The header says WRIST, but the image looks like SHOULDER.",
    )
    image = not_analysed()
    encode(build_study([replace(image, analysis=replace(image.analysis, flags=remarks))]))
    assert " ".join(("more like a chest than like a limb.", *remarks)) in said(lines)


def test_the_models_and_their_versions_are_named(lines):
    encode(build_study([build_image()]))
    for model in MODELS:
        assert f"{model.name} {model.version} ({model.task})" in said(lines)


def test_a_large_study_names_the_gravest_and_counts_the_rest(lines):
    images = [negative(InstanceNumber=n) for n in range(1, 12)] + [build_image(build_dx(**STUDY, InstanceNumber=12))]
    excluded = [build_excluded(build_sr(**STUDY), "No image.") for _ in range(8)]
    ds = encode(build_study(images, excluded))
    text = said(lines)
    assert "Fracture suspected 0.87 Lower leg 0.97 12:" in text
    assert "and 4 more in the report, none graver than: No fracture found" in text
    assert "and 2 more, which the report names" in text
    assert ds.Rows < 2600


def test_a_later_version_says_so(lines):
    ds = encode(build_study([negative()], version=2))
    assert "Version 2." in said(lines)
    assert "Version 2." in ds.ImageComments


def test_the_same_study_gives_the_same_pixels():
    study = build_study([negative()])
    assert encode(study).PixelData == encode(study).PixelData


def test_text_without_blanks_or_without_end_stays_on_the_picture(lines):
    reason = "x" * 400 + " " + "漢字" * 300
    encode(build_study([build_image(build_dx(**STUDY), decision=Decision.UNCERTAIN, reason=reason)]))
    for text, size, (x, _) in lines:
        letters = lettering.Letters(size=size)
        assert x + lettering.measure(text, letters) <= 1024


def test_every_script_prints_and_an_unknown_character_is_seen_to_be_one():
    def draw(text):
        picture = Image.new("L", (200, 60))
        lettering.draw_line(ImageDraw.Draw(picture), (2, 2), text, lettering.Letters(size=40, colour=255))
        return np.asarray(picture)

    for text in ("Fractura ñ", "Brüche ß", "Перелом ї", "骨折なし", "Κάταγμα", "كسر"):
        ink = draw(text)
        boxes = draw("\N{REPLACEMENT CHARACTER}" * len(text))
        assert ink.any()
        assert not np.array_equal(ink, boxes)
    assert np.array_equal(draw("𒀀"), draw("\N{REPLACEMENT CHARACTER}"))


@pytest.mark.parametrize(
    ("sides", "said"),
    [("R", "R"), ("RR", "R"), ("LR", "B"), ("UR", None), ("RU", None), ("BR", "B"), ("LRU", "B"), ("R-", None)],
)
def test_the_summary_is_of_both_sides_only_where_left_and_right_are_shown(sides, said):
    """A pelvis, which is unpaired, beside a right hip is no picture of both sides, nor is a hand of no known side."""
    images = [negative(ImageLaterality=None if side == "-" else side) for side in sides]
    assert encode(build_study(images)).get("ImageLaterality") == said
