"""`send`, `study`, `rules list` and `conformance` as commands of their own, beside a node that runs."""

import json
import stat
import subprocess
import sys

import pytest
from result_bench import make_study
from running import Node, wait_for

from dicom_node.demo.archives import find_free_port
from dicom_node.operate.conformance import build_statement, write_html, write_markdown
from inference.pipeline import Pipeline
from inference.testing import build_tiny_bundles

RULES = """
[[rules]]
name = "no vets"
images = "any"
when = [
  { keyword = "InstitutionName", operator = "contains", values = ["vet", "animal"] },
  { keyword = "StationName", operator = "is", values = ["V1"] },
]
action = "exclude"
say = true
[[rules]]
name = "rest"
destinations = ["second"]
priority = 1
"""


@pytest.fixture
def node(tmp_path, builtin_archive):
    node = Node(tmp_path / "node", {"archive": find_free_port(), "second": builtin_archive.port}, more=RULES)
    node.settings.node.data_dir.mkdir()
    yield node
    if node.process is not None:
        node.stop()


@pytest.fixture
def study(node, tmp_path):
    pipeline = Pipeline.load(build_tiny_bundles(tmp_path / "bundles", region="LEG"), threads=1)
    return make_study(node.settings.node.data_dir, pipeline, PatientName="Roe^Richard").StudyInstanceUID


def run(node, *words):
    command = [sys.executable, "-m", "dicom_node", *map(str, words), "--config", str(node.config)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_results_are_sent_to_a_destination_that_was_not_to_get_them_by_the_node_that_runs(node, study, builtin_archive):
    node.start()
    assert builtin_archive.instances_of(study) == []
    sent = run(node, "send", study, "second")
    assert sent.returncode == 0, sent.stderr
    assert sent.stdout == "3 result(s) will be sent to second\n"
    kept = wait_for("the second archive has the results", lambda: len(builtin_archive.instances_of(study)) == 3)
    assert kept
    assert sorted(ds.Modality for ds in builtin_archive.instances_of(study)) == ["DOC", "OT", "OT"]
    for words, said in (
        ((study, "second"), "has no results that second is not to get already"),
        (("1.2.3", "second"), "has no results"),
        ((study, "elsewhere"), "has the name 'elsewhere'"),
    ):
        refused = run(node, "send", *words)
        assert refused.returncode == 1
        assert said in refused.stderr
        assert "Traceback" not in refused.stderr
    lines = [
        json.loads(line)
        for path in node.settings.node.audit_dir.glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    told = [(one["action"], one["destination"]) for one in lines if one["event"] == "operator"]
    assert told == [("send", "second")]


def test_a_study_is_shown_and_its_report_is_for_its_user_alone(node, study, tmp_path):
    shown = run(node, "study", study, "--report", tmp_path / "report.pdf", "--pictures", tmp_path / "pictures")
    assert shown.returncode == 0, shown.stderr
    assert study in shown.stdout
    assert "Roe" not in shown.stdout + shown.stderr
    files = [tmp_path / "report.pdf", *(tmp_path / "pictures").rglob("*.png")]
    assert len(files) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    unknown = run(node, "study", "1.2.3")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("dicom-node: no such study was received")
    found = run(node, "status", "--search", study[-12:], "--json")
    assert [one["study_instance_uid"] for one in json.loads(found.stdout)["studies"]] == [study]


def test_the_rules_are_listed_in_their_order_with_what_each_does(node):
    lines = [line.strip() for line in run(node, "rules", "list").stdout.splitlines()]
    assert lines == [
        "1.   no vets",
        "holds where, on any image of the study:",
        "InstitutionName contains vet or animal",
        "StationName is V1",
        "then not analysed by rule 'no vets'; a report says so",
        "2.   rest",
        "holds always",
        "then analysed by rule 'rest', priority 1, results to second",
        "the first rule that holds decides; where none holds, the study is analysed",
    ]
    node.config.write_text(node.config.read_text().replace(RULES, ""))
    assert run(node, "rules", "list").stdout.startswith("the configuration has no [[rules]]: every study is analysed")


def test_the_conformance_statement_is_that_of_this_configuration(node):
    statement = build_statement(node.settings)
    markdown, html = run(node, "conformance"), run(node, "conformance", "--html")
    assert (markdown.returncode, html.returncode) == (0, 0)
    assert markdown.stdout == f"{write_markdown(statement)}\n"
    assert html.stdout == f"{write_html(statement)}\n"
    assert str(node.port) in markdown.stdout
    assert html.stdout.lstrip().lower().startswith("<!doctype html>")
