"""The conformance statement on a page is the one that the command prints."""

import re
from html import unescape

import pytest
from web_bench import Web, build_settings

from dicom_node.operate.conformance import build_statement, write_html_body, write_markdown
from dicom_node.settings import Rule
from dicom_node.web.roles import Role


@pytest.fixture
def web(tmp_path):
    with Web(build_settings(tmp_path)) as web:
        yield web


def test_the_page_holds_every_heading_and_cell_of_the_statement(web):
    browser = web.sign_in(Role.VIEWER)
    page = browser.get("/conformance").text
    text = unescape(re.sub(r"<[^>]+>", "\n", page))
    statement = write_markdown(build_statement(web.settings))
    said = [re.sub(r"^#+ ", "", line) for line in statement.splitlines() if line and not line.startswith("| ---")]
    cells = [cell.strip() for line in said for cell in line.strip("| ").split(" | ")]
    assert len(cells) > 200
    shown = {line.strip() for line in text.splitlines()}
    assert [cell for cell in cells if cell and cell.replace("\\|", "|") not in shown] == []
    assert page.count("<h1>") == 1


def test_the_markdown_is_to_be_saved_and_is_that_of_the_command(web):
    browser = web.sign_in(Role.VIEWER)
    (link,) = re.findall(r'href="(/conformance/[^"]+)"', browser.get("/conformance").text)
    answer = browser.get(link)
    assert answer.headers["content-type"].startswith("text/markdown")
    assert "attachment" in answer.headers["content-disposition"]
    assert answer.text == write_markdown(build_statement(web.settings))


def test_a_rule_is_told_by_name_action_and_keywords_and_not_by_the_patient_that_it_names(tmp_path):
    """A viewer may read the statement and see no patient; it is also handed to others."""
    condition = {"keyword": "PatientID", "operator": "is", "values": ["P-4711"]}
    rule = Rule.model_validate({"name": "no volunteers", "when": [condition], "action": "exclude"})
    with Web(build_settings(tmp_path).model_copy(update={"rules": (rule,)})) as web:
        browser = web.sign_in(Role.VIEWER)
        statement = build_statement(web.settings)
        said = [browser.get(path).text for path in ("/conformance", "/conformance/statement.md")]
        for text in (*said, write_markdown(statement), write_html_body(statement)):
            assert "P-4711" not in text
            assert all(shown in text for shown in ("[rules 1]", "no volunteers", "exclude", "PatientID"))
