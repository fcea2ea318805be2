import logging
from pathlib import Path

import pytest
from analysing import CLEAR, ScriptedPipeline, stored, study_of
from builders import build_cr, build_dx, build_sr, compress, phantom
from pydicom.uid import JPEG2000Lossless

from dicom_node.analyse.analysis import analyse_instance, analyse_study
from dicom_node.assemble.selection import select_radiographs
from dicom_node.values import Instance
from inference.errors import UnsupportedImageError
from inference.pipeline import Pipeline
from inference.testing import build_tiny_bundles
from inference.types import Decision, Radiograph, RadiographAnalysis

QUOTED = "Unmistakable^Patient"


def truncated(instance: Instance) -> Instance:
    instance.path.write_bytes(instance.path.read_bytes()[:-5000])
    return instance


def test_every_radiograph_is_analysed_and_the_rest_keeps_its_reason(tmp_path: Path) -> None:
    images = (build_dx(phantom(50, 40)), build_sr(), build_cr(phantom(60, 30, bits=10)))
    study = study_of(*(stored(ds, tmp_path) for ds in images))
    pipeline = ScriptedPipeline()

    analysis = analyse_study(study, select_radiographs(study), pipeline)

    assert pipeline.shown == [(50, 40), (60, 30)]
    assert [image.analysis for image in analysis.images] == [CLEAR, CLEAR]
    assert [image.instance for image in analysis.images] == [study.instances[0], study.instances[2]]
    assert [left_out.instance for left_out in analysis.excluded] == [study.instances[1]]
    assert (analysis.study, analysis.models) == (study, pipeline.models)


@pytest.mark.fault(33)
def test_a_radiograph_that_cannot_be_decoded_does_not_lose_the_others(tmp_path: Path) -> None:
    study = study_of(truncated(stored(build_dx(), tmp_path)), stored(build_dx(), tmp_path))

    broken, sound = analyse_study(study, select_radiographs(study), ScriptedPipeline()).images

    assert broken.shown is None
    assert broken.analysis.decision is Decision.NOT_ANALYSED
    assert broken.analysis.reason.startswith("The image could not be decoded: ")
    assert sound.analysis == CLEAR


def test_an_image_that_the_models_do_not_accept_is_not_analysed_with_their_reason(tmp_path: Path) -> None:
    def refuse(_: Radiograph) -> RadiographAnalysis:
        raise UnsupportedImageError("it has fewer than 32 rows")

    image = analyse_instance(stored(build_dx(), tmp_path), ScriptedPipeline(refuse))

    assert image.shown is not None
    assert image.analysis.decision is Decision.NOT_ANALYSED
    assert image.analysis.reason == "The models do not accept the image: it has fewer than 32 rows."


@pytest.mark.fault(64)
def test_a_model_that_fails_on_one_image_is_reported_without_what_its_exception_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Radiograph) -> RadiographAnalysis:
        raise ZeroDivisionError(QUOTED)

    with caplog.at_level(logging.DEBUG):
        image = analyse_instance(stored(build_dx(), tmp_path), ScriptedPipeline(fail))

    assert image.analysis.decision is Decision.NOT_ANALYSED
    assert image.analysis.reason == "The models failed on the image (ZeroDivisionError)."
    assert "in fail" in caplog.text
    assert QUOTED not in caplog.text + image.analysis.reason


@pytest.mark.parametrize(
    ("body_part", "flags"),
    [
        ("HAND", ("A remark.", "The header says HAND, but the image looks like LEG.")),
        ("KNEE", ("A remark.",)),
        ("EXTREMITY", ("A remark.",)),
        ("", ("A remark.",)),
    ],
)
def test_a_header_that_names_another_body_part_than_the_pixels_show_is_flagged(
    body_part: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    image = analyse_instance(stored(build_dx(BodyPartExamined=body_part), tmp_path), ScriptedPipeline())

    assert image.analysis.flags == flags


@pytest.mark.fault(44)
def test_an_image_whose_header_contradicts_itself_about_black_and_white_is_flagged(tmp_path: Path) -> None:
    ds = build_dx(PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="IDENTITY")

    image = analyse_instance(stored(ds, tmp_path), ScriptedPipeline())

    assert "contradicts itself" in image.analysis.flags[-1]


@pytest.mark.fault(44)
def test_twins_are_answered_alike_by_real_models_and_the_hottest_spot_is_the_planted_square(tmp_path: Path) -> None:
    pipeline = Pipeline.load(build_tiny_bundles(tmp_path / "bundles", region="LEG"))
    pixels = phantom(320, 240)
    pixels[60:140, 150:230] = 4095
    native = build_dx(pixels)
    negative = build_dx(4095 - pixels, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")
    twins = [stored(ds, tmp_path) for ds in (native, compress(negative, JPEG2000Lossless))]
    study = study_of(*twins)

    one, two = (image.analysis for image in analyse_study(study, select_radiographs(study), pipeline).images)

    assert (one.decision, one.region) == (two.decision, two.region)
    assert one.fracture is not None
    assert two.fracture is not None
    assert one.fracture.probability == pytest.approx(two.fracture.probability, abs=1e-3)
    assert one.heatmap_peak == two.heatmap_peak
    assert one.heatmap_peak is not None
    x, y = one.heatmap_peak
    assert 150 <= x < 230
    assert 60 <= y < 140
