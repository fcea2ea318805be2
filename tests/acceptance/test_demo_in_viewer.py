"""`dicom-node demo` ends in a viewer, as a person at a terminal sees it, and leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from ohif import running_browser
from pydicom import dcmread
from running import wait_for

from dicom_node.demo.viewer import NoViewerError, fetch_viewer

pytestmark = [pytest.mark.orthanc, pytest.mark.browser]

SAMPLES = Path(__file__).resolve().parents[2] / "sample_studies"
SHOWN = ("tibia_jpeg_ls", "phantom_landscape")


@contextmanager
def running_demonstration(folder, names):
    """Start it in a process group of its own, as a shell does; yields the process and what it has printed so far."""
    try:
        fetch_viewer()
    except NoViewerError as error:
        pytest.skip(str(error))
    paths = [str(SAMPLES / name) for name in names]
    command = [sys.executable, "-m", "dicom_node", "demo", *paths, "--viewer", "--out", str(folder / "out")]
    printed = folder / "printed.txt"
    with printed.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    started = []
    try:
        wait_for("it ends in a viewer", lambda: "Ctrl+C" in printed.read_text() or process.poll(), within_s=300)
        assert process.poll() is None, printed.read_text()
        started += psutil.Process(process.pid).children(recursive=True)
        yield process, printed.read_text, started
    finally:
        process.kill()
        process.wait()
        for one in started:
            if one.is_running():
                one.kill()


def list_left(started):
    return [one for one in started if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def read_addresses(printed):
    return dict(re.findall(r"^  (\S+): (http://127\.0\.0\.1:\d+/\S+)$", printed, re.MULTILINE))


def test_it_shows_every_study_until_ctrl_c_and_leaves_nothing_running(tmp_path):
    with running_demonstration(tmp_path, SHOWN) as (process, read_printed, started):
        wait_for("every address is printed", lambda: len(read_addresses(read_printed())) == len(SHOWN))
        addresses = read_addresses(read_printed())
        names = {one.name() for one in started}
        assert "Orthanc" in names
        assert len(started) > 3, "Orthanc, and the node with its receiver, worker and web process"
        with running_browser() as page:
            for name in SHOWN:
                (path,) = (SAMPLES / name).glob("*.dcm")
                assert addresses[name].endswith(f"={dcmread(path, stop_before_pixels=True).StudyInstanceUID}")
                page.open(addresses[name])
                page.wait_until(lambda: len(page.list_series()) == 3)
                listed = "\n".join(page.list_series())
                for words in ("Fracture AI overlay", "Fracture AI report"):
                    assert words in listed
                page.show("Fracture AI overlay")
                page.wait_until(lambda: not page.is_empty)
            assert process.poll() is None, "it serves until it is interrupted"
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does at Ctrl+C, the page still open
            assert process.wait(60) == 0, read_printed()
        wait_for("nothing of it is left", lambda: not list_left(started), within_s=10)
        assert (tmp_path / "out" / "index.html").exists()
        assert not (tmp_path / "out" / "work").exists()
        assert "Traceback" not in read_printed()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_it_leaves_nothing_running_when_it_is_stopped_or_its_terminal_is_closed(tmp_path, how):
    with running_demonstration(tmp_path, SHOWN[1:]) as (process, read_printed, started):
        os.kill(process.pid, how)
        assert process.wait(60) == 0, read_printed()
        wait_for("nothing of it is left", lambda: not list_left(started), within_s=10)
