"""Names go through whole: from every character set into the results, and onto the page."""

from io import BytesIO

import pytest
from analyses import build_image, build_study
from builders import build_dx
from pydicom import dcmread
from pypdf import PdfReader

from dicom_node.encode.results import encode_study

NAMES = [
    ("ISO_IR 100", "Müller^Jørgen", "Müller, Jørgen"),
    ("ISO_IR 101", "Łącki^Żółw", "Łącki, Żółw"),
    ("ISO_IR 144", "Щедрин^Юлия", "Щедрин, Юлия"),
    ("ISO_IR 126", "Διονυσιος^Άννα", "Διονυσιος, Άννα"),
    (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou / 山田 太郎 / やまだ たろう"),
    (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう", "山田 太郎"),
    (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동", "Hong, Gildong / 洪 吉洞 / 홍 길동"),
    ("GB18030", "Wang^XiaoDong=王^小东", "Wang, XiaoDong / 王 小东"),
    ("ISO_IR 192", "Wang^XiaoDong=王^小東=", "王 小東"),
    ("ISO_IR 127", "قباني^لنزار", None),
    ("ISO_IR 138", "שרון^דבורה", None),
]


def encode(**attributes):
    results = encode_study(build_study([build_image(build_dx(**attributes))]), ae_title="FRACTUREAI")
    read = []
    for result in results:
        with BytesIO() as file:
            result.ds.save_as(file, enforce_file_format=True)
            read.append(dcmread(BytesIO(file.getvalue())))
    return read


def read_page(ds):
    return PdfReader(BytesIO(ds.EncapsulatedDocument)).pages[0].extract_text()


@pytest.mark.fault(50)
@pytest.mark.parametrize(("character_set", "name", "_printed"), NAMES)
def test_a_name_survives_in_every_result(character_set, name, _printed):
    for ds in encode(SpecificCharacterSet=character_set, PatientName=name):
        assert ds.SpecificCharacterSet == "ISO_IR 192"
        assert ds.PatientName == name.rstrip("=")


@pytest.mark.parametrize(("character_set", "name", "printed"), [row for row in NAMES if row[2]])
def test_a_name_is_printed_so_that_it_can_be_read_and_found(character_set, name, printed):
    *_, pdf = encode(SpecificCharacterSet=character_set, PatientName=name)
    assert printed.replace(" ", "") in "".join(read_page(pdf).split())


@pytest.mark.fault(50)
def test_right_to_left_names_are_printed_joined_and_in_reading_order():
    *_, pdf = encode(SpecificCharacterSet="ISO_IR 127", PatientName="علي")
    assert "ﻋﻠﻲ" in read_page(pdf)  # initial, medial and final form; the reader turns the drawn order round


def test_a_character_that_no_font_has_is_printed_as_the_replacement_character():
    *_, pdf = encode(PatientName="𒀀^Ann")
    assert "\N{REPLACEMENT CHARACTER}, Ann" in read_page(pdf)
    assert pdf.PatientName == "𒀀^Ann"


@pytest.mark.parametrize("name", ["<b>bold</b>^<font>", "A&B^&amp;", "</para><para>", "<img/>^<br/>"])
def test_markup_in_a_name_is_printed_as_it_is_written(name):
    results = encode(PatientName=name)
    assert "".join(name.replace("^", ",").split()) in "".join(read_page(results[-1]).split())
    assert all(ds.PatientName == name for ds in results)
