"""Whatever a received header holds, the study ends in exactly one report, filed under the patient of its source."""

import logging

import pytest
from pydicom.datadict import dictionary_VR
from pydicom.tag import Tag
from result_bench import build_small_dx, patient_id_bytes, write

from dicom_node.header import texts

ISSUER = b"\xfe\xff\x00\xe0\x04\x00\x00\x00jun"
KEYWORDS = (
    "SpecificCharacterSet", "ImageType", "InstanceCreationDate", "StudyDate", "ContentDate", "StudyTime",
    "AccessionNumber", "Modality", "ConversionType", "PresentationIntentType", "Manufacturer", "ReferringPhysicianName",
    "TimezoneOffsetFromUTC", "StudyDescription", "ManufacturerModelName", "AnatomicRegionSequence", "PatientName",
    "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "IssuerOfAccessionNumberSequence",
    "PatientBirthDate", "PatientSex", "PatientAge", "PatientSize", "PatientWeight", "PatientIdentityRemoved",
    "BodyPartExamined", "ContributingEquipmentSequence", "ImagerPixelSpacing", "PixelSpacingCalibrationType",
    "ViewPosition", "StudyID", "SeriesNumber", "InstanceNumber", "PatientOrientation", "Laterality", "ImageLaterality",
    "NumberOfFrames", "PhotometricInterpretation", "Rows", "Columns", "PixelAspectRatio", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "PixelSpacing", "PixelPaddingValue", "PixelPaddingRangeLimit", "WindowCenter",
    "WindowWidth", "RescaleIntercept", "RescaleSlope", "VOILUTFunction", "VOILUTSequence", "ModalityLUTSequence",
    "PresentationLUTShape", "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod",
    "SamplesPerPixel", "BurnedInAnnotation", "TypeOfPatientID",
)  # fmt: skip
HOSTILE = {
    "an unknown VR": ("ZZ", b"canary"),
    "a binary VR of a wrong length": ("US", b"canary\0"),
    "a float VR of a wrong length": ("FD", b"canary"),
    "bytes": ("OB", b"canary"),
    "UN that does not parse": ("UN", ISSUER),
    "a sequence that does not parse": ("SQ", ISSUER),
    "an empty sequence": ("SQ", b""),
    "an over-long text": (None, b"canary" * 2000),
    "undecodable text": (None, b"\xff\xfe\x1b$B\xe9\\\x1b"),
    "nothing": (None, b""),
    "control characters": (None, b"\x00\n\x1b[31m\\\\\\"),
    "a tag as value": ("AT", b"can"),
}


def spoil(ds, keyword, fault):
    vr, value = HOSTILE[fault]
    return write(ds, {Tag(keyword): (vr or dictionary_VR(keyword), value)})


@pytest.mark.parametrize("fault", HOSTILE)
def test_no_element_of_a_header_keeps_a_study_from_its_report(node, fault, caplog):
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)  # as the command line does
    caplog.set_level("DEBUG", logger="dicom_node")
    for keyword in KEYWORDS:
        ds = build_small_dx()
        node.receive(ds, spoil(ds, keyword, fault))
        *overlays, report = node.make(ds.StudyInstanceUID)
        assert report.Modality == "DOC", keyword
        assert all(overlay.Modality == "OT" for overlay in overlays), keyword
        assert {patient_id_bytes(result) for result in (*overlays, report)} == {b"PHANTOM-1"}, keyword
        assert len(node.findings) == 1, keyword
    # Each reader copes by itself: nothing took the way that is there for the unforeseen.
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("vr", "value"), [("ZZ", b"X-7 "), ("US", b"X-7 "), ("OB", b"X-7 "), ("UN", b"X-7 "), ("PN", b"X-7 ")]
)
def test_a_report_is_filed_by_the_bytes_of_the_patient_id_whatever_vr_stands_beside_them(node, vr, value):
    ds = build_small_dx()
    node.receive(ds, write(ds, {Tag("PatientID"): (vr, value)}))
    *overlays, report = node.make(ds.StudyInstanceUID)
    assert {patient_id_bytes(result) for result in (*overlays, report)} == {b"X-7"}


@pytest.mark.parametrize("vr", ["ZZ", "US", "AT", "DS", "SQ"])
def test_uids_and_private_elements_of_a_wrong_vr_do_not_lose_the_patient(node, vr):
    for tag in (*map(Tag, ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")), Tag(0x00091001)):
        ds = build_small_dx()
        hostile = {Tag(0x00090010): (vr, b"creator"), Tag("SpecificCharacterSet"): ("AT", b"junk")}
        node.receive(ds, write(ds, hostile | {tag: (vr, b"1.2")}))
        *_, report = node.make(ds.StudyInstanceUID)
        assert patient_id_bytes(report) == b"PHANTOM-1"


@pytest.mark.parametrize("declared", [b"", b"ISO_IR 6 ", b"ISO_IR 192", b"ISO_IR 87 ", b"\\ISO 2022 IR 87"])
@pytest.mark.parametrize("value", [b"M\xfcller", b"\xff\xfe\\\xe9!"])
def test_a_patient_id_that_does_not_decode_goes_back_in_its_own_bytes_and_character_set(node, declared, value):
    ds = build_small_dx()
    charset = "CS", declared
    node.receive(ds, write(ds, {Tag("SpecificCharacterSet"): charset, Tag("PatientID"): ("LO", value)}))
    *overlays, report = node.make(ds.StudyInstanceUID)
    known = "" if declared == b"ISO_IR 87 " else declared.decode().strip()
    assert overlays
    for result in (*overlays, report):
        assert patient_id_bytes(result) == value
        assert "\\".join(texts(result, "SpecificCharacterSet")) == known


@pytest.mark.parametrize(
    ("declared", "value", "text"),
    [
        (b"ISO_IR 100", b"M\xfcller", "Müller"),
        (b"ISO_IR 192", "Жук".encode(), "Жук"),
        (b"ISO 2022 IR 6\\ISO 2022 IR 87", b"\x1b$B;3ED\x1b(B", "山田"),
    ],
)
def test_a_patient_id_that_decodes_is_written_in_unicode(node, declared, value, text):
    ds = build_small_dx()
    value += b" " * (len(value) % 2)
    hostile = {Tag("SpecificCharacterSet"): ("CS", declared), Tag("PatientID"): ("LO", value)}
    node.receive(ds, write(ds, hostile))
    *_, report = node.make(ds.StudyInstanceUID)
    assert (report.SpecificCharacterSet, report.PatientID) == ("ISO_IR 192", text)


def test_two_patient_ids_that_differ_only_where_they_do_not_decode_are_two_patients(node):
    first, second = build_small_dx(), build_small_dx()
    second.StudyInstanceUID = first.StudyInstanceUID
    node.receive(first, write(first, {Tag("PatientID"): ("LO", b"M\xfc")}))
    node.receive(second, write(second, {Tag("PatientID"): ("LO", b"M\xfd")}))
    filed = [patient_id_bytes(report) for report in node.make(first.StudyInstanceUID)]
    assert sorted(filed) == [b"M\xfc", b"M\xfd"]


def test_a_header_that_stops_to_parse_in_the_middle_still_names_its_patient(node):
    ds = build_small_dx()
    whole = write(ds)
    node.receive(ds, whole[: whole.index(b"LEG")] + b"\x18\x00\x50\x00SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x99\xe0junk")
    *_, report = node.make(ds.StudyInstanceUID)
    assert patient_id_bytes(report) == b"PHANTOM-1"
    assert node.findings[0].decision == "not analysed"
