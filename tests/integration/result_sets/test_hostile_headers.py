"""Whatever a received header holds, the study ends in exactly one report, filed under the patient of its source."""

import json
import logging
import subprocess
from contextlib import contextmanager

import httpx
import pytest
from pydicom.datadict import dictionary_VR
from pydicom.tag import Tag
from result_bench import build_small_dx, patient_id_bytes, write
from running import wait_for

from dicom_node.demo.archives import find_free_port
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


AMBIGUOUS = [
    (b"", b"M\xfcller"),
    (b"ISO_IR 192", b"M\xfcller"),
    (b"ISO_IR 192", b"\xff\xfe\\x"),
    (b"ISO_IR 192", "Жук".encode()),
    (b"ISO_IR 100", b"M\xfcller"),
    (b"ISO_IR 87 ", b"M\xfcller"),  # known, but never alone
    (b"ISO_IR 999", b"M\xfcller"),
    (b"GB18030 ", b"\xff\xfe"),
    (b"\\ISO 2022 IR 87", b"M\xfcller"),
    (b"ISO 2022 IR 6\\ISO 2022 IR 87 ", b"\x1b$B;3ED\x1b(B"),
    (b"ISO_IR 13 ", b"A~\xd4\xcf"),
    (b"ISO_IR 13 ", b"A~B "),
]
"""Character set and Patient ID: bytes that archives read in different ways, or not at all."""


@pytest.mark.fault(50, 51)
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
@pytest.mark.parametrize("charset", [("AT", b"junk"), ("SQ", b"0"), ("CS", ISSUER)])
def test_uids_and_private_elements_of_a_wrong_vr_do_not_lose_the_patient(node, vr, charset):
    for tag in (*map(Tag, ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")), Tag(0x00091001)):
        ds = build_small_dx()
        hostile = {Tag(0x00090010): (vr, b"creator"), Tag("SpecificCharacterSet"): charset}
        node.receive(ds, write(ds, hostile | {tag: (vr, b"1.2")}))
        *_, report = node.make(ds.StudyInstanceUID)
        assert patient_id_bytes(report) == b"PHANTOM-1"


@pytest.mark.parametrize(("declared", "value"), AMBIGUOUS)
def test_a_patient_id_that_is_not_plain_goes_back_in_its_own_bytes_and_character_set(node, declared, value):
    ds = build_small_dx(PatientName="Wren^Jenny")
    node.receive(ds, write(ds, {Tag("SpecificCharacterSet"): ("CS", declared), Tag("PatientID"): ("LO", value)}))
    *overlays, report = node.make(ds.StudyInstanceUID)
    assert overlays
    for result in (*overlays, report):
        assert patient_id_bytes(result) == value.rstrip()
        assert "\\".join(texts(result, "SpecificCharacterSet")) == declared.decode().strip()
        assert result.PatientName == "Wren^Jenny"


def test_a_plain_patient_id_leaves_the_result_in_unicode(node):
    ds = build_small_dx(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jørgen", PatientID="MJ-1")
    node.receive(ds)
    *_, report = node.make(ds.StudyInstanceUID)
    assert (report.SpecificCharacterSet, report.PatientName) == ("ISO_IR 192", "Müller^Jørgen")


def test_the_same_patient_id_in_two_character_sets_is_one_patient(node):
    first, second = build_small_dx(SpecificCharacterSet="ISO_IR 100"), build_small_dx()
    second.StudyInstanceUID = first.StudyInstanceUID
    node.receive(first, write(first, {Tag("PatientID"): ("LO", "Müller".encode("latin-1"))}))
    node.receive(second, write(second, {Tag("PatientID"): ("LO", "Müller ".encode())}))
    assert [ds.Modality for ds in node.make(first.StudyInstanceUID)] == ["OT", "OT", "OT", "DOC"]


@pytest.mark.orthanc
def test_orthanc_files_every_result_under_patient_and_study_of_its_source(node, tmp_path):
    with running_orthanc(tmp_path / "orthanc") as upload:
        for declared, value in AMBIGUOUS:
            ds = build_small_dx()
            hostile = {Tag("SpecificCharacterSet"): ("CS", declared), Tag("PatientID"): ("LO", value)}
            source = upload(node.receive(ds, write(ds, hostile)))
            results = [upload(path) for path in node.paths(ds.StudyInstanceUID)]
            assert {one["ParentPatient"] for one in results} == {source["ParentPatient"]}, (declared, value)
            assert {one["ParentStudy"] for one in results} == {source["ParentStudy"]}, (declared, value)


@contextmanager
def running_orthanc(folder):
    """Run an Orthanc of its own; gives the function that uploads a file and returns where Orthanc put it."""
    folder.mkdir()
    port = find_free_port()
    configuration = {"StorageDirectory": str(folder), "HttpPort": port, "DicomServerEnabled": False}
    (folder / "orthanc.json").write_text(json.dumps(configuration | {"AuthenticationEnabled": False}))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            wait_for("Orthanc answers", lambda: answers(client))
            yield lambda path: client.post("/instances", content=path.read_bytes()).raise_for_status().json()
    finally:
        process.terminate()
        process.wait(30)


def answers(client):
    try:
        return client.get("/system").is_success
    except httpx.TransportError:
        return False


@pytest.mark.fault(28, 51)
def test_two_patient_ids_that_differ_only_where_they_do_not_decode_are_two_patients(node):
    first, second = build_small_dx(), build_small_dx()
    second.StudyInstanceUID = first.StudyInstanceUID
    node.receive(first, write(first, {Tag("PatientID"): ("LO", b"M\xfc")}))
    node.receive(second, write(second, {Tag("PatientID"): ("LO", b"M\xfd")}))
    filed = [patient_id_bytes(report) for report in node.make(first.StudyInstanceUID)]
    assert sorted(filed) == [b"M\xfc", b"M\xfc", b"M\xfd", b"M\xfd"]


def test_a_header_that_stops_to_parse_in_the_middle_still_names_its_patient(node):
    ds = build_small_dx()
    whole = write(ds)
    node.receive(ds, whole[: whole.index(b"LEG")] + b"\x18\x00\x50\x00SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x99\xe0junk")
    *_, report = node.make(ds.StudyInstanceUID)
    assert patient_id_bytes(report) == b"PHANTOM-1"
    assert node.findings[0].decision == "not analysed"


def test_a_character_set_that_is_none_is_not_copied_beside_a_patient_id_that_needs_one(node):
    ds = build_small_dx()
    node.receive(ds, write(ds, {Tag("SpecificCharacterSet"): ("CS", ISSUER), Tag("PatientID"): ("LO", b"M\xfcller")}))
    *_, report = node.make(ds.StudyInstanceUID)
    assert "SpecificCharacterSet" not in report
    assert patient_id_bytes(report) == b"M\xfcller"
