"""`dicom-node status` with a filter: the worklist of the pages on the command line."""

import json
import re
import time

import pytest
from builders import build_dx, phantom, write_part10
from running import Node
from stored_rows import build_row
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.cli.options import FindingOption, State
from dicom_node.operate.worklist import FINDINGS, STATES
from dicom_node.store import Finding, RevisionState
from dicom_node.values import ListedImage


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path, {"archive": 4242})


@pytest.fixture
def store(node):
    store = node.store()
    yield store
    store.close()


def receive(node, store, study, *, state=None, decision="no fracture", listed=0, probability=0.25, **header):
    store.add_instances([build_row(f"{study}.0", study, path=f"{study}/0.dcm")])
    write_part10(build_dx(phantom(48, 36), **header), node.settings.node.spool_dir / study / "0.dcm")
    if listed:
        images = [
            ListedImage(sop_instance_uid=f"{study}.{number}", series_instance_uid="1", modality="DX")
            for number in range(listed)
        ]
        store.record_listing(study, "archive", images, asked_at=time.time())
    if state:
        store.close_revision(study, time.time())
        (digest,) = [one.digest for one in store.status(100) if one.study_instance_uid == study]
        said = Finding(
            sop_instance_uid=f"{study}.0", decision=decision, region="HAND", probability=probability, reason=""
        )
        store.add_results(study, digest, [], [said], ["archive"])
        reason = "the disk was full" if state is RevisionState.FAILED else ""
        store.set_revision_state(study, digest, state, reason=reason)


def run(node, *words, **options):
    return CliRunner().invoke(app, ["status", *words, "--config", str(node.config)], **options)


def listed(node, *words, **options):
    said = json.loads(run(node, *words, "--json", **options).stdout)
    return [one["study_instance_uid"] for one in said["studies"]]


def audit(node):
    folder = node.settings.node.audit_dir
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


def test_the_command_knows_the_states_and_findings_of_the_page():
    assert list(State.__args__) == list(STATES)
    assert list(FindingOption.__args__) == list(FINDINGS)


def test_failures_come_first_and_state_and_finding_choose(node, store):
    receive(node, store, "1.1", state=RevisionState.FAILED, decision="fracture")
    receive(node, store, "1.2", state=RevisionState.DONE, decision="uncertain")
    receive(node, store, "1.3")
    assert listed(node, "--state", "all") == ["1.1", "1.3", "1.2"]
    assert listed(node, "--state", "failed") == ["1.1"]
    assert listed(node, "--state", "receiving") == ["1.3"]
    assert listed(node, "--finding", "uncertain") == ["1.2"]
    assert listed(node, "--finding", "uncertain", "--state", "failed") == []
    assert listed(node, "--search", "1.2") == ["1.2"]
    assert run(node, "--state", "lost").exit_code == 2


def test_pages_follow_one_another_and_say_how_many_there_are(node, store):
    for number in range(5):
        receive(node, store, f"1.{number}", state=RevisionState.DONE)
    pages = [listed(node, "--page", str(page), "--limit", "2") for page in (1, 2, 3, 4)]
    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert len({uid for page in pages for uid in page}) == 5
    assert run(node, "--page", "3", "--limit", "2").stdout.splitlines()[-1] == "5 studies, page 3 of 3"
    assert run(node, "--page", "4", "--limit", "2").stdout.splitlines()[-1] == "5 studies, page 4 of 3"


def test_no_probability_is_shown_as_a_certainty(node, store):
    receive(node, store, "1.1", state=RevisionState.FAILED, probability=0.0004)
    receive(node, store, "1.2", state=RevisionState.FAILED, decision="fracture", probability=0.9996)
    lines = [line.strip() for line in run(node, "--state", "failed").stdout.splitlines()]
    assert {"HAND no fracture <1%", "HAND fracture >99%"} <= set(lines)


def test_a_line_says_what_the_page_does_and_no_patient(node, store):
    receive(node, store, "1.1", state=RevisionState.FAILED, decision="fracture", listed=2, PatientName="Roe^Richard")
    said = run(node, "--state", "failed").stdout
    lines = [line.strip() for line in said.splitlines()]
    assert lines[0].split() == ["failed", "1.1"]
    assert lines[1] == "1 of 2 images (archive lists 2 images, 1 of them not here), version 1"
    assert lines[2] == "the disk was full"
    assert re.fullmatch(r"arrived .+ ago, results [\d.]+ s after the last image, last change \d+ s ago", lines[3])
    assert "HAND fracture 25%" in lines
    assert "Roe" not in said
    assert audit(node) == []


def test_names_and_accession_numbers_are_shown_to_who_asks_for_them_and_that_is_noted(node, store):
    receive(node, store, "1.1", PatientName="Roe^Richard", AccessionNumber="ACC-1")
    receive(node, store, "1.2", PatientName="Doe^Jane", AccessionNumber="ACC-2")
    assert listed(node, "--search", "ACC-1") == []
    assert audit(node) == []
    said = run(node, "--search", "-", "--patients", input="ACC-1\n").stdout
    assert "Roe Richard, ID PHANTOM-1" in said
    assert "accession number ACC-1" in said
    assert "Doe" not in said
    assert said.splitlines()[-1] == "1 study, page 1 of 1"
    (shown,) = json.loads(run(node, "--patients", "--search", "ACC-2", "--json").stdout)["studies"]
    assert shown["patient"]["name"] == "Doe Jane"
    assert [(line["event"], line["action"], line["study_instance_uids"]) for line in audit(node)] == [
        ("patients listed", "search worklist", ["1.1"]),
        ("patients listed", "search worklist", ["1.2"]),
    ]
    assert "Roe" not in str(audit(node))


def test_without_a_filter_a_closed_version_says_how_many_of_its_images_it_has(node, store):
    receive(node, store, "1.1", state=RevisionState.DONE, listed=3)
    said = run(node).stdout
    assert "version 1, 1 of 3 images (archive lists 3 images, 2 of them not here), complete" in said
    (revision,) = json.loads(run(node, "--json").stdout)["revisions"]
    assert revision["expectation"]["listed"] == 3
    assert len(revision["expectation"]["missing"]) == 2
