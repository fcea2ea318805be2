"""What the audit trail holds of people: who came, what they saw, what they changed; each line makes its message."""

import json
from xml.etree import ElementTree as ET

import pytest
from builders import build_dx, phantom
from pydicom.uid import generate_uid
from result_bench import Bench
from typer.testing import CliRunner
from web_bench import PASSWORD, Web, build_settings, form_token

from dicom_node.audit.messages import encode_message
from dicom_node.cli import app
from dicom_node.web.roles import Role


@pytest.fixture
def web(tmp_path):
    with Web(build_settings(tmp_path)) as web:
        yield web


def receive(web):
    """Keep a study as the receiver does; return its UID."""
    bench = Bench(web.settings.node.data_dir, None)
    ds = build_dx(phantom(96, 72), StudyInstanceUID=generate_uid(), PatientName="Roe^Richard", AccessionNumber="ACC-1")
    bench.receive(ds)
    bench.store.close()
    return ds.StudyInstanceUID


def lines(web, event=None):
    files = sorted(web.settings.node.audit_dir.glob("*.jsonl"))
    found = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert "Roe" not in str(found)
    assert "ACC-1" not in str(found)
    assert PASSWORD not in str(found)
    return [line for line in found if event in {None, line["event"]}]


def actions(web, event):
    return [(line["user"], line["action"]) for line in lines(web, event)]


def test_coming_going_and_knocking_in_vain_are_told_with_the_machine(web):
    browser = web.sign_in(Role.RADIOLOGIST)
    web.client.post("/login", data={"name": "radiologist", "password": "wrong"})
    browser.post("/logout", data={"form_token": form_token(browser)})
    assert actions(web, "user authentication") == [
        ("radiologist", "sign in"),
        ("radiologist", "sign-in refused"),
        ("radiologist", "sign out"),
    ]
    assert {line["host"] for line in lines(web)} == {"127.0.0.1"}


def test_a_token_that_is_none_and_a_door_that_is_shut_are_told_too(web):
    web.client.get("/studies", headers={"Authorization": "Bearer wrong"})
    assert actions(web, "user authentication") == [("", "sign-in refused")]
    for _ in range(6):
        web.client.post("/login", data={"name": "nobody", "password": "wrong"})
    assert len(lines(web, "user authentication")) == 7


def test_names_are_told_of_once_in_a_session_and_to_whom(web):
    first = receive(web)
    browser = web.sign_in(Role.RADIOLOGIST)
    for _ in range(2):
        assert "Roe" in browser.get("/").text
    second = receive(web)
    assert browser.post("/rows", data={"form_token": form_token(browser)}).status_code == 200
    shown = [(line["action"], line["study_instance_uids"]) for line in lines(web, "patients listed")]
    assert shown == [("see worklist", [first]), ("see worklist", [second])]
    other = web.browser()
    other.post("/login", data={"name": "radiologist", "password": PASSWORD})
    other.post("/", data={"form_token": form_token(other), "search": "ACC-1"})
    (*_, searched) = lines(web, "patients listed")
    assert searched["action"] == "search worklist"
    assert set(searched["study_instance_uids"]) == {first, second}


def test_who_sees_no_patient_is_not_said_to_have_seen_one(web):
    uid = receive(web)
    browser = web.sign_in(Role.VIEWER)
    assert "Roe" not in browser.get("/").text + browser.get(f"/study/{uid}").text
    assert {line["event"] for line in lines(web)} == {"user authentication"}


def test_a_picture_is_told_of_though_the_page_was_not_opened(web):
    uid = receive(web)
    (instance,) = web.store.instances_of(uid)
    browser = web.sign_in(Role.RADIOLOGIST)
    for _ in range(2):
        assert browser.get(f"/study/{uid}/image/{instance.sop_instance_uid}").status_code == 200
    (seen,) = lines(web, "study viewed")
    assert (seen["user"], seen["action"], seen["study_instance_uid"]) == ("radiologist", "view picture", uid)


def test_what_is_done_to_accounts_is_told_with_whose_they_are(web):
    browser = web.sign_in(Role.ADMINISTRATOR)
    token = form_token(browser)
    browser.post("/users/add", data={"form_token": token, "name": "joe", "password": PASSWORD, "role": "viewer"})
    browser.post("/users/remove", data={"form_token": token, "name": "joe"})
    browser.post("/account/tokens", data={"form_token": token, "label": "of Roe"})
    browser.post("/account/tokens/remove", data={"form_token": token, "label": "of Roe"})
    told = [(line["user"], line["action"], line["subject"]) for line in lines(web, "user administration")]
    assert told == [
        ("administrator", "add user", "joe"),
        ("administrator", "remove user", "joe"),
        ("administrator", "add token", "administrator"),
        ("administrator", "remove token", "administrator"),
    ]


def test_what_is_done_to_accounts_on_the_command_line_is_told_too(web, tmp_path):
    config = tmp_path / "node.toml"
    config.write_text(
        f'[node]\nae_title = "N"\ndata_dir = "{tmp_path}"\n[[senders]]\nae_title = "S"\n'
        '[[destinations]]\nname = "archive"\nae_title = "A"\nhost = "127.0.0.1"\nport = 4242\n'
    )
    for words in (["web-user", "add", "joe", "--role", "viewer"], ["web-user", "role", "joe", "operator"]):
        assert CliRunner().invoke(app, [*words, "--config", str(config)], input=f"{PASSWORD}\n").exit_code == 0
    assert CliRunner().invoke(app, ["web-token", "add", "joe", "Roe", "--config", str(config)]).exit_code == 0
    told = [(line["action"], line["subject"], line.get("role")) for line in lines(web, "user administration")]
    assert told == [("add user", "joe", "viewer"), ("set role", "joe", "operator"), ("add token", "joe", None)]


def test_every_line_about_people_makes_a_message(web):
    uid = receive(web)
    browser = web.sign_in(Role.OPERATOR)
    browser.get("/")
    browser.get(f"/study/{uid}")
    browser.post(f"/study/{uid}/complete", data={"form_token": form_token(browser)})
    found = {line["event"]: ET.fromstring(encode_message(line)) for line in lines(web)}  # noqa: S314  # our own
    assert found.keys() == {"user authentication", "patients listed", "study viewed", "operator"}
    for message in found.values():
        asked = [one.get("UserID") for one in message.iter("ActiveParticipant") if one.get("UserIsRequestor") == "true"]
        assert asked == ["operator"]
