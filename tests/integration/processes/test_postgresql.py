"""The whole line on PostgreSQL, and what its processes must share all the same."""

import subprocess
import sys
from io import BytesIO

import pytest
from builders import build_dx, phantom, write_part10
from postgresql import running_postgresql
from pypdf import PdfReader
from running import Node, echo, results_among, wait_for

from dicom_node.demo.archives import send_files
from inference.testing import build_tiny_bundles


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """The configuration's lines about a server of its own, and about small models."""
    bundles = build_tiny_bundles(tmp_path_factory.mktemp("bundles"), region="LEG")
    with running_postgresql() as url:
        workflow_url = url.replace("/postgres?", "/workflow?")
        yield f'[database]\nurl = "{url}"\nworkflow_url = "{workflow_url}"\n[models]\nbundles = "{bundles}"\n'


class Processes:
    """Receivers and workers, each started alone."""

    def __init__(self):
        self._running = []

    def start(self, role, node, name=""):
        log = node.folder / f"{name or role}.log"
        command = [sys.executable, "-m", "dicom_node", role, "--config", str(node.config), "--verbose"]
        with log.open("wb") as file:
            self._running.append(subprocess.Popen(command, stdout=file, stderr=file, env=node.environment))
        return self._running[-1], log

    def stop(self):
        for process in self._running:
            process.terminate()
        assert {process.wait(60) for process in self._running} <= {0, -9}


@pytest.fixture
def processes():
    processes = Processes()
    yield processes
    processes.stop()


def send(node, folder):
    ds = build_dx(phantom(96, 72))
    send_files([write_part10(ds, folder / "a.dcm")], port=node.port, calling="ARCHIVE", called="FRACTUREAI")
    return ds.StudyInstanceUID


def wait_for_results(archive, study, *, number):
    wait_for("the archive has the results", lambda: len(archive.instances_of(study)) == number, within_s=180)
    return results_among(archive.instances_of(study))


def wait_until_ready(log):
    wait_for("the worker is ready", lambda: "worker ready" in log.read_text(), within_s=180)


def test_a_second_worker_waits_and_takes_over_from_one_that_is_lost(database, processes, builtin_archive, tmp_path):
    node = Node(tmp_path / "node", {"archive": builtin_archive.port}, more=database)
    processes.start("receiver", node)
    first, log = processes.start("worker", node, "first")
    wait_until_ready(log)
    _, log = processes.start("worker", node, "second")
    wait_for("the second waits", lambda: "worker.lock: waiting for its end" in log.read_text(), within_s=120)
    wait_for("the receiver answers", lambda: echo(node.port), within_s=120)
    wait_for_results(builtin_archive, send(node, tmp_path), number=3)
    first.kill()
    wait_for_results(builtin_archive, send(node, tmp_path), number=3)
    assert "worker ready" in log.read_text()


def test_a_worker_that_does_not_share_the_spool_says_that_nothing_was_analysed(
    database, processes, builtin_archive, tmp_path
):
    """It has the rows and no file. What the README forbids is at least no silent nothing."""
    node = Node(tmp_path / "here", {"archive": builtin_archive.port}, more=database)
    elsewhere = Node(tmp_path / "elsewhere", {"archive": builtin_archive.port}, port=node.port, more=database)
    processes.start("receiver", node)
    wait_until_ready(processes.start("worker", elsewhere)[1])
    wait_for("the receiver answers", lambda: echo(node.port), within_s=120)
    _, (report,) = wait_for_results(builtin_archive, send(node, tmp_path), number=2)
    pages = PdfReader(BytesIO(report.EncapsulatedDocument)).pages
    assert "not analysed" in " ".join(page.extract_text() for page in pages).lower()
