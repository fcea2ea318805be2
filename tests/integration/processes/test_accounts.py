"""`web-user` and `web-token` as commands of their own: what they set is what the pages go by."""

import json
import subprocess
import sys
import time

import pytest
from running import Node
from web_bench import Web

FIRST, SECOND = "correct horse battery", "another horse battery"


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path, {"archive": 4242})


def run(node, *words, typed=""):
    command = [sys.executable, "-m", "dicom_node", *words, "--config", str(node.config)]
    return subprocess.run(command, input=typed, capture_output=True, text=True, check=False, timeout=120)


def done(node, *words, typed=""):
    finished = run(node, *words, typed=typed)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def refused(node, *words, typed=""):
    finished = run(node, *words, typed=typed)
    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr
    return finished.stderr


def sign_in(web, password):
    browser = web.browser()
    return browser, browser.post("/login", data={"name": "jane", "password": password}).status_code


def audit(node):
    folder = node.settings.node.audit_dir
    lines = [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
    return [(line["action"], line["subject"]) for line in lines if line["event"] == "user administration"]


def test_a_password_that_is_set_is_the_one_that_opens_the_pages_and_a_removed_user_opens_none(node):
    before = time.time()
    done(node, "web-user", "add", "jane", "--role", "viewer", typed=f"{FIRST}\n")
    with Web(node.settings) as web:
        browser, answer = sign_in(web, FIRST)
        assert answer == 303
        assert "12 to 200 characters" in refused(node, "web-user", "password", "jane", typed="x\n")
        done(node, "web-user", "password", "jane", typed=f"{SECOND}\n")
        assert browser.get("/account").status_code == 303  # the session has ended
        assert sign_in(web, FIRST)[1] == 401
        browser, answer = sign_in(web, SECOND)
        assert answer == 303
        name, role, at = done(node, "web-user", "list").rstrip("\n").split("\t")
        assert (name, role) == ("jane", "viewer")
        assert before - 1 <= time.mktime(time.strptime(at, "%Y-%m-%d %H:%M:%S")) <= time.time()
        done(node, "web-user", "remove", "jane")
        assert browser.get("/account").status_code == 303
        assert sign_in(web, SECOND)[1] == 401
    assert done(node, "web-user", "list") == ""
    assert "no user jane" in refused(node, "web-user", "remove", "jane")
    assert "no user jane" in refused(node, "web-user", "password", "jane", typed=f"{SECOND}\n")
    assert audit(node) == [("add user", "jane"), ("set password", "jane"), ("remove user", "jane")]


def test_a_token_opens_what_its_user_may_until_it_is_removed(node):
    done(node, "web-user", "add", "jane", "--role", "viewer", typed=f"{FIRST}\n")
    before = time.time()
    token = done(node, "web-token", "add", "jane", "script").strip()
    with Web(node.settings) as web:
        headers = {"Authorization": f"Bearer {token}"}
        assert web.browser().get("/studies", headers=headers).status_code == 200
        listed = done(node, "web-token", "list")
        assert token not in listed
        name, label, at = listed.rstrip("\n").split("\t")
        assert (name, label) == ("jane", "script")
        assert before - 1 <= time.mktime(time.strptime(at, "%Y-%m-%d %H:%M:%S")) <= time.time()
        assert "no token other" in refused(node, "web-token", "remove", "jane", "other")
        done(node, "web-token", "remove", "jane", "script")
        assert web.browser().get("/studies", headers=headers).status_code == 401
    assert done(node, "web-token", "list") == ""
    assert audit(node) == [("add user", "jane"), ("add token", "jane"), ("remove token", "jane")]


def test_a_token_outlives_another_role_and_not_another_password(node):
    done(node, "web-user", "add", "jane", "--role", "viewer", typed=f"{FIRST}\n")
    done(node, "web-token", "add", "jane", "script")
    done(node, "web-user", "role", "jane", "operator")
    assert done(node, "web-token", "list").startswith("jane\tscript\t")
    said = done(node, "web-user", "password", "jane", typed=f"{SECOND}\n")
    assert said == "sessions and tokens of jane have ended\n"
    assert done(node, "web-token", "list") == ""
