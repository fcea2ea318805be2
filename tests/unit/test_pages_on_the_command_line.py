"""Everything on the pages is also on the command line: each address, and the command that does the same."""

import pytest
from command_lines import follow
from web_bench import Web, build_settings, every_address

from dicom_node.web.navigation import ENTRIES

COMMANDS = {
    "GET /": "status --state --finding --page --limit --patients --json",
    "POST /": "status --search",
    "POST /rows": "status --search",
    "GET /studies": "status --json",
    "GET /study/{uid}": "study --patient --json",
    "GET /study/{uid}/image/{sop_instance_uid}": "study --pictures",
    "GET /study/{uid}/overlay/{sop_instance_uid}": "study --pictures",
    "GET /study/{uid}/report/{sop_instance_uid}": "study --report",
    "POST /study/{uid}/retry": "retry",
    "POST /study/{uid}/complete": "complete",
    "POST /study/{uid}/send": "send",
    "GET /upload": "analyse --config --out",
    "POST /upload": "analyse --config --out",
    "POST /upload/send": "send-files",
    "POST /predict": "analyse --config --out --json",
    "GET /statistics": "statistics --weeks --charts",
    "GET /rules": "rules list",
    "POST /rules": "rules test",
    "GET /doctor": "doctor",
    "POST /doctor": "doctor",
    "GET /conformance": "conformance --html",
    "GET /conformance/statement.md": "conformance",
    "GET /account": "web-token list",
    "POST /account/password": "web-user password",
    "POST /account/tokens": "web-token add",
    "POST /account/tokens/remove": "web-token remove",
    "GET /users": "web-user list",
    "POST /users/add": "web-user add --role",
    "POST /users/remove": "web-user remove",
    "GET /first-run": "web-user add --role",
    "POST /first-run": "web-user add --role",
}
OF_THE_BROWSER = {"GET /login", "POST /login", "POST /logout"}
"""Whoever is at the command line is signed in to the machine."""
OF_PROGRAMS = {"GET /healthz", "GET /readyz", "GET /metrics", "GET /openapi.json", "GET /static"}
"""Not pages: a monitoring system, a program or a page asks for them."""


def addresses(app):
    return {f"{method} {path}" for path, method in every_address(app)}


@pytest.fixture
def app(tmp_path):
    with Web(build_settings(tmp_path)) as web:
        yield web.app


def test_every_address_has_its_command_and_no_other_has(app):
    assert addresses(app) - OF_THE_BROWSER - OF_PROGRAMS == COMMANDS.keys()
    assert addresses(app) >= OF_THE_BROWSER | OF_PROGRAMS


def test_every_page_of_the_navigation_is_among_them():
    assert {f"GET {entry.path}" for entry in ENTRIES} <= COMMANDS.keys()


@pytest.mark.parametrize("line", sorted(set(COMMANDS.values())))
def test_every_command_exists_with_its_options(line):
    assert not hasattr(follow(line), "commands")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_without_a_command_is_found(app, method):
    app.add_api_route("/new", lambda: "", methods=[method])
    assert addresses(app) - COMMANDS.keys() - OF_THE_BROWSER - OF_PROGRAMS == {f"{method} /new"}
