"""Who sees which page: what the navigation does not show is not to be had by its address either."""

import pytest
from web_bench import Web, build_settings, form_token

from dicom_node.web.navigation import ENTRIES
from dicom_node.web.roles import Role
from inference.testing import build_tiny_bundles

EVERYBODY = {"/", "/account", "/statistics", "/conformance"}
MAY_SEE = {
    Role.VIEWER: EVERYBODY,
    Role.RADIOLOGIST: EVERYBODY | {"/upload", "/rules"},
    Role.OPERATOR: EVERYBODY | {"/upload", "/rules", "/doctor"},
    Role.ADMINISTRATOR: EVERYBODY | {"/upload", "/rules", "/doctor", "/users"},
}


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    bundles = build_tiny_bundles(tmp_path_factory.mktemp("bundles"), region="LEG")
    with Web(build_settings(tmp_path_factory.mktemp("node"), bundles=bundles)) as web:
        yield web


@pytest.mark.parametrize("role", Role)
def test_each_role_sees_its_pages_and_no_other(web, role):
    browser = web.sign_in(role)
    answers = {entry.path: browser.get(entry.path) for entry in ENTRIES}
    assert {path for path, answer in answers.items() if answer.status_code == 200} == MAY_SEE[role]
    assert {answer.status_code for answer in answers.values()} <= {200, 403}
    page = answers["/"].text
    assert {entry.path for entry in ENTRIES if f'<li><a href="{entry.path}"' in page} == MAY_SEE[role]


def test_who_is_not_signed_in_sees_none(web):
    web.add_user(Role.VIEWER, "somebody")
    for entry in ENTRIES:
        answer = web.browser().get(entry.path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login"), entry.path


@pytest.mark.parametrize(("path", "needed"), [("/doctor", Role.OPERATOR), ("/rules", Role.RADIOLOGIST)])
def test_what_a_page_does_is_refused_to_those_who_may_not_see_it(web, path, needed):
    below = list(Role)[list(Role).index(needed) - 1]
    name = web.add_user(below, f"below{path.replace('/', '.')}")
    browser = web.browser()
    browser.post("/login", data={"name": name, "password": "correct horse battery"})
    form = {"files": {"file": ("a.dcm", b"x")}} if path == "/rules" else {}
    assert browser.post(path, data={"form_token": form_token(browser)}, **form).status_code == 403


def test_pages_load_nothing_from_elsewhere_and_carry_no_script_or_style(web):
    name = web.add_user(Role.ADMINISTRATOR, "chief")
    browser = web.browser()
    browser.post("/login", data={"name": name, "password": "correct horse battery"})
    for entry in ENTRIES:
        answer = browser.get(entry.path)
        assert "script-src 'self'" in answer.headers["content-security-policy"], entry.path
        for wrong in ("<style", " style=", "<script>", ' src="http', ' href="http', " onclick="):
            assert wrong not in answer.text, (entry.path, wrong)
