"""The whole line with a real Orthanc: a late image rejects what it supersedes; files go; what comes again is known."""

import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
from builders import write_part10
from pydicom import dcmread
from pydicom.uid import KeyObjectSelectionDocumentStorage, generate_uid
from running import NODE, Node, dcmsend, wait_for

from dicom_node.demo.archives import OrthancArchive, find_free_port

pytestmark = [pytest.mark.orthanc, pytest.mark.dcmtk]

SAMPLES = Path(__file__).resolve().parents[2] / "sample_studies"
BUSY_S = 240
KEEPING = "[retention]\nfiles_days = 30\nevery_s = 1\n\n[results]\nreject_superseded = true"


@pytest.fixture
def archive(tmp_path):
    archive = OrthancArchive(tmp_path / "archive", find_free_port(), extra={"LuaScripts": []})
    # The node's port is known before the archive's configuration is written.
    archive.node_port = archive._configuration["DicomModalities"]["fractureai"]["Port"]  # noqa: SLF001  # as the fixture set it
    archive.start()
    yield archive
    archive.stop()


@pytest.fixture
def node(tmp_path, archive):
    node = Node(tmp_path / "node", {"archive": archive.port}, port=archive.node_port, more=KEEPING)
    node.start()
    yield node
    if node.process is not None:
        node.kill()


def write_images(folder, study, count):
    source = dcmread(next((SAMPLES / "tibia_jpeg_ls").rglob("*.dcm")))
    source.decompress()
    series = generate_uid()
    for number in range(1, count + 1):
        ds = deepcopy(source)
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = study, series, generate_uid()
        ds.InstanceNumber, ds.file_meta.MediaStorageSOPInstanceUID = number, ds.SOPInstanceUID
        yield write_part10(ds, folder / f"{number}.dcm")


def spooled(node):
    return [path for path in (node.folder / "var" / "spool").glob("*/*.dcm") if not path.parent.name.startswith(".")]


def results(node):
    return list((node.folder / "var" / "results").rglob("*.dcm"))


def ask(node, *words):
    command = [sys.executable, "-m", "dicom_node", *words, "--config", str(node.config)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=BUSY_S).stdout


@pytest.mark.fault(25, 60)
def test_a_late_image_rejects_the_old_results_and_what_was_removed_is_not_analysed_again(node, archive, tmp_path):
    """Version 2 comes with a rejection note for version 1; then all files go, and sending all again changes nothing."""
    study = generate_uid()
    first, late = write_images(tmp_path, study, 2)
    for number, path in enumerate((first, late), start=1):
        dcmsend(node.port, path, calling="ARCHIVE", called=NODE)
        wait_for(f"version {number} is delivered", lambda n=number: node.states() == ["done"] * n, within_s=BUSY_S)
    held = archive.instances_of(study)
    (note,) = [ds for ds in held if ds.SOPClassUID == KeyObjectSelectionDocumentStorage]
    old = {ds.SOPInstanceUID for ds in held if ds.SeriesNumber in {9001, 9002}}
    rejected = {item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in note.ContentSequence[1:]}
    assert rejected == old
    assert len(old) == 3, "summary, capture and report"
    # 30 days are not over: nothing would go, nothing has gone.
    assert ask(node, "retention").startswith("0 studies")
    disk = json.loads(ask(node, "status", "--json"))["disk"]
    assert disk["received"] > first.stat().st_size
    assert disk["results"] > 0
    # With less than a second to keep them, they go.
    assert node.stop() == 0
    node.config.write_text(node.config.read_text().replace("files_days = 30", "files_days = 0.00001"))
    assert study in ask(node, "retention")
    node.start()
    wait_for("the files are removed", lambda: not spooled(node) and not results(node), within_s=BUSY_S)
    # Sent again they are taken, known, and go again.
    dcmsend(node.port, first, late, calling="ARCHIVE", called=NODE)
    wait_for("the files are removed once more", lambda: not spooled(node), within_s=BUSY_S)
    status = json.loads(ask(node, "status", "--json"))
    assert [one["version"] for one in status["revisions"]] == [2, 1]
    assert status["open"] == []
    assert status["oldest_undelivered"] is None
    assert len(archive.instances_of(study)) == len(held)
