"""Whatever a received header holds, the results are encoded, are valid, and lie beside their source."""

import struct
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from analyses import build_image, build_study
from builders import build_dx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag

from dicom_node.encode.results import encode_study
from dicom_node.header import tolerate
from dicom_node.settings import Encoding
from dicom_node.values import Instance
from inference.types import Decision

TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber",
    "StudyID", "ReferringPhysicianName",
)  # fmt: skip
TEXT = (
    *TYPE_2, "StudyDescription", "PatientAge", "PatientSize", "BodyPartExamined", "IssuerOfPatientID", "Laterality",
    "PixelSpacing", "PixelAspectRatio", "PatientOrientation", "SeriesNumber", "TimezoneOffsetFromUTC",
)  # fmt: skip
SOURCE = build_dx()
IMAGE = build_image(SOURCE)


def encode_raw(character_set=b"ISO_IR 192", **raw):
    """Encode a study whose header holds these bytes, as they came over the network (Implicit VR Little Endian)."""
    raw["SpecificCharacterSet"] = character_set
    elements = {elem.tag: _encode_element(elem) for elem in SOURCE if elem.keyword != "PixelData"}
    for keyword, value in raw.items():
        tag = Tag(keyword)
        elements[tag] = struct.pack("<HHL", tag.group, tag.element, len(value)) + value
    written = b"".join(elements[tag] for tag in sorted(elements))
    with tolerate():
        header = read_dataset(BytesIO(written), is_implicit_VR=True, is_little_endian=True)
    image = replace(IMAGE, instance=Instance(path=Path("received.dcm"), header=header))
    results = [
        result.ds for result in encode_study(build_study([image]), ae_title="FRACTUREAI", encodings=tuple(Encoding))
    ]
    return [dcmread(BytesIO(_save(ds))) for ds in results]


def _encode_element(elem):
    alone, file = Dataset(), DicomBytesIO()
    alone[elem.tag] = elem
    file.is_implicit_VR, file.is_little_endian = True, True
    write_dataset(file, alone)
    return file.getvalue()


def _save(ds):
    with BytesIO() as file:
        ds.save_as(file, enforce_file_format=True)
        return file.getvalue()


@pytest.mark.fault(51)
@pytest.mark.parametrize("value", [None, ""])
def test_missing_and_empty_type_2_elements_stay_empty(value):
    source = build_dx(**dict.fromkeys(TYPE_2, value))
    for result in encode_study(build_study([build_image(source)]), ae_title="FRACTUREAI"):
        assert all(not result.ds[keyword].value for keyword in TYPE_2)


@pytest.mark.fault(50)
@pytest.mark.parametrize(
    "character_set", [b"", b"ISO_IR 999", b"nonsense\\ISO 2022 IR 87", b"\\\\", b"ISO 2022 IR 159"]
)
def test_an_unknown_character_set_does_not_stop_a_result(character_set):
    assert len(encode_raw(character_set, PatientName=b"M\xfcller^J\xf8rgen")) == 6


@pytest.mark.fault(50)
def test_latin_1_without_a_declared_character_set_is_read_as_latin_1():
    assert encode_raw(b"", PatientName=b"M\xfcller^J\xf8rgen")[0].PatientName == "Müller^Jørgen"


@pytest.mark.fault(50)
def test_a_name_of_a_thousand_characters_is_cut_to_what_the_element_holds():
    for ds in encode_raw(PatientName=b"x" * 1000):
        assert ds.PatientName == "x" * 64


@pytest.mark.fault(50)
def test_control_characters_and_escape_sequences_do_not_reach_a_result():
    for ds in encode_raw(PatientName=b"Wren\r\n\x1b[31m^Jen\x00ny\x07"):
        assert ds.PatientName == "Wren[31m^Jenny"


@pytest.mark.fault(51)
def test_an_identifier_is_copied_as_it_came_however_wrong():
    long = b"A\\B" + b"x" * 71
    for ds in encode_raw(PatientID=long, AccessionNumber=b"A" * 20):
        assert ds.get_item("PatientID").value == long
        assert ds.get_item("AccessionNumber").value == b"A" * 20


@pytest.mark.fault(51)
@pytest.mark.parametrize(
    ("came", "goes"),
    [(b"1970.02.03", "19700203"), (b"19700203", "19700203"), (b"19701399", ""), (b"yesterday", ""), (b"1970", "")],
)
def test_a_date_is_copied_where_it_is_one(came, goes):
    for ds in encode_raw(PatientBirthDate=came):
        assert ds.PatientBirthDate == goes


@pytest.mark.parametrize(("came", "goes"), [(b"M ", "M"), (b"male", ""), (b"\xff", "")])
def test_a_code_is_copied_where_it_is_one(came, goes):
    for ds in encode_raw(PatientSex=came):
        assert (ds.PatientSex or "") == goes


@pytest.mark.parametrize("spacing", [b"0,15\\0,15", b"1e400\\1", b"nan\\nan", b"0.1\\0.1\\0.1", b"\x00\x00"])
def test_a_spacing_that_is_no_number_is_left_out(spacing):
    assert "PixelSpacing" not in encode_raw(PixelSpacing=spacing)[0]


def test_no_value_of_the_header_is_logged_on_the_way(caplog):
    caplog.set_level("DEBUG")
    encode_raw(
        SeriesNumber=b"canary", PatientBirthDate=b"canary", PatientID=b"canary" * 20, PatientSex=b"canary-canary-canary"
    )
    assert "canary" not in caplog.text


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from(TEXT), st.binary(max_size=90)),
    st.sampled_from([b"", b"ISO_IR 192", b"\\ISO 2022 IR 87"]),
)
def test_no_bytes_in_a_header_stop_a_result(raw, character_set):
    results = encode_raw(character_set, **raw)
    assert [ds.Modality for ds in results] == ["OT", "OT", "DOC", "SR", "PR", "KO"]
    assert all(ds.StudyInstanceUID == IMAGE.instance.header.StudyInstanceUID for ds in results)


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=80), st.text(max_size=80))
def test_no_text_from_a_model_or_a_reason_stops_a_report(reason, region):
    image = build_image(reason=reason, flags=(region,), decision=Decision.UNCERTAIN)
    assert encode_study(build_study([image]), ae_title="FRACTUREAI")
