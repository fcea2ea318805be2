import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from builders import build_sr, write_part10
from running import NODE, Node, dcmsend, echo, wait_for

from dicom_node.demo.archives import find_free_port


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path, {"archive": find_free_port()})
    yield node
    if node.process is not None:
        node.stop()


def children(pid):
    task = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in task.read_text().split()]


def command_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")


def role(pid):
    words = command_of(pid)
    return words[words.index("dicom_node") + 1]


def test_it_runs_three_processes_and_stops_in_order_with_exit_code_0(node):
    node.start()
    pids = children(node.process.pid)
    assert sorted(role(pid) for pid in pids) == ["receiver", "web", "worker"]
    wait_for("worker ready", lambda: "worker ready" in node.log)
    assert node.stop() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert "killed" not in node.log


def test_a_process_that_dies_is_started_again(node):
    node.start()
    for pid in children(node.process.pid):
        os.kill(pid, signal.SIGKILL)
    wait_for("three new processes", lambda: len(children(node.process.pid)) == 3)
    wait_for("C-ECHO is answered again", lambda: echo(node.port))


def test_a_process_that_may_not_start_again_for_a_while_takes_none_of_the_others_with_it(node):
    node.start()
    wait_for("worker ready", lambda: "worker ready" in node.log)
    (worker,) = (pid for pid in children(node.process.pid) if role(pid) == "worker")
    right = node.config.read_text()
    node.config.write_text(right + "\n[misspelt]\n")
    os.kill(worker, signal.SIGKILL)
    wait_for("the worker refuses to start", lambda: "worker ended with code 2" in node.log)
    assert echo(node.port)
    node.config.write_text(right)
    wait_for("the worker is ready again", lambda: node.log.count("worker ready") == 2)
    assert node.stop() == 0


def test_the_others_stop_when_the_supervisor_is_killed(node):
    node.start()
    pids = children(node.process.pid)
    os.kill(node.process.pid, signal.SIGKILL)
    node.process.wait()
    node.process = None
    wait_for("all have gone", lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), within_s=20)


@pytest.mark.fault(65, 66)
def test_a_silent_archive_does_not_hold_up_the_end(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as archive:
        node = Node(tmp_path, {"archive": archive.getsockname()[1]})
        text = node.config.read_text().replace("grace_s = 10", "grace_s = 2")
        node.config.write_text(text.replace("response_timeout_s = 15", "response_timeout_s = 60"))
        node.start()
        dcmsend(node.port, write_part10(build_sr(), tmp_path / "sr.dcm"), calling="ARCHIVE", called=NODE)
        connection, _ = archive.accept()
        before = time.monotonic()
        assert node.stop() == 0
        assert time.monotonic() - before < 6
        assert "killed" not in node.log
        connection.close()


def connect(port):
    try:
        return socket.create_connection(("127.0.0.1", port), timeout=5)
    except OSError:
        return None


@pytest.mark.fault(66)
def test_a_browser_that_never_ends_its_request_does_not_hold_up_the_end(node):
    """A form whose body never comes to its end: the web process stops within the grace period all the same."""
    node.config.write_text(node.config.read_text().replace("grace_s = 10", "grace_s = 1"))
    web = subprocess.Popen([sys.executable, "-m", "dicom_node", "web", "--config", str(node.config)])
    connection = wait_for("it listens", lambda: connect(node.settings.web.port))
    with connection:
        form = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\nExpect: 100-continue"
        connection.sendall(b"POST /login HTTP/1.1\r\nHost: node\r\n" + form + b"\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100")  # it waits for the body
        web.terminate()
        try:
            assert web.wait(15) == 0
        finally:
            web.kill()


@pytest.mark.parametrize("moment_s", [0.0, 0.3, 0.6, 1.0])
def test_a_worker_that_is_stopped_while_it_starts_ends_with_exit_code_0(node, moment_s):
    worker = subprocess.Popen([sys.executable, "-m", "dicom_node", "worker", "--config", str(node.config)])
    wait_for("it has come to its own code", (node.folder / "var" / "worker.lock").exists)
    time.sleep(moment_s)
    worker.terminate()
    assert worker.wait(20) == 0


def test_a_second_worker_waits_for_the_first_and_says_so(node):
    node.start()
    wait_for("worker ready", lambda: "worker ready" in node.log)
    command = [sys.executable, "-m", "dicom_node", "worker", "--config", str(node.config)]
    with (node.folder / "second.log").open("wb") as log:
        second = subprocess.Popen(command, stderr=log)
    wait_for("it says so", lambda: "another process holds" in (node.folder / "second.log").read_text())
    second.terminate()
    assert second.wait(20) == 0
    assert "worker ready" not in (node.folder / "second.log").read_text()


def test_the_web_process_answers_without_patient_data(node):
    node.start()

    def get(path):
        url = f"http://127.0.0.1:{node.settings.web.port}{path}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)

    def alive():
        try:
            return get("/healthz")["status"] == "ok"
        except OSError:
            return False

    def ready():
        try:
            return get("/readyz")
        except OSError:  # 503 Service Unavailable too
            return None

    wait_for("/healthz answers", alive)
    assert wait_for("/readyz says yes", ready) == {"receiver": True, "worker": True, "disk": True}
    with pytest.raises(urllib.error.HTTPError, match="401"):
        get("/studies")
    assert node.settings.node.first_run_file.stat().st_mode & 0o777 == 0o600


def test_the_default_runtime_leaves_tensorflow_alone(node):
    node.start()
    wait_for("worker ready", lambda: "worker ready" in node.log)
    (worker,) = [pid for pid in children(node.process.pid) if role(pid) == "worker"]
    loaded = [Path(f"/proc/{pid}/maps").read_text() for pid in (worker, *children(worker))]
    # Only the process that runs the models has their runtime.
    assert sum("onnxruntime" in one for one in loaded) == 1
    assert "onnxruntime" not in loaded[0]
    assert not any("tensorflow" in one for one in loaded)


def test_a_wrong_bundle_refuses_to_start_with_exit_code_2(node, tmp_path):
    (tmp_path / "bundles").mkdir()
    node.config.write_text(node.config.read_text() + f'\n[models]\nbundles = "{tmp_path / "bundles"}"\n')
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-m", "dicom_node", "serve", "--config", str(node.config)]
        before = time.monotonic()
        finished = subprocess.run(command, stdout=log, stderr=log, timeout=60, check=False)
    assert finished.returncode == 2
    assert time.monotonic() - before < 30
    assert str(tmp_path / "bundles") in (tmp_path / "log").read_text()
