import gc
import os
import time
from io import BytesIO

import pytest
from analyses import build_excluded, build_image, build_study
from builders import build_dx, build_sr
from pydicom import dcmread
from pydicom.uid import EncapsulatedPDFStorage, SecondaryCaptureImageStorage
from pypdf import PdfReader
from reportlab.lib.utils import ImageReader

from dicom_node.encode.encapsulated_pdf import encode_encapsulated_pdf
from dicom_node.encode.provenance import Origin
from dicom_node.encode.results import encode_study
from dicom_node.identity import DISCLAIMER
from dicom_node.values import ResultKind, ResultReference
from inference.types import Decision


def save(ds):
    with BytesIO() as file:
        ds.save_as(file, enforce_file_format=True)
        return file.getvalue()


def encode_pdf(study):
    return dcmread(BytesIO(save(encode_study(study, ae_title="FRACTUREAI")[-1].ds)))


def open_pdf(study):
    ds = encode_pdf(study)
    return PdfReader(BytesIO(ds.EncapsulatedDocument[: ds.EncapsulatedDocumentLength]))


def read_text(study):
    return "\n".join(page.extract_text() for page in open_pdf(study).pages)


def test_the_document_is_wrapped_as_a_viewer_expects_it():
    ds = encode_pdf(build_study([build_image()]))
    assert (ds.Modality, ds.MIMETypeOfEncapsulatedDocument, ds.BurnedInAnnotation) == ("DOC", "application/pdf", "YES")
    assert len(ds.EncapsulatedDocument) % 2 == 0
    assert ds.EncapsulatedDocument[: ds.EncapsulatedDocumentLength].rstrip().endswith(b"%%EOF")
    assert DISCLAIMER in ds.DocumentTitle
    assert ds.ConceptNameCodeSequence[0].CodeValue == "126000"


@pytest.mark.parametrize("document", [b"%PDF-1.4\n%%EOF\n", b"%PDF-1.4\n%%EOF\n\n"])
def test_a_document_of_odd_length_is_padded_and_its_length_said(document):
    study = build_study([build_image()])
    origin = Origin(analysis=study, ae_title="FRACTUREAI", header=study.study.instances[0].header)
    ds = encode_encapsulated_pdf(origin, document)
    assert len(ds.EncapsulatedDocument) == 16
    assert ds.EncapsulatedDocument[: ds.EncapsulatedDocumentLength] == document


def test_every_instance_of_the_study_is_a_source():
    study = build_study([build_image()], [build_excluded(build_sr(), "not an image")])
    sources = [item.ReferencedSOPInstanceUID for item in encode_pdf(study).SourceInstanceSequence]
    assert sources == [instance.sop_instance_uid for instance in study.study.instances]


def test_a_new_version_says_so_and_references_the_report_it_supersedes():
    old = [
        ResultReference(sop_class_uid=uid, sop_instance_uid=f"2.25.{n}", series_instance_uid=f"2.25.1{n}", version=2)
        for n, uid in enumerate((SecondaryCaptureImageStorage, EncapsulatedPDFStorage))
    ]
    study = build_study([build_image()], version=3, supersedes=tuple(old))
    (predecessor,) = encode_pdf(study).PredecessorDocumentsSequence
    (series,) = predecessor.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == "2.25.11"
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "2.25.1"
    assert "Version 3, supersedes version 2" in read_text(study)


def test_a_first_version_supersedes_nothing():
    study = build_study([build_image()])
    assert "PredecessorDocumentsSequence" not in encode_pdf(study)
    assert "supersedes" not in read_text(study)


def test_the_report_identifies_patient_and_study():
    source = build_dx(ReferringPhysicianName="House^Gregory", IssuerOfPatientID="CITY", AccessionNumber="ACC7")
    text = read_text(build_study([build_image(source)]))
    for said in (
        "Phantom, Drawn", "PHANTOM-1 (CITY)", "1970-01-01", "Drawn lower leg", "2026-01-02", "ACC7", "House, Gregory",
        "Fracture suspected in 1 of 1 analysed image", "Analysed 1 of 1 images received", "Lower leg", "0.87", "0.97",
        "drawn-fracture-lower-leg", "1.0.3", "b2b2b2b2b2b2b2b2", "fracture from 0.60", "no fracture below 0.20",
    ):  # fmt: skip
        assert said in text, said


def test_an_image_is_named_by_its_numbers_however_large_they_are():
    images = [build_image(build_dx(SeriesNumber=20261129, InstanceNumber=number)) for number in (1000001, 1000002)]
    text = " ".join(read_text(build_study(images)).split())
    assert "Series 20261129, image 1000001, DX" in text
    assert "Series 20261129, image 1000002, DX" in text


def test_no_fracture_is_written_never_implied():
    text = read_text(build_study([build_image(decision=Decision.NO_FRACTURE)]))
    assert "No fracture found in 1 analysed image" in text


def test_uncertain_is_written_with_its_reason_and_remarks():
    image = build_image(decision=Decision.UNCERTAIN, reason="The two halves disagree.", flags=("Header says FOOT.",))
    text = read_text(build_study([image]))
    for said in ("Uncertain in 1 of 1 analysed image", "The two halves disagree.", "Header says FOOT."):
        assert said in text


def test_what_was_not_analysed_is_listed_with_its_reason():
    why = {"reason": "no validated model for region SHOULDER", "flags": ("The header says WRIST.",)}
    failed = build_image(build_dx(InstanceNumber=2), decision=Decision.NOT_ANALYSED, **why)
    study = build_study([build_image(), failed], [build_excluded(build_sr(SeriesNumber=7), "It is not an image.")])
    text = read_text(study)
    assert "Analysed 1 of 2 images received. 1 other object in the study." in text
    assert "No validated model for region SHOULDER. The header says WRIST." in " ".join(text.split())
    assert "It is not an image." in text
    assert "Series 7, image 1, SR" in text


def test_a_study_without_images_gets_one_page_that_says_why():
    study = build_study([], [build_excluded(build_sr(), "It is not an image.")])
    results = encode_study(study, ae_title="FRACTUREAI")
    assert [one.kind for one in results] == [ResultKind.SUMMARY, ResultKind.ENCAPSULATED_PDF]
    assert len(open_pdf(study).pages) == 1
    assert "Not analysed: no image of this study could be analysed" in read_text(study)
    assert "It is not an image." in read_text(study)


def test_one_image_fits_on_one_page_even_when_much_is_said_about_it():
    flags = tuple(f"Remark number {number} about this image, one sentence long." for number in range(8))
    excluded = [build_excluded(build_sr(InstanceNumber=n), "It is not an image.") for n in range(8)]
    assert len(open_pdf(build_study([build_image(flags=flags)], excluded)).pages) == 1


def test_more_remarks_than_a_page_holds_go_on_to_the_next():
    flags = tuple(f"Remark {number}: " + "a long sentence " * 20 for number in range(80))
    excluded = [build_excluded(build_sr(InstanceNumber=n), "It is not an image. " * 30) for n in range(80)]
    text = read_text(build_study([build_image(flags=flags)], excluded))
    assert "Remark 79" in text
    assert "image 79, SR" in text


def test_the_report_says_what_the_line_of_a_box_means():
    said = {"fracture": "Overlay. Solid box: the specific", "uncertain": "Overlay. Dashed box: "}
    for decision, words in said.items():
        assert words in read_text(build_study([build_image(decision=Decision(decision))]))


def test_the_disclaimer_is_on_every_page():
    pages = open_pdf(build_study([build_image() for _ in range(4)])).pages
    assert 2 <= len(pages) <= 4
    assert all(DISCLAIMER in page.extract_text() for page in pages)


def test_original_and_overlay_of_every_image_are_in_the_report():
    pages = open_pdf(build_study([build_image(), build_image()])).pages
    assert sum(len(page.images) for page in pages) == 4


def test_twenty_images_stay_below_three_megabytes():
    assert encode_pdf(build_study([build_image() for _ in range(20)])).EncapsulatedDocumentLength < 3_000_000


def test_every_font_is_embedded():
    source = build_dx(PatientName="Müller^Ω=山田^太郎")
    for page in open_pdf(build_study([build_image(source)])).pages:
        for font in page["/Resources"]["/Font"].values():
            described = font["/DescendantFonts"][0] if "/DescendantFonts" in font else font
            assert "/FontFile2" in described["/FontDescriptor"], font["/BaseFont"]


def test_encoding_the_same_study_twice_gives_the_same_bytes():
    study = build_study([build_image(), build_image()], [build_excluded(build_sr(), "It is not an image.")])
    first = [save(result.ds) for result in encode_study(study, ae_title="FRACTUREAI")]
    time.sleep(1.1)  # a clock that leaked into a result would show: DICOM times and PDF dates count seconds
    assert [save(result.ds) for result in encode_study(study, ae_title="FRACTUREAI")] == first


@pytest.fixture
def eastern_clock(monkeypatch):
    monkeypatch.setitem(os.environ, "TZ", "EST+5")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("eastern_clock")
def test_without_an_offset_times_are_the_nodes_local_ones():
    ds = encode_pdf(build_study([build_image(build_dx(TimezoneOffsetFromUTC=None))]))
    assert (ds.ContentDate, ds.ContentTime) == ("20260102", "183005")
    assert "TimezoneOffsetFromUTC" not in ds


def test_decoded_pictures_do_not_pile_up_from_study_to_study():
    study = build_study([build_image(), build_image()])
    gc.collect()
    for _ in range(30):
        encode_study(study, ae_title="FRACTUREAI")
    assert sum(isinstance(thing, ImageReader) for thing in gc.get_objects()) < 15  # of 120 that were made
