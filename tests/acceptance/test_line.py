"""One study in, one result set out: the real node, a real Orthanc with the forwarding script, DCMTK as the sender."""

import subprocess
import sys
import time
from copy import deepcopy
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from builders import write_part10
from pydicom import Dataset, dcmread
from pydicom.uid import JPEG2000Lossless, generate_uid
from pypdf import PdfReader
from running import NODE, Node, dcmsend, echo, results_among, wait_for

from dicom_node.demo.archives import OrthancArchive

pytestmark = [pytest.mark.orthanc, pytest.mark.dcmtk]

QUIET_S = 1.5
SAMPLES = Path(__file__).resolve().parents[2] / "sample_studies"


@pytest.fixture(scope="module")
def tibia():
    """The real distal tibia of the samples, uncompressed."""
    paths = sorted((SAMPLES / "tibia_jpeg_ls").rglob("*.dcm"))
    ds = dcmread(paths[0])
    ds.decompress()
    return ds


class Clinic:
    """An archive and a node that know each other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.node = Node(folder / "node", {})
        self.archive = OrthancArchive(folder / "archive", self.node.port)
        self.node = self._node()

    def _node(self) -> Node:
        node = Node(self.folder / "node", {"archive": self.archive.port}, quiet_s=QUIET_S)
        # The archive was told a port before the configuration was written: keep it.
        text = node.config.read_text().replace(f"port = {node.port}", f"port = {self.node.port}", 1)
        node.config.write_text(text)
        node.port = self.node.port
        return node

    def write(self, ds: Dataset, **attributes: object) -> Path:
        """Write a copy with a new SOP Instance UID."""
        copy = deepcopy(ds)
        copy.SOPInstanceUID = generate_uid()
        for keyword, value in attributes.items():
            setattr(copy, keyword, value)
        copy.file_meta.MediaStorageSOPInstanceUID = copy.SOPInstanceUID
        return write_part10(copy, self.folder / f"{copy.SOPInstanceUID}.dcm")

    def results(self, study: str) -> tuple[list[Dataset], list[Dataset]]:
        """Return captures and reports that the archive holds of a study."""
        return results_among(self.archive.instances_of(study))

    def wait_for_report(self, study: str, count: int = 1) -> tuple[list[Dataset], list[Dataset]]:
        """Wait until the archive holds that many reports of a study and the node is done."""
        wait_for(f"{count} report(s) in the archive", lambda: len(self.results(study)[1]) >= count)
        wait_for("the node is done", lambda: set(self.node.states()) == {"done"})
        return self.results(study)


@pytest.fixture
def clinic(tmp_path):
    clinic = Clinic(tmp_path)
    clinic.archive.start()
    clinic.node.start()
    yield clinic
    if clinic.node.process is not None:
        assert clinic.node.stop() == 0
    clinic.archive.stop()


def test_a_study_comes_back_with_one_capture_per_radiograph_and_one_report(clinic, tibia):
    study = generate_uid()
    series = generate_uid()
    attributes = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "PatientName": "Grüße^Анна=山田^太郎"}
    attributes |= {"SpecificCharacterSet": "ISO_IR 192", "PatientID": "P-1", "IssuerOfPatientID": "CLINIC"}
    paths = [clinic.write(tibia, InstanceNumber=number, **attributes) for number in (1, 2)]
    dcmsend(clinic.archive.port, *paths)
    captures, reports = clinic.wait_for_report(study)

    assert (len(captures), len(reports)) == (2, 1)
    sources = {dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in paths}
    assert {ds.SourceImageSequence[0].ReferencedSOPInstanceUID for ds in captures} == sources
    for ds in captures + reports:
        assert ds.PatientID == "P-1"
        assert ds.IssuerOfPatientID == "CLINIC"
        assert ds.PatientName == "Grüße^Анна=山田^太郎"
        assert ds.StudyInstanceUID == study
        assert ds.SeriesInstanceUID != series
    for ds in captures:
        assert (ds.Rows, ds.Columns) == (tibia.Rows, tibia.Columns)
    assert captures[0].SeriesInstanceUID == captures[1].SeriesInstanceUID


@pytest.mark.dicom3tools
def test_every_object_in_the_archive_is_valid_and_belongs_together(clinic, tibia, tmp_path):
    study = generate_uid()
    path = clinic.write(tibia, StudyInstanceUID=study, SeriesInstanceUID=generate_uid())
    dcmsend(clinic.archive.port, path)
    captures, reports = clinic.wait_for_report(study)
    files = []
    for number, ds in enumerate(captures + reports):
        files.append(tmp_path / f"result-{number}.dcm")
        ds.save_as(files[-1])
        checked = subprocess.run(["dciodvfy", files[-1]], capture_output=True, text=True, check=False)
        assert not [line for line in checked.stderr.splitlines() if line.startswith("Error")]
    checked = subprocess.run(["dcentvfy", *files], capture_output=True, text=True, check=False)
    assert not [line for line in checked.stderr.splitlines() if line.startswith("Error")]


def test_monochrome1_and_compressed_twins_give_the_same_overlay(clinic, tibia):
    pixels = tibia.pixel_array
    inverted = deepcopy(tibia)
    inverted.PhotometricInterpretation = "MONOCHROME2"
    top = 2**tibia.BitsStored - 1
    inverted.PixelData = (top - pixels).astype(pixels.dtype).tobytes()
    if "WindowCenter" in inverted:
        # The linear function is not symmetric about its centre: it has c - 0.5 (PS3.3 C.11.2.1.2.1).
        inverted.WindowCenter = top + 1 - float(np.atleast_1d(tibia.WindowCenter)[0])
    compressed = deepcopy(tibia)
    compressed.compress(JPEG2000Lossless)
    overlays = []
    for twin in (tibia, inverted, compressed):
        study = generate_uid()
        dcmsend(clinic.archive.port, clinic.write(twin, StudyInstanceUID=study, SeriesInstanceUID=generate_uid()))
        captures, _ = clinic.wait_for_report(study)
        overlays.append(captures[0].pixel_array.astype(int))
    assert np.ptp(overlays[0]) > 100
    for other in overlays[1:]:
        assert np.abs(other - overlays[0]).mean() < 1
        assert np.quantile(np.abs(other - overlays[0]), 0.999) <= 4


@pytest.mark.fault(19)
def test_a_study_split_over_three_associations_is_analysed_once(clinic, tibia):
    study = generate_uid()
    series = generate_uid()
    for number in (1, 2, 3):
        path = clinic.write(tibia, StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber=number)
        # Straight to the node, in the archive's name: together longer than the quiet period, each gap shorter.
        dcmsend(clinic.node.port, path, calling="ARCHIVE", called=NODE)
        time.sleep(0.6 * QUIET_S)
    captures, reports = clinic.wait_for_report(study)
    assert (len(captures), len(reports)) == (3, 1)
    assert clinic.node.states() == ["done"]


@pytest.mark.fault(60)
def test_a_late_image_gives_a_second_version_that_names_the_first(clinic, tibia):
    study = generate_uid()
    series = generate_uid()
    first = clinic.write(tibia, StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber=1)
    dcmsend(clinic.archive.port, first)
    clinic.wait_for_report(study)
    late = clinic.write(tibia, StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber=2)
    dcmsend(clinic.archive.port, late)
    captures, reports = clinic.wait_for_report(study, count=2)
    assert (len(captures), len(reports)) == (1 + 2, 2)
    assert clinic.node.states() == ["done", "done"]
    texts = [_text_of(ds) for ds in sorted(reports, key=lambda ds: ds.ContentDate + ds.ContentTime)]
    assert "supersedes version 1" not in texts[0]
    assert "supersedes version 1" in texts[1]


def _text_of(report: Dataset) -> str:
    """Return the text of the report, as a reader's search would find it."""
    pages = PdfReader(BytesIO(report.EncapsulatedDocument)).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


@pytest.mark.parametrize("moment", ["received", "queued", "analysing", "delivering"])
def test_a_node_that_is_killed_and_started_again_gives_one_result(clinic, tibia, moment):
    study = generate_uid()
    series = generate_uid()
    for number in (1, 2):
        path = clinic.write(tibia, StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber=number)
        dcmsend(clinic.node.port, path, calling="ARCHIVE", called=NODE)
    if moment == "received":
        assert clinic.node.states() == []
    else:
        wait_for(moment, lambda: clinic.node.states() == [moment], poll_s=0.002)
    clinic.node.kill()
    assert clinic.node.states() == ([] if moment == "received" else [moment])
    clinic.node.start()
    captures, reports = clinic.wait_for_report(study)
    assert (len(captures), len(reports)) == (2, 1)


def test_a_restart_between_two_images_of_a_study_gives_one_result(clinic, tibia):
    study = generate_uid()
    series = generate_uid()
    paths = [
        clinic.write(tibia, StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber=number)
        for number in (1, 2)
    ]
    dcmsend(clinic.node.port, paths[0], calling="ARCHIVE", called=NODE)
    clinic.node.kill()
    time.sleep(QUIET_S + 0.5)
    clinic.node.start()
    dcmsend(clinic.node.port, paths[1], calling="ARCHIVE", called=NODE)
    captures, reports = clinic.wait_for_report(study)
    assert (len(captures), len(reports)) == (2, 1)
    assert clinic.node.states() == ["done"]


@pytest.mark.parametrize("restarts", [False, True], ids=["it runs on", "it is restarted"])
def test_a_study_that_the_archive_could_not_forward_goes_with_the_next_one(clinic, tibia, restarts):
    assert clinic.node.stop() == 0
    studies = [generate_uid(), generate_uid()]
    paths = [clinic.write(tibia, StudyInstanceUID=study, SeriesInstanceUID=generate_uid()) for study in studies]
    dcmsend(clinic.archive.port, paths[0])
    wait_for(
        "the job has failed", lambda: "it is tried again" in (clinic.folder / "archive" / "orthanc.log").read_text()
    )
    if restarts:
        clinic.archive.stop()
        clinic.archive.start()
    clinic.node.start()
    dcmsend(clinic.archive.port, paths[1])
    for study in studies:
        captures, reports = clinic.wait_for_report(study)
        assert (len(captures), len(reports)) == (1, 1)


def test_results_that_are_forwarded_back_are_ignored(clinic, tibia, tmp_path):
    study = generate_uid()
    dcmsend(clinic.archive.port, clinic.write(tibia, StudyInstanceUID=study, SeriesInstanceUID=generate_uid()))
    captures, reports = clinic.wait_for_report(study)
    for ds in captures + reports:
        ds.save_as(tmp_path / f"{ds.SOPInstanceUID}.dcm")
        dcmsend(clinic.node.port, tmp_path / f"{ds.SOPInstanceUID}.dcm", calling="ARCHIVE", called=NODE)
    store = clinic.node.store()
    assert store.open_studies() == []
    store.close()
    again = clinic.results(study)
    assert (len(again[0]), len(again[1])) == (1, 1)
    assert clinic.node.states() == ["done"]


def test_an_unlisted_sender_is_rejected(clinic):
    assert echo(clinic.node.port, calling="ARCHIVE")
    assert not echo(clinic.node.port, calling="STRANGER")
    assert not echo(clinic.node.port, called="SOMEBODY")


def test_an_operator_can_complete_a_study_without_waiting(clinic, tibia):
    clinic.node.stop()
    text = clinic.node.config.read_text().replace(f"quiet_s = {QUIET_S}", "quiet_s = 50")
    assert "quiet_s = 50" in text
    clinic.node.config.write_text(text)
    clinic.node.start()
    study = generate_uid()
    path = clinic.write(tibia, StudyInstanceUID=study, SeriesInstanceUID=generate_uid())
    dcmsend(clinic.node.port, path, calling="ARCHIVE", called=NODE)
    before = time.monotonic()
    command = [sys.executable, "-m", "dicom_node", "complete", study, "--config", str(clinic.node.config)]
    subprocess.run(command, check=True, timeout=60)
    captures, reports = clinic.wait_for_report(study)
    assert (len(captures), len(reports)) == (1, 1)
    assert time.monotonic() - before < 40


def test_an_archive_that_is_down_and_comes_back_gets_everything_once(clinic, tibia):
    clinic.archive.stop()
    studies = [generate_uid() for _ in range(3)]
    for study in studies:
        path = clinic.write(tibia, StudyInstanceUID=study, SeriesInstanceUID=generate_uid())
        dcmsend(clinic.node.port, path, calling="ARCHIVE", called=NODE)
    wait_for("a delivery has failed", lambda: "archive" in clinic.node.log and "pending" in clinic.node.log)
    clinic.archive.start()
    for study in studies:
        captures, reports = clinic.wait_for_report(study)
        assert (len(captures), len(reports)) == (1, 1)


@pytest.mark.fault(53)
def test_a_study_of_nothing_but_a_chest_gets_a_visible_not_analysed_report(clinic):
    path = next(iter(sorted((SAMPLES / "chest").rglob("*.dcm"))))
    ds = dcmread(path, stop_before_pixels=True)
    dcmsend(clinic.archive.port, path)
    captures, reports = clinic.wait_for_report(ds.StudyInstanceUID)
    assert (len(captures), len(reports)) == (0, 1)
    assert "not analysed" in _text_of(reports[0]).lower()
    assert reports[0].PatientID == ds.PatientID
