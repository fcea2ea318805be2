import json
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from builders import build_dx, phantom, write_part10
from running import Node

from dicom_node.demo.archives import find_free_port


def run(*arguments, **options):
    command = [sys.executable, "-m", "dicom_node", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)


def test_help_names_every_command():
    said = run("--help").stdout
    for command in (
        "serve",
        "receiver",
        "worker",
        "web",
        "analyse",
        "demo",
        "doctor",
        "status",
        "study",
        "retry",
        "complete",
        "retention",
        "rules",
        "conformance",
    ):
        assert command in said
    assert "Not for diagnosis" in said


@pytest.mark.parametrize("command", ["serve", "receiver", "worker", "status", "doctor"])
def test_a_wrong_configuration_is_one_sentence_and_exit_code_2(tmp_path, command):
    node = Node(tmp_path, {"archive": find_free_port()})
    node.config.write_text(node.config.read_text().replace("quiet_s", "quiet"))
    finished = run(command, "--config", node.config)
    assert finished.returncode == 2
    said = " ".join((finished.stderr + finished.stdout).split())
    assert "table [completion], key 'quiet'" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("command", ["receiver", "worker"])
def test_tls_without_its_files_is_one_sentence_and_exit_code_2(tmp_path, command):
    node = Node(tmp_path, {"archive": find_free_port()})
    files = "".join(f'{key} = "{tmp_path / "absent.pem"}"\n' for key in ("certificate", "key", "ca"))
    text = node.config.read_text().replace('name = "archive"', 'name = "archive"\ntls = true', 1)
    node.config.write_text(f"{text}\n[tls]\n{files}")
    finished = run(command, "--config", node.config)
    assert finished.returncode == 2
    assert "table [tls], key 'key'" in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize("command", ["serve", "receiver", "worker", "web", "status"])
def test_a_database_of_a_later_release_is_one_sentence_and_exit_code_2(tmp_path, command):
    node = Node(tmp_path, {"archive": find_free_port()})
    node.store().close()
    with closing(sqlite3.connect(tmp_path / "var" / "node.sqlite")) as database:
        database.execute("UPDATE alembic_version SET version_num = '0999'")
        database.commit()
    finished = run(command, "--config", node.config)
    assert finished.returncode == 2
    assert "made by a later release (schema 0999" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_status_of_a_new_node_is_empty_and_machine_readable(tmp_path):
    node = Node(tmp_path, {"archive": find_free_port()})
    finished = run("status", "--json", "--config", node.config)
    said = json.loads(finished.stdout)
    assert (said["open"], said["revisions"], said["alarms"]) == ([], [], [])
    assert said["audit"]["folder"] == str(tmp_path / "var" / "audit")
    assert said["disk"]["received"] == 0


@pytest.mark.parametrize("command", ["retry", "complete"])
def test_an_unknown_study_is_an_error_that_says_where_to_look(tmp_path, command):
    node = Node(tmp_path, {"archive": find_free_port()})
    finished = run(command, "1.2.3", "--config", node.config)
    assert finished.returncode == 1
    assert "dicom-node status" in finished.stderr


def test_the_doctor_says_what_to_do_about_a_destination_that_is_away(tmp_path):
    node = Node(tmp_path, {"archive": find_free_port()})
    finished = run("doctor", "--config", node.config)
    assert finished.returncode == 1
    said = " ".join(finished.stdout.split())
    assert "wrong destination archive" in said
    assert "let it know the modality FRACTUREAI" in said
    assert "1 thing(s) to mend" in said


def test_the_tester_of_rules_says_which_one_decides_and_why_the_others_do_not(tmp_path):
    rules = """
[[rules]]
name = "no vets"
when = [{ keyword = "InstitutionName", operator = "contains", values = ["vet"] }]
action = "exclude"
[[rules]]
name = "emergency"
when = [{ keyword = "StationName", operator = "is", values = ["ER1"] }]
priority = 1
destinations = ["archive"]
[[rules]]
name = "rest"
action = "exclude"
say = true
"""
    node = Node(tmp_path, {"archive": find_free_port()}, more=rules)
    for name, station in (("er", "ER1"), ("other", "OR")):
        write_part10(build_dx(phantom(48, 36), StationName=station), tmp_path / name / "image.dcm")
    said = run("rules", "test", tmp_path / "er" / "image.dcm", tmp_path / "other", "--config", node.config).stdout
    assert "analysed by rule 'emergency', priority 1, results to archive" in said
    assert "not analysed by rule 'rest'; a report says so" in said
    lines = [line.strip() for line in said.splitlines()]
    assert [line.split()[0] for line in lines if ". " in line][:3] == ["no", "decides", "too"]
    assert "image 1 of 1: InstitutionName contains vet (it has no value)" in lines
    assert "image 1 of 1: StationName is ER1 (it has 'OR')" in lines
    text = run("rules", "test", node.config, "--config", node.config)
    assert text.returncode == 1
    assert "is no DICOM file" in text.stderr
