"""Every form of the results on its way from a real node into a real Orthanc, and past an archive that takes few."""

import subprocess
from pathlib import Path

import pytest
from builders import write_part10
from delivery_bench import ScriptedArchive
from pydicom import dcmread
from pydicom.uid import generate_uid
from running import NODE, Node, wait_for

from dicom_node.demo.archives import OrthancArchive, send_files
from dicom_node.settings import Encoding

pytestmark = pytest.mark.orthanc

SAMPLES = Path(__file__).resolve().parents[2] / "sample_studies"
EVERY = f"results = {[str(encoding) for encoding in Encoding]}"
PATIENT_S = 120


@pytest.fixture
def few():
    """An archive that accepts Secondary Captures and PDFs, and nothing else."""
    archive = ScriptedArchive(offers=("store", "find"))
    yield archive
    archive.stop()


@pytest.fixture
def clinic(tmp_path, few):
    """An Orthanc and the few that want every form, and a third archive that is told nothing of them."""
    node = Node(tmp_path / "node", {})
    archive = OrthancArchive(tmp_path / "archive", node.port)
    ports = {"archive": archive.port, "few": few.port}
    node = Node(tmp_path / "node", ports, port=node.port)
    text = node.config.read_text().replace('ae_title = "ARCHIVE"\nhost', f'{EVERY}\nae_title = "ARCHIVE"\nhost')
    usual = text.split("[[destinations]]")[1].split("\n\n")[0].replace('"archive"', '"usual"').replace(EVERY, "")
    node.config.write_text(text + "\n[[destinations]]" + usual.replace(str(archive.port), str(few.port)))
    archive.start()
    node.start()
    yield node, archive
    assert node.stop() == 0
    archive.stop()


@pytest.mark.dicom3tools
def test_each_archive_gets_the_forms_that_it_wants_and_accepts(clinic, few, tmp_path):
    node, archive = clinic
    ds = dcmread(next((SAMPLES / "tibia_jpeg_ls").rglob("*.dcm")))
    ds.decompress()
    ds.StudyInstanceUID, ds.SOPInstanceUID = generate_uid(), generate_uid()
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    source = write_part10(ds, tmp_path / "source.dcm")
    send_files([source], port=archive.port, calling="MODALITY", called="ARCHIVE")
    wait_for("the node is done", lambda: node.states() == ["done"], within_s=PATIENT_S)

    held = archive.instances_of(ds.StudyInstanceUID)
    own = [one for one in held if one.get("Manufacturer") == "dicom-node"]
    assert len(held) == len(own) + 1
    assert sorted(one.Modality for one in own) == ["DOC", "KO", "OT", "OT", "PR", "SR"]
    files = []
    for number, one in enumerate(own):
        files.append(write_part10(one, tmp_path / f"{number}.dcm"))
        checked = subprocess.run(["dciodvfy", files[-1]], capture_output=True, text=True, check=False)
        assert not [line for line in checked.stderr.splitlines() if line.startswith("Error")], one.Modality
    checked = subprocess.run(["dcentvfy", *files], capture_output=True, text=True, check=False)
    assert not [line for line in checked.stderr.splitlines() if line.startswith("Error")]

    store = node.store()
    (revision,) = store.status(10)
    alarms = store.alarms()
    store.close()
    assert alarms == ()
    has = {one.destination: (one.objects, one.verified, one.left_out, one.parked) for one in revision.destinations}
    assert has == {"archive": (6, 6, 0, 0), "few": (6, 3, 3, 0), "usual": (3, 3, 0, 0)}
    (said,) = [one.detail for one in revision.destinations if one.destination == "few"]
    for form in ("Comprehensive 3D SR Storage", "Grayscale Softcopy Presentation State", "Key Object Selection"):
        assert form in said
    assert len(few.kept) == 3

    # All of it comes back, as by auto-forward, and is known.
    send_files(files, port=node.port, calling="ARCHIVE", called=NODE)
    store = node.store()
    roles = {str(store.find_instance(one.SOPInstanceUID).role) for one in own}
    store.close()
    assert roles == {"own result"}
    assert node.states() == ["done"]
