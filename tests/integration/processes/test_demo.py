"""How the demonstration gives up: at once, and saying why."""

import subprocess
import sys
import time
from contextlib import closing

import pytest
from builders import build_dx, write_part10
from rich.console import Console
from stored_rows import build_row

from dicom_node.demo.archives import BuiltinArchive, find_free_port
from dicom_node.demo.node import RunningNode, running_node
from dicom_node.demo.run import send_and_wait
from dicom_node.demo.studies import DemoStudy
from dicom_node.errors import NodeError
from dicom_node.store import RevisionState, Store


@pytest.fixture
def store(tmp_path):
    with closing(Store(f"sqlite:///{tmp_path / 'node.sqlite'}")) as store:
        yield store


@pytest.fixture
def archive():
    archive = BuiltinArchive()
    archive.start()
    yield archive
    archive.stop()


@pytest.fixture
def study(tmp_path):
    ds = build_dx()
    path = write_part10(ds, tmp_path / "dx.dcm")
    return DemoStudy(label="wrist", study_instance_uid=str(ds.StudyInstanceUID), files=(path,))


def node_beside(archive, store, tmp_path, command):
    """What takes the associations is the archive; what counts is the process and what its state says."""
    process = subprocess.Popen(command)
    return RunningNode(port=archive.port, process=process, log=tmp_path / "node.log", store=store)


def fail(store, study_instance_uid):
    row = build_row("1.2.3", study_instance_uid)
    store.add_instances([row])
    store.close_revision(study_instance_uid, time.time())
    (revision,) = store.status(1)
    store.set_revision_state(study_instance_uid, revision.digest, RevisionState.FAILED, reason="a model is broken")


def test_a_study_that_has_failed_is_given_up_at_once_with_its_reason(archive, store, study, tmp_path):
    fail(store, study.study_instance_uid)
    node = node_beside(archive, store, tmp_path, ["sleep", "60"])
    before = time.monotonic()
    try:
        answers, reasons = send_and_wait([study], archive, node, Console(quiet=True))
    finally:
        node.process.kill()
        node.process.wait()
    assert time.monotonic() - before < 10
    assert (answers, reasons) == ([], {"wrist": "a model is broken"})


def test_a_node_that_ends_ends_the_demonstration_and_its_log_is_named(archive, store, study, tmp_path):
    node = node_beside(archive, store, tmp_path, [sys.executable, "-c", "raise SystemExit(2)"])
    node.process.wait()
    with pytest.raises(NodeError, match=r"ended with code 2; its log is .*node.log"):
        send_and_wait([study], archive, node, Console(quiet=True))


def test_a_node_that_does_not_start_is_an_error_that_names_its_log(tmp_path):
    refused = 0  # no port: the configuration is wrong
    with (
        pytest.raises(NodeError, match=r"did not start; its log is .*node.log"),
        running_node(tmp_path, find_free_port(), refused),
    ):
        pass
    assert "key 'port'" in (tmp_path / "node.log").read_text()
