"""The whole node beside a real Orthanc: what was never sent is fetched and analysed once; what never came is named."""

import time
from copy import deepcopy
from io import BytesIO
from pathlib import Path

import pytest
from builders import write_part10
from pydicom import dcmread
from pydicom.uid import generate_uid
from pypdf import PdfReader
from running import NODE, Node, dcmsend, results_among, wait_for

from dicom_node.demo.archives import OrthancArchive, find_free_port

pytestmark = [pytest.mark.orthanc, pytest.mark.dcmtk]

SAMPLES = Path(__file__).resolve().parents[2] / "sample_studies"
SLOW_S = 240


class Clinic:
    """An archive that forwards nothing by itself, and a node that asks it."""

    def __init__(self, folder):
        self.folder = folder
        port = find_free_port()
        self.archive = OrthancArchive(folder / "archive", port, extra={"LuaScripts": []})
        self.node = Node(folder / "node", {"archive": self.archive.port}, port=port)
        self.configure('[[senders]]\nae_title = "ARCHIVE"', '[[senders]]\nae_title = "ARCHIVE"\narchive = "archive"')

    def configure(self, old, new):
        """Change the configuration before the node starts."""
        text = self.node.config.read_text()
        assert old in text
        self.node.config.write_text(text.replace(old, new))

    def start(self):
        """Start both."""
        self.archive.start()
        self.node.start()

    def write(self, ds, **attributes):
        """Write a copy of `ds` as a new instance."""
        copy = deepcopy(ds)
        copy.SOPInstanceUID = generate_uid()
        for keyword, value in attributes.items():
            setattr(copy, keyword, value)
        copy.file_meta.MediaStorageSOPInstanceUID = copy.SOPInstanceUID
        return write_part10(copy, self.folder / f"{copy.SOPInstanceUID}.dcm")

    def results(self, study):
        """Return captures and reports that the archive holds of a study."""
        return results_among(self.archive.instances_of(study))

    def read_report(self, study):
        """Wait for the report, and until the node is done; return its text."""
        wait_for("a report in the archive", lambda: self.results(study)[1], within_s=SLOW_S)
        wait_for("the node is done", lambda: set(self.node.states()) == {"done"}, within_s=SLOW_S)
        (report,) = self.results(study)[1]
        pages = PdfReader(BytesIO(report.EncapsulatedDocument)).pages
        return " ".join(" ".join(page.extract_text() for page in pages).split())


@pytest.fixture
def clinic(tmp_path):
    clinic = Clinic(tmp_path)
    yield clinic
    if clinic.node.process is not None:
        assert clinic.node.stop() == 0
    clinic.archive.stop()


@pytest.fixture
def build_tibia():
    """Build images of one study of today, from the real distal tibia of the samples."""
    ds = dcmread(min((SAMPLES / "tibia_jpeg_ls").rglob("*.dcm")))
    ds.decompress()
    common = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid(), "SeriesNumber": 4}
    common |= {"StudyDate": time.strftime("%Y%m%d"), "StudyTime": time.strftime("%H%M%S")}

    def build(clinic, count):
        paths = [clinic.write(ds, **common, InstanceNumber=number) for number in range(1, count + 1)]
        return common["StudyInstanceUID"], paths

    return build


@pytest.mark.fault(60)
def test_a_study_that_was_never_forwarded_is_analysed_exactly_once(clinic, build_tibia):
    """A study that the archive never forwarded gets one result set, however often the archive is searched."""
    clinic.configure("[completion]", '[reconcile]\narchives = ["archive"]\nevery_s = 2\n\n[completion]')
    clinic.start()
    study, paths = build_tibia(clinic, 3)
    dcmsend(clinic.archive.port, *paths)
    assert "Analysed 3 of 3 images; the archive lists no other radiograph." in clinic.read_report(study)

    def is_whole():
        store = clinic.node.store()
        try:
            known = store.find_retrieval("archive", study)
            # Three images, summary and three captures, one report: a search that has seen the results, and wants
            # nothing of them.
            return known is not None and known.is_whole and known.related_instances == 3 + 4 + 1
        finally:
            store.close()

    wait_for("a search that finds nothing missing", is_whole, within_s=SLOW_S)
    captures, reports = clinic.results(study)
    assert (len(captures), len(reports)) == (3, 1)
    assert clinic.node.states() == ["done"]


@pytest.mark.fault(60)
def test_the_report_in_the_archive_names_the_image_that_never_came(clinic, build_tibia):
    """After `max_wait_s` the report in the archive says which image never came."""
    clinic.configure("max_wait_s = 60", "max_wait_s = 8")
    clinic.start()
    study, paths = build_tibia(clinic, 2)
    dcmsend(clinic.archive.port, *paths)
    began = time.monotonic()
    dcmsend(clinic.node.port, paths[0], calling="ARCHIVE", called=NODE)
    text = clinic.read_report(study)
    assert time.monotonic() - began > 8
    assert "Analysed 1 of 2 images; never came: series 4, image 2." in text
