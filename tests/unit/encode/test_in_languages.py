"""The same answer in every language: other words, the same facts, objects of their own."""

from io import BytesIO

import numpy as np
import pytest
from analyses import build_excluded, build_image, build_study
from builders import build_dx
from PIL import ImageDraw
from pypdf import PdfReader

from dicom_node.encode.results import encode_study
from dicom_node.languages import LANGUAGES, load_language
from dicom_node.settings import Encoding
from dicom_node.values import WORDED, ResultKind
from inference.phrases import Phrase
from inference.types import Decision, RegionPrediction

OTHERS = [code for code in LANGUAGES if code != "en"]


def study():
    left_out = build_excluded(build_dx(StudyInstanceUID="1.2.3"), Phrase("It is a localiser."))
    flags = (Phrase("The heat map is withheld: {objection}.", objection=Phrase("no place in it stands out")),)
    return build_study([build_image(build_dx(StudyInstanceUID="1.2.3"), flags=flags)], [left_out])


@pytest.fixture(scope="module")
def results():
    analysis = study()
    return {
        code: encode_study(analysis, ae_title="NODE", encodings=tuple(Encoding), languages=(code,))
        for code in LANGUAGES
    }


def find(results, kind):
    return next(result.ds for result in results if result.kind is kind)


def read_report(results):
    ds = find(results, ResultKind.ENCAPSULATED_PDF)
    return PdfReader(BytesIO(ds.EncapsulatedDocument))


@pytest.mark.parametrize("code", OTHERS)
def test_the_report_says_it_in_the_language(results, code):
    report, language = read_report(results[code]), load_language(code)
    text = "".join("".join(page.extract_text() for page in report.pages).split())
    for said in ("It is a localiser.", "Fracture suspected", "Research use only. Not for diagnosis.", "Birth date"):
        assert "".join(language.say(said).split()) in text, said
        assert "".join(said.split()) not in text, said
    assert report.trailer["/Root"]["/Lang"] == code


@pytest.mark.parametrize("code", OTHERS)
def test_summary_and_overlay_are_other_pictures_of_the_same_size(results, code):
    for kind in (ResultKind.SUMMARY, ResultKind.SECONDARY_CAPTURE):
        english, other = find(results["en"], kind), find(results[code], kind)
        assert english.pixel_array.shape[1] == other.pixel_array.shape[1]
        rows = min(english.Rows, other.Rows)
        assert not np.array_equal(english.pixel_array[:rows], other.pixel_array[:rows])


@pytest.mark.parametrize("code", OTHERS)
def test_what_is_read_is_an_object_of_its_own_and_the_rest_the_same(results, code):
    english, other = results["en"], results[code]
    assert [one.kind for one in english] == [one.kind for one in other]
    for mine, theirs in zip(english, other, strict=True):
        worded = mine.kind in WORDED
        assert (mine.ds.SOPInstanceUID != theirs.ds.SOPInstanceUID) is worded
        assert (mine.ds.SeriesInstanceUID != theirs.ds.SeriesInstanceUID) is worded
        assert (mine.language, theirs.language) == (("en", code) if worded else ("", ""))


@pytest.mark.parametrize("code", OTHERS)
def test_headers_stay_english(results, code):
    for keyword in ("SeriesDescription", "ImageComments", "DocumentTitle", "DerivationDescription"):
        for mine, theirs in zip(results["en"], results[code], strict=True):
            assert mine.ds.get(keyword) == theirs.ds.get(keyword)


def test_several_languages_at_once_share_what_is_in_none():
    made = encode_study(study(), ae_title="NODE", encodings=tuple(Encoding), languages=("de", "ja"))
    uids = [one.ds.SOPInstanceUID for one in made]
    assert len(set(uids)) == len(uids)
    assert [one.language for one in made if one.kind is ResultKind.SUMMARY] == ["de", "ja"]
    assert [one.language for one in made if one.kind is ResultKind.STRUCTURED_REPORT] == [""]


@pytest.mark.parametrize("code", LANGUAGES)
def test_answers_heads_and_regions_have_room_in_the_summary(code, monkeypatch):
    drawn = []
    draw = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda canvas, at, text, *args, **how: drawn.append(text) or draw(canvas, at, text, *args, **how),
    )
    region = RegionPrediction(region="ANKLE_FOOT", confidence=0.999, probabilities={"ANKLE_FOOT": 0.999})
    decisions = (Decision.FRACTURE, Decision.UNCERTAIN, Decision.NO_FRACTURE)
    images = [
        build_image(build_dx(StudyInstanceUID="1.2.3"), decision=one, region=region, rois=()) for one in decisions
    ]
    encode_study(build_study(images), ae_title="NODE", languages=(code,))
    assert [text for text in drawn if "…" in text] == []
