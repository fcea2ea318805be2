"""The page of the rules: what is configured, and what it makes of a file, of which nothing stays."""

import resource
from io import BytesIO
from pathlib import Path

import pytest
from builders import build_dx, phantom
from canary import files_below, holds_word, make_canary
from pydicom.uid import DeflatedExplicitVRLittleEndian
from web_bench import Web, build_settings, form_token

from dicom_node.operate.rules import judge_files
from dicom_node.settings import AnalysisSettings, Rule
from dicom_node.web.roles import Role

RULES = (
    {
        "name": "no children",
        "when": [{"keyword": "PatientAge", "operator": "below", "values": [16]}],
        "action": "exclude",
    },
    {
        "name": "emergency",
        "images": "any",
        "when": [{"keyword": "StationName", "operator": "starts with", "values": ["ER"]}],
        "priority": 1,
        "destinations": ["second"],
    },
    {"name": "everything else"},
)


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    settings = build_settings(tmp_path_factory.mktemp("node"), largest_upload_mb=3.0)
    with Web(settings.model_copy(update={"rules": tuple(map(Rule.model_validate, RULES))})) as web:
        web.reader = web.sign_in(Role.RADIOLOGIST)
        yield web


def encode(ds):
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def ask(web, *contents):
    files = [("file", (f"<b>{number}.dcm", content)) for number, content in enumerate(contents)]
    return web.reader.post("/rules", files=files, data={"form_token": form_token(web.reader, "/rules")})


def radiograph(**attributes):
    return build_dx(phantom(96, 72), **attributes)


def test_the_rules_are_listed_in_their_order_with_what_they_do(web):
    page = web.reader.get("/rules").text
    places = [page.index(text) for text in ("no children", "PatientAge below 16", "emergency", "StationName starts")]
    assert places == sorted(places)
    assert "On any image of the study:" in page
    assert "priority 1, results to second" in page


def test_a_file_is_told_which_rule_decides_and_why_as_the_command_tells_it(web, tmp_path):
    content = encode(radiograph(StationName="ER-1", PatientAge="044Y"))
    answer = ask(web, content)
    assert answer.status_code == 200
    (tmp_path / "a.dcm").write_bytes(content)
    (verdict,) = judge_files(web.settings.rules, [tmp_path / "a.dcm"])
    assert verdict.study_instance_uid in answer.text
    assert "Analysed by rule &#39;emergency&#39;, priority 1, results to second" in answer.text
    for judgement in verdict.judgements:
        assert judgement.because.replace("'", "&#39;") in answer.text
    assert answer.text.count(">decides</strong>") == 1
    assert "too late" in answer.text


def test_conditions_and_reasons_are_in_the_language_of_the_browser(web):
    german = {"accept-language": "de"}
    assert "PatientAge unter 16" in web.reader.get("/rules", headers=german).text
    files = {"file": ("a.dcm", encode(radiograph(StationName="OR", PatientAge="044Y")))}
    data = {"form_token": form_token(web.reader, "/rules")}
    page = web.reader.post("/rules", files=files, data=data, headers=german).text
    assert "Bild 1 von 1: StationName beginnt mit ER (vorhanden: &#39;OR&#39;)" in page
    assert "sie hat keine Bedingungen und trifft daher auf jede Studie zu" in page


def test_files_of_two_studies_are_told_apart(web):
    files = [encode(radiograph(StudyInstanceUID=f"1.2.{number}", PatientAge="010Y")) for number in (1, 2)]
    page = ask(web, *files).text
    assert page.count("<strong>Not analysed by rule &#39;no children&#39;") == 2


def test_a_value_that_is_markup_is_text(web):
    page = ask(web, encode(radiograph(StationName="<script>x"))).text
    assert "&lt;script&gt;x" in page
    assert "<script>x" not in page


@pytest.mark.parametrize("content", [b"no DICOM at all", b"\x89PNG\r\n\x1a\n" + b"x" * 200], ids=["text", "png"])
def test_what_is_no_dicom_file_is_named_and_its_place_on_the_disk_is_not(web, content):
    answer = ask(web, encode(radiograph()), content)
    assert answer.status_code == 422
    assert "&lt;b&gt;1.dcm: is no DICOM file that names its study and itself." in answer.text
    assert str(web.settings.node.data_dir) not in answer.text


def test_a_deflated_bomb_costs_a_sentence_and_the_next_file_is_answered(tmp_path):
    settings = build_settings(tmp_path, largest_upload_mb=3.0)
    limits = AnalysisSettings(decode_memory_mb=200.0)
    with Web(settings.model_copy(update={"analysis": limits})) as web:
        web.reader = web.sign_in(Role.RADIOLOGIST)
        ds = radiograph()
        ds.add_new(0x00091001, "UN", bytes(600_000_000))
        ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        bomb = encode(ds)
        assert len(bomb) < 2_000_000
        refused = ask(web, bomb)
        assert refused.status_code == 422
        assert 'role="alert"' in refused.text
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert ask(web, bomb).status_code == 422
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - largest < 100_000  # KiB: it is not met here
        assert ask(web, encode(radiograph())).status_code == 200


def test_nothing_of_a_tested_file_stays(web):
    content = encode(make_canary(radiograph()))
    assert holds_word(content)
    assert ask(web, content).status_code == 200
    folder = web.settings.node.data_dir
    assert list(web.settings.node.uploads_dir.iterdir()) == []
    assert [name for name, kept in files_below(folder) if holds_word(kept)] == []
    assert web.store.open_studies() == []
    trail = "".join(path.read_text() for path in Path(web.settings.node.audit_dir).iterdir())
    assert "test rules" in trail


def test_a_form_of_another_session_is_refused(web):
    files = {"file": ("a.dcm", encode(radiograph()))}
    assert web.reader.post("/rules", files=files, data={"form_token": "0" * 64}).status_code == 403


def test_a_node_without_rules_says_so(tmp_path):
    with Web(build_settings(tmp_path)) as web:
        web.reader = web.sign_in(Role.RADIOLOGIST)
        assert "has no <code>[[rules]]</code>" in web.reader.get("/rules").text
        assert "Analysed: no rule holds" in ask(web, encode(radiograph())).text
