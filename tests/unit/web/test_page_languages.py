"""In which language a page is written, and that no text breaks out of it."""

import re

import pytest
from markupsafe import Markup
from stored_rows import build_row
from web_bench import Web, build_settings

from dicom_node.languages import load_language
from dicom_node.web.roles import Role
from dicom_node.web.wording import Wording
from inference.phrases import Phrase


@pytest.fixture
def web(tmp_path):
    with Web(build_settings(tmp_path)) as web:
        yield web


def language_of(answer):
    return re.search(r'<html lang="(\w+)">', answer.text)[1]


@pytest.mark.parametrize(
    ("asked", "language"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("pt-BR, ja;q=0.7, fr;q=0.9", "fr"),
        ("en-GB, de;q=0.5", "en"),
        ("DE-CH", "de"),
        ("de;q=0, uk;q=0.1", "uk"),
        ("zh-CN", "en"),
        ("*", "en"),
        ("de;q=x, es", "es"),
        ("", "en"),
        ("../../de;<script>", "en"),
    ],
)
def test_a_page_is_in_the_first_language_that_the_browser_prefers_and_there_is(web, asked, language):
    answer = web.browser().get("/first-run", headers={"Accept-Language": asked})
    assert language_of(answer) == language
    assert load_language(language).say("First user") in answer.text


def test_the_configuration_may_say_which_language_all_pages_are_in(tmp_path):
    with Web(build_settings(tmp_path, language="ja")) as web:
        assert language_of(web.browser().get("/first-run", headers={"Accept-Language": "de"})) == "ja"


def test_what_is_refused_is_said_in_the_language_too(web):
    browser = web.browser()
    browser.headers["Accept-Language"] = "de"
    answer = browser.post("/login", data={"name": "nobody", "password": "wrong"})
    assert load_language("de").say("Name or password is wrong.") in answer.text
    nowhere = web.sign_in(Role.VIEWER).get("/nowhere", headers={"Accept-Language": "fr", "Accept": "text/html"})
    assert load_language("fr").say("There is no such page.") in nowhere.text


def test_programs_are_answered_in_english(web):
    answer = web.browser().get("/nowhere", headers={"Accept-Language": "fr", "Accept": "application/json"})
    assert answer.json() == {"detail": "There is no such page."}


def test_stored_reasons_are_said_in_the_language(web):
    web.store.add_instances([build_row("1.2.1", "1.2")])
    web.store.force_completion("1.2")
    page = web.sign_in(Role.VIEWER).get("/study/1.2", headers={"Accept-Language": "de"}).text
    assert load_language("de").say("completion forced by an operator") in page


def test_what_an_archive_did_is_said_in_the_language_however_deep_it_stands_in_what_was_stored(web):
    web.store.add_instances([build_row("1.2.1", "1.2")])
    did = "pacs: rejected the association for good: called ae title not recognised"
    web.store.add_event("1.2", f"pacs: SOP Instance 1.2.3 is parked: {did}")
    page = web.sign_in(Role.VIEWER).get("/study/1.2", headers={"Accept-Language": "de"}).text
    german = "pacs: lehnt die Association endgültig ab: AE-Titel des Angerufenen ist nicht bekannt"
    assert f"pacs: SOP Instance 1.2.3 angehalten: {german}" in page


def test_what_is_filled_in_and_what_translators_write_are_escaped_once():
    hostile = '<b>"&{x}'
    wording = Wording(load_language("en"))
    escaped = "&lt;b&gt;&#34;&amp;{x}"
    assert wording.say(hostile) == escaped
    assert wording.say("{name}: {why}", name=hostile, why=Phrase("{name}: {why}", name=hostile, why=1.5)) == (
        f"{escaped}: {escaped}: 1.5"
    )
    assert wording.say("{name}", name=Markup("<i>x</i>")) == "<i>x</i>"
    assert wording.tell(hostile) == escaped
