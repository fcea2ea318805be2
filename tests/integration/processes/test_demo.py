"""How the demonstration gives up, at once and saying why, and how it ends where there can be no viewer."""

import os
import re
import subprocess
import sys
import time
from io import StringIO

import pytest
from builders import build_dx, write_part10
from rich.console import Console
from stored_rows import build_row

from dicom_node.demo import archives, viewer
from dicom_node.demo.archives import find_free_port
from dicom_node.demo.node import RunningNode, running_node
from dicom_node.demo.run import prepare_viewer, run_demo, send_and_wait
from dicom_node.demo.studies import SAMPLES, DemoStudy
from dicom_node.errors import NodeError
from dicom_node.store import RevisionState


@pytest.fixture
def study(tmp_path):
    ds = build_dx()
    path = write_part10(ds, tmp_path / "dx.dcm")
    return DemoStudy(label="wrist", study_instance_uid=str(ds.StudyInstanceUID), files=(path,))


def node_beside(builtin_archive, store, tmp_path, command):
    """What takes the associations is the archive; what counts is the process and what its state says."""
    process = subprocess.Popen(command)
    return RunningNode(port=builtin_archive.port, process=process, log=tmp_path / "node.log", store=store)


def fail(store, study_instance_uid):
    row = build_row("1.2.3", study_instance_uid)
    store.add_instances([row])
    store.close_revision(study_instance_uid, time.time())
    (revision,) = store.status(1)
    store.set_revision_state(study_instance_uid, revision.digest, RevisionState.FAILED, reason="a model is broken")


def test_a_study_that_has_failed_is_given_up_at_once_with_its_reason(builtin_archive, store, study, tmp_path):
    fail(store, study.study_instance_uid)
    node = node_beside(builtin_archive, store, tmp_path, ["sleep", "60"])
    before = time.monotonic()
    try:
        answers, reasons = send_and_wait([study], builtin_archive, node, Console(quiet=True))
    finally:
        node.process.kill()
        node.process.wait()
    assert time.monotonic() - before < 10
    assert (answers, reasons) == ([], {"wrist": "a model is broken"})


def test_a_node_that_ends_ends_the_demonstration_and_its_log_is_named(builtin_archive, store, study, tmp_path):
    node = node_beside(builtin_archive, store, tmp_path, [sys.executable, "-c", "raise SystemExit(2)"])
    node.process.wait()
    with pytest.raises(NodeError, match=r"ended with code 2; its log is .*node.log"):
        send_and_wait([study], builtin_archive, node, Console(quiet=True))


def test_a_node_that_does_not_start_is_an_error_that_names_its_log(tmp_path):
    refused = 0  # no port: the configuration is wrong
    with (
        pytest.raises(NodeError, match=r"did not start; its log is .*node.log"),
        running_node(tmp_path, find_free_port(), refused),
    ):
        pass
    assert "key 'port'" in (tmp_path / "node.log").read_text()


@pytest.fixture
def bare_machine(tmp_path, monkeypatch):
    """A machine without Orthanc, its plugin, npm, or a viewer of earlier; returns the folder where programs are."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(archives, "_SYSTEM_FOLDERS", ())
    monkeypatch.setattr(viewer, "DICOMWEB_PLUGIN", tmp_path / "missing.so")
    return programs


def install(folder, name, does="exit 0"):
    program = folder / name
    program.write_text(f"#!/bin/sh\n{does}\n")
    program.chmod(0o755)


def say_why_there_is_no_viewer(archive="auto"):
    console = Console(file=StringIO(), width=200)
    assert prepare_viewer(console, archive) is None
    return console.file.getvalue().strip()


def test_what_the_viewer_lacks_is_named(bare_machine, monkeypatch):
    said = "no viewer at the end, for lack of: "
    assert say_why_there_is_no_viewer() == f"{said}Orthanc, its DICOMweb plugin (orthanc-dicomweb), npm"
    install(bare_machine, "Orthanc")
    assert say_why_there_is_no_viewer() == f"{said}its DICOMweb plugin (orthanc-dicomweb), npm"
    monkeypatch.setattr(viewer, "DICOMWEB_PLUGIN", bare_machine / "Orthanc")
    assert say_why_there_is_no_viewer() == f"{said}npm"
    install(bare_machine, "npm", "exit 1")
    assert say_why_there_is_no_viewer() == "no viewer at the end: npm could not fetch @ohif/app 3.13.2"
    assert say_why_there_is_no_viewer("builtin") == f"{said}Orthanc, which --archive builtin leaves out"


def check_page(out):
    """Check that the page is there, with the pictures and the report that it names."""
    page = (out / "index.html").read_text()
    named = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert {name.rpartition(".")[2] for name in named} == {"png", "pdf"}
    assert [name for name in named if not (out / name).exists()] == []


def test_without_orthanc_it_ends_with_the_page_and_says_what_was_missing(bare_machine, tmp_path, capsys):
    del bare_machine
    out = tmp_path / "out"
    assert run_demo([SAMPLES / "phantom_oblong_pixels"], out=out, archive="auto", viewer=True) == 0
    printed = capsys.readouterr().out
    assert "no viewer at the end, for lack of: Orthanc" in printed
    assert "built-in archive listens" in printed
    assert f"look at it: {(out / 'index.html').as_uri()}" in printed
    check_page(out)


@pytest.mark.orthanc
def test_without_npm_it_ends_with_the_page_and_says_what_was_missing(tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "dicom_node", "demo", SAMPLES / "phantom_oblong_pixels", "--viewer", "--out", out]
    bare = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "COLUMNS": "200"}
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env={**os.environ, **bare}
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (said,) = [line for line in ended.stdout.splitlines() if line.startswith("no viewer at the end, for lack of: ")]
    assert said.endswith("npm")
    assert "Orthanc listens" in ended.stdout
    check_page(out)
