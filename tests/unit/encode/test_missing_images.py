from dataclasses import replace

import pytest
from analyses import build_excluded, build_image, build_study
from builders import build_dx, build_sr
from report_pages import open_pages

from dicom_node.encode.results import encode_study
from dicom_node.values import Expectation, ListedImage


def listed(series=1, number=3, **attributes):
    values = {"sop_instance_uid": f"1.2.{number}", "series_instance_uid": "1.2", "modality": "DX"}
    return ListedImage(**values | {"series_number": series, "instance_number": number} | attributes)


def build_expecting(*missing, listed=3, images=2, excluded=()):
    study = build_study([build_image(build_dx(InstanceNumber=number + 1)) for number in range(images)], excluded)
    expectation = Expectation(archive="pacs", listed=listed, missing=missing)
    return replace(study, study=replace(study.study, expectation=expectation))


def read_report(study):
    *_, report = encode_study(study, ae_title="FRACTUREAI")
    return " ".join(" ".join(page.extract_text() for page in open_pages(report.ds)).split())


def test_the_report_says_that_all_images_have_come():
    assert "Analysed 3 of 3 images; the archive lists no other radiograph." in read_report(build_expecting(images=3))


def test_the_report_names_the_image_that_never_came():
    text = read_report(build_expecting(listed()))
    assert "Analysed 2 of 3 images; never came: series 1, image 3." in text
    assert "Not analysed" in text
    assert "Series 1, image 3, DX The archive lists it, but it never came." in text


def test_many_images_that_never_came_are_all_named():
    text = read_report(build_expecting(*(listed(number=number) for number in range(3, 8)), listed=7))
    assert "Analysed 2 of 7 images; 5 never came, they are named below." in text
    for number in range(3, 8):
        assert f"Series 1, image {number}, DX" in text


@pytest.mark.parametrize(("series", "number", "said"), [(None, 4, "series ?, image 4"), (2, None, "series 2, image ?")])
def test_an_image_whose_numbers_the_archive_does_not_say_is_named_by_what_it_says(series, number, said):
    assert f"never came: {said}." in read_report(build_expecting(listed(series, number)))


def test_the_report_says_that_the_archive_could_not_be_asked():
    text = read_report(build_expecting(listed=None))
    assert "Analysed 2 of 2 images received; the archive could not be asked how many there are." in text


def test_the_report_says_that_the_archive_lists_none_of_the_images():
    assert "Analysed 2 of 2 images received; the archive lists none of them." in read_report(build_expecting(listed=0))


def test_a_report_is_no_image_and_does_not_count_as_one():
    text = read_report(build_expecting(excluded=[build_excluded(build_sr(), "It is not an image.")], listed=2))
    assert "Analysed 2 of 2 images; the archive lists no other radiograph. 1 other object in the study." in text
