from io import BytesIO

import numpy as np
import pytest
from analyses import MODELS, build_image, build_study
from builders import build_cr, build_dx
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node.encode.lettering import set_text
from dicom_node.encode.results import encode_study
from dicom_node.identity import DISCLAIMER, MANUFACTURER_MODEL_NAME, is_own_result
from dicom_node.values import ResultKind
from inference.overlay import render_overlay
from inference.types import Decision


def encode(*images, **attributes):
    """Encode, and read the objects back from their bytes."""
    read = []
    for result in encode_study(build_study(images, **attributes), ae_title="FRACTUREAI"):
        with BytesIO() as file:
            result.ds.save_as(file, enforce_file_format=True)
            file.seek(0)
            read.append(dcmread(BytesIO(file.getvalue())))
    return read


def captures(*images, **attributes):
    return [ds for ds in encode(*images, **attributes) if "SourceImageSequence" in ds]


def test_a_study_gives_a_summary_a_secondary_capture_for_each_image_and_a_pdf_in_that_order():
    study = build_study([build_image(), build_image()])
    kinds = [result.kind for result in encode_study(study, ae_title="FRACTUREAI")]
    capture = ResultKind.SECONDARY_CAPTURE
    assert kinds == [ResultKind.SUMMARY, capture, capture, ResultKind.ENCAPSULATED_PDF]


def test_the_pixels_are_the_overlay_byte_for_byte():
    image = build_image()
    (ds,) = captures(image)
    overlay = render_overlay(image.shown, image.analysis, disclaimer=DISCLAIMER, set_text=set_text)
    assert np.array_equal(ds.pixel_array, overlay)


def test_the_picture_is_native_rgb_with_colour_by_pixel():
    (ds,) = captures(build_image())
    assert (ds.PhotometricInterpretation, ds.PlanarConfiguration, ds.SamplesPerPixel) == ("RGB", 0, 3)
    assert (ds.BitsAllocated, ds.BitsStored, ds.HighBit) == (8, 8, 7)
    assert ds.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_geometry_is_the_sources_own():
    source = build_dx(PixelSpacing=[0.15, 0.16], ImagerPixelSpacing=[0.2, 0.21], PatientOrientation=["A", "F"])
    (ds,) = captures(build_image(source))
    assert (ds.Rows, ds.Columns) == (source.Rows, source.Columns)
    assert (ds.PixelSpacing, ds.ImagerPixelSpacing) == ([0.15, 0.16], [0.2, 0.21])
    assert ds.PatientOrientation == ["A", "F"]


def test_pixels_that_are_not_square_stay_so():
    source = build_dx(PixelAspectRatio=[2, 1], PixelSpacing=None, ImagerPixelSpacing=None)
    (ds,) = captures(build_image(source, pixel_aspect=2.0))
    assert ds.PixelAspectRatio == [2, 1]
    assert (ds.Rows, ds.Columns) == (source.Rows, source.Columns)
    assert "PixelSpacing" not in ds


@pytest.mark.parametrize("spacing", [[0, 0], [-0.1, 0.1], [0.1]])
def test_a_spacing_that_means_nothing_is_left_out(spacing):
    (ds,) = captures(build_image(build_dx(PixelSpacing=spacing, ImagerPixelSpacing=None)))
    assert "PixelSpacing" not in ds


@pytest.mark.parametrize(("source", "side"), [(build_cr(Laterality="R"), "R"), (build_dx(ImageLaterality="L"), "L")])
def test_the_side_is_the_sources(source, side):
    (ds,) = captures(build_image(source))
    assert ds.ImageLaterality == side


def test_loss_in_the_source_is_loss_in_the_capture():
    source = build_cr(
        LossyImageCompression="01", LossyImageCompressionRatio=8.25, LossyImageCompressionMethod="ISO_10918_1"
    )
    (ds,) = captures(build_image(source))
    assert (ds.LossyImageCompression, ds.LossyImageCompressionRatio) == ("01", 8.25)
    assert ds.LossyImageCompressionMethod == "ISO_10918_1"
    assert "LossyImageCompression" not in captures(build_image(build_cr()))[0]


def test_what_identifies_patient_and_study_is_the_sources():
    source = build_dx(IssuerOfPatientID="CITY", PatientAge="055Y")
    for ds in encode(build_image(source)):
        for keyword in (
            "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientAge",
            "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber",
        ):  # fmt: skip
            assert ds[keyword].value == source[keyword].value, keyword


def test_the_capture_says_what_it_is():
    (ds,) = captures(build_image())
    assert ds.ImageType == ["DERIVED", "SECONDARY"]
    assert (ds.Modality, ds.ConversionType, ds.BurnedInAnnotation) == ("OT", "WSD", "YES")
    assert DISCLAIMER in ds.ImageComments
    assert "Fracture suspected; fracture probability 0.87; region Lower leg 0.97" in ds.ImageComments
    assert DISCLAIMER in ds.DerivationDescription
    assert is_own_result(ds)


def test_the_source_is_referenced_with_its_purpose():
    source = build_dx()
    (ds,) = captures(build_image(source))
    (reference,) = ds.SourceImageSequence
    assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert reference.SpatialLocationsPreserved == "YES"
    assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    (series,) = ds.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == source.SeriesInstanceUID


def test_every_model_that_spoke_is_contributing_equipment():
    (ds,) = captures(build_image(models=MODELS[:1]))
    node, equipment = ds.ContributingEquipmentSequence
    assert node.ManufacturerModelName == MANUFACTURER_MODEL_NAME
    assert (equipment.ManufacturerModelName, equipment.SoftwareVersions) == ("drawn-region", "1.2.0")
    assert MODELS[0].digest in equipment.ContributionDescription
    (pdf,) = [ds for ds in encode(build_image(models=MODELS[:1]), build_image()) if "EncapsulatedDocument" in ds]
    named = [item.ManufacturerModelName for item in pdf.ContributingEquipmentSequence]
    assert named == [MANUFACTURER_MODEL_NAME, *(model.name for model in MODELS)]


def test_overlays_share_a_series_of_their_own_and_are_numbered():
    summary, first, second, pdf = encode(build_image(), build_image())
    assert summary.SeriesInstanceUID == first.SeriesInstanceUID == second.SeriesInstanceUID != pdf.SeriesInstanceUID
    assert (summary.InstanceNumber, first.InstanceNumber, second.InstanceNumber) == (1, 2, 3)
    assert (first.SeriesNumber, pdf.SeriesNumber) == (9001, 9002)
    assert len({ds.SOPInstanceUID for ds in (summary, first, second, pdf)}) == 4


def test_a_late_image_gives_new_series_and_new_instances():
    one, late = build_image(), build_image()
    before, after = encode(one), encode(one, late, version=2)
    assert not {ds.SOPInstanceUID for ds in before} & {ds.SOPInstanceUID for ds in after}
    assert not {ds.SeriesInstanceUID for ds in before} & {ds.SeriesInstanceUID for ds in after}
    assert {ds.SeriesNumber for ds in after} == {9003, 9004}


def test_the_order_in_which_images_came_does_not_change_uids():
    one, other = build_image(), build_image()
    forth, back = ({ds.SOPInstanceUID for ds in encode(*images)} for images in ((one, other), (other, one)))
    assert forth == back


def test_another_model_gives_other_uids():
    study = build_study([build_image()])
    uids = []
    for models in (MODELS, MODELS[:1]):
        results = encode_study(type(study)(**{**vars(study), "models": models}), ae_title="FRACTUREAI")
        uids.append({str(result.ds.SOPInstanceUID) for result in results})
    assert not uids[0] & uids[1]


def test_an_image_without_an_answer_gets_no_capture():
    results = encode(build_image(decision=Decision.NOT_ANALYSED, reason="outside scope"))
    assert [ds.Modality for ds in results] == ["OT", "DOC"]
    assert "SourceImageSequence" not in results[0]


def test_nothing_of_the_patient_is_on_the_pixels():
    uid = build_dx().SOPInstanceUID
    pictures = [
        [
            ds.PixelData
            for ds in encode(build_image(build_dx(PatientName=name, PatientID=number, SOPInstanceUID=uid)))[:2]
        ]
        for name, number in (("Wren^Jenny", "1"), ("Nightingale^Florence", "999999"))
    ]
    assert pictures[0] == pictures[1]


def test_the_body_part_is_said_where_all_images_agree():
    knee, foot = (build_image(build_dx(BodyPartExamined=part)) for part in ("KNEE", "FOOT"))
    assert captures(knee)[0].BodyPartExamined == "KNEE"
    assert all("BodyPartExamined" not in ds for ds in captures(knee, foot))


def test_times_are_the_revisions_in_the_sources_time_zone():
    for ds in encode(build_image(build_dx(TimezoneOffsetFromUTC="+0130"))):
        assert (ds.ContentDate, ds.ContentTime) == ("20260103", "010005")
        assert ds.TimezoneOffsetFromUTC == "+0130"


def test_instances_of_two_patients_under_one_study_are_never_mixed():
    ours, theirs = (build_image(build_dx(PatientID=number)) for number in ("1", "2"))
    results = encode(ours, theirs)
    assert [(ds.PatientID, ds.Modality) for ds in results] == [
        (number, modality) for number in "12" for modality in ("OT", "OT", "DOC")
    ]
    assert len({ds.SeriesInstanceUID for ds in results}) == 4
    for pdf, image in ((results[2], ours), (results[5], theirs)):
        sources = [item.ReferencedSOPInstanceUID for item in pdf.SourceInstanceSequence]
        assert sources == [image.instance.sop_instance_uid]


def test_an_issuer_that_one_instance_leaves_out_does_not_split_the_study():
    results = encode(build_image(build_dx(IssuerOfPatientID="CITY")), build_image(build_dx()))
    assert [ds.Modality for ds in results] == ["OT", "OT", "OT", "DOC"]
