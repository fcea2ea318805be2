"""The whole node beside hostile images and dying processes: it receives, answers and stays up."""

import os
import signal
from io import BytesIO
from pathlib import Path

import pytest
from builders import write_part10
from hostile_pixels import build_panicking_rle
from pydicom import dcmread
from pydicom.uid import generate_uid
from pypdf import PdfReader
from running import NODE, Node, results_among, wait_for

from dicom_node.demo.archives import send_files

SAMPLES = Path(__file__).resolve().parents[2] / "sample_studies"
PATIENT_S = 300


@pytest.fixture
def node(tmp_path, builtin_archive):
    node = Node(tmp_path / "node", {"archive": builtin_archive.port}).start()
    wait_for("the worker is ready", lambda: "worker ready" in node.log, within_s=PATIENT_S)
    yield node
    node.stop()


def send(node, ds, folder):
    path = write_part10(ds, folder / f"{ds.SOPInstanceUID}.dcm")
    send_files([path], port=node.port, calling="ARCHIVE", called=NODE)


def tibia(study):
    ds = dcmread(next((SAMPLES / "tibia_jpeg_ls").rglob("*.dcm")))
    ds.StudyInstanceUID, ds.SOPInstanceUID = study, generate_uid()
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def wait_for_results(builtin_archive, study):
    def ends_with_report():
        captures, reports = results_among(builtin_archive.instances_of(study))
        return (captures, reports) if reports else None

    captures, reports = wait_for("a report", ends_with_report, within_s=PATIENT_S)
    pages = PdfReader(BytesIO(reports[0].EncapsulatedDocument)).pages
    return captures, " ".join(" ".join(page.extract_text() for page in pages).split())


def processes_below(pid):
    """Map the last word of each child's command to its number."""
    found = {}
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found[int(child)] = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
    return found


@pytest.mark.fault(39, 64)
def test_hostile_images_and_killed_processes_cost_a_running_node_nothing_else(node, builtin_archive, tmp_path):
    """An image that panics its decoder is said in its report; with decoder and models killed, the next is analysed."""
    study = generate_uid()
    sound, broken = tibia(study), build_panicking_rle()
    broken.StudyInstanceUID, broken.PatientID, broken.PatientName = study, sound.PatientID, sound.PatientName
    send(node, broken, tmp_path)
    send(node, sound, tmp_path)
    captures, text = wait_for_results(builtin_archive, study)
    assert [ds.SourceImageSequence[0].ReferencedSOPInstanceUID for ds in captures] == [sound.SOPInstanceUID]
    assert "The image could not be decoded: the decoder failed (PanicException)." in text

    below = processes_below(node.process.pid)
    (worker,) = [pid for pid, words in below.items() if "worker" in words]
    caged = [pid for pid, words in processes_below(worker).items() if "dicom_node.analyse.caged" in words]
    assert len(caged) == 2
    for pid in caged:
        os.kill(pid, signal.SIGKILL)
    later = generate_uid()
    send(node, tibia(later), tmp_path)
    captures, text = wait_for_results(builtin_archive, later)
    assert len(captures) == 1
    assert worker in processes_below(node.process.pid)
