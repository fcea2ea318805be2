"""Proof of delivery with the archives that there are: Orthanc, and DCMTK's dcmqrscp and storescp."""

import json
import os
import subprocess
from io import BytesIO

import pytest
from delivery_bench import AE_TITLE, DeliveryBench
from pydicom import dcmread
from running import wait_for

from dicom_node.deliver.proof import MOST_SILENCES
from dicom_node.demo.archives import OrthancArchive, find_free_port
from dicom_node.store import RevisionState

REFUSING_FILTER = """
function ReceivedInstanceFilter(dicom, origin, info)
  return false
end
"""


@pytest.fixture
def bench(tmp_path):
    made = []

    def make(port, **options):
        made.append(DeliveryBench(tmp_path / "node", port, **options))
        return made[-1]

    yield make
    for one in made:
        one.store.close()


@pytest.fixture
def orthanc(tmp_path):
    """Start an Orthanc that reports to a port, and keeps nothing where told so."""
    started = []

    def start(report_port, *, keeps=True, **settings):
        script = tmp_path / "filter.lua"
        script.write_text(REFUSING_FILTER)
        extra = {"DicomAet": AE_TITLE, "LuaScripts": [] if keeps else [str(script)], **settings}
        started.append(OrthancArchive(tmp_path / "orthanc", report_port, extra=extra))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.stop()


def counts(now):
    return now.sent, now.committed, now.verified, now.pending, now.parked


@pytest.mark.orthanc
@pytest.mark.fault(63)
def test_orthanc_vouches_for_what_it_keeps_and_it_is_found_there(orthanc, bench):
    """Orthanc: sent, committed by a report on a new association, verified by C-FIND, in one try."""
    one = bench(1, report_wait_s=60)
    with one.receiver() as receiver:
        one.destination = one.destination.model_copy(update={"port": orthanc(receiver.port).port})
        assert counts(one.attempt()) == (2, 2, 2, 0, 0)
    assert one.state is RevisionState.DONE
    assert one.now.detail == ""


@pytest.mark.orthanc
@pytest.mark.fault(62, 63)
@pytest.mark.parametrize(
    ("proofs", "said"),
    [
        ({"verify": "never", "report_wait_s": 60}, "0x0112"),
        ({"commitment": "never", "verify_deadline_s": 0.01}, "C-FIND does not find"),
    ],
)
def test_an_orthanc_that_answers_success_and_keeps_nothing_is_caught(orthanc, bench, proofs, said):
    """Orthanc with a ReceivedInstanceFilter that refuses: Success for everything, parked by either proof alone."""
    one = bench(1, **proofs)
    with one.receiver() as receiver:
        archive = orthanc(receiver.port, keeps=False)
        one.destination = one.destination.model_copy(update={"port": archive.port})
        # The deadline of one may pass in another try than that of the other.
        wait_for("one of them is to be sent once more", lambda: one.attempt().pending >= 1)
        wait_for("parked", lambda: one.attempt().parked == 2)
    assert said in one.store.alarms()[0].detail
    assert one.state is RevisionState.FAILED
    assert json.loads(archive.get("/instances")) == []


@pytest.mark.orthanc
@pytest.mark.fault(62)
def test_an_orthanc_that_keeps_nothing_is_believed_where_no_proof_is_asked_for(orthanc, bench):
    """The negative control: without the proofs, what Orthanc threw away counts as delivered."""
    one = bench(1, commitment="never", verify="never")
    archive = orthanc(find_free_port(), keeps=False)
    one.destination = one.destination.model_copy(update={"port": archive.port})
    assert counts(one.attempt()) == (2, 0, 0, 0, 0)
    assert one.state is RevisionState.DONE
    assert json.loads(archive.get("/instances")) == []


@pytest.mark.orthanc
@pytest.mark.fault(63)
@pytest.mark.parametrize("patient_id", ["PHANTOM-1", "", "ПАЦИЕНТ-7", "a b  c"])
def test_orthanc_finds_a_result_under_whatever_identifier_it_has(orthanc, bench, patient_id):
    """Identifiers of any character set, or none: found in the right study of the right patient."""
    one = bench(1, commitment="never", patient_id=patient_id)
    archive = orthanc(find_free_port())
    one.destination = one.destination.model_copy(update={"port": archive.port})
    assert counts(one.attempt()) == (2, 0, 2, 0, 0)


@pytest.mark.orthanc
@pytest.mark.fault(63)
def test_a_result_that_orthanc_has_under_another_patient_is_not_taken_for_delivered(orthanc, bench):
    """The result is in a study of that UID, but of another patient: parked with an alarm, by C-FIND alone."""
    one = bench(1, report_wait_s=60)
    with one.receiver() as receiver:
        archive = orthanc(receiver.port)
        for result in one.results:
            ds = dcmread(one.node.results_dir / result.path)
            ds.PatientID = "SOMEBODY"
            buffer = BytesIO()
            ds.save_as(buffer)
            archive.post("/instances", buffer.getvalue())
        one.destination = one.destination.model_copy(update={"port": archive.port})
        for result in one.results:
            one.store.record_delivery("archive", result.sop_instance_uid, "sent", "")
        one.prove()
    assert one.now.parked == 2
    assert "not of this patient" in one.store.alarms()[0].detail


@pytest.mark.orthanc
@pytest.mark.fault(63)
def test_an_orthanc_that_does_not_know_the_node_vouches_for_nothing_and_is_searched(orthanc, bench):
    """Orthanc aborts what a node asks that it does not know: where it lets it query, C-FIND counts, and it is said."""
    one = bench(1)
    archive = orthanc(find_free_port(), DicomAlwaysAllowFind=True)
    one.node = one.node.model_copy(update={"ae_title": "STRANGER"})
    one.destination = one.destination.model_copy(update={"port": archive.port})
    for _ in range(4):
        now = one.attempt()
    assert counts(now) == (2, 0, 2, 0, 0)
    assert "no storage commitment after 3 requests" in now.detail
    assert one.state is RevisionState.DONE


@pytest.mark.orthanc
@pytest.mark.fault(63)
def test_an_orthanc_that_answers_nothing_but_storage_ends_in_an_alarm(orthanc, bench):
    """Orthanc takes objects from a node that it does not know and aborts every question: parked, not tried for ever."""
    one = bench(1)
    archive = orthanc(find_free_port())
    one.node = one.node.model_copy(update={"ae_title": "STRANGER"})
    one.destination = one.destination.model_copy(update={"port": archive.port})
    for _ in range(MOST_SILENCES - 1):
        now = one.attempt()
    assert counts(now) == (2, 0, 0, 0, 0)
    assert one.attempt().parked == 2
    assert "may this node query there?" in one.store.alarms()[0].detail


def start(command, port, folder, log):
    with (folder / "program.log").open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=output, env={**os.environ, "TCP_NODELAY": "1"}
        )
    wait_for(log, lambda: _echoes(port), within_s=60)
    return process


def _echoes(port):
    command = ["echoscu", "--aetitle", "FRACTUREAI", "--call", AE_TITLE, "127.0.0.1", str(port)]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


@pytest.fixture
def dcmqrscp(tmp_path):
    port, storage = find_free_port(), tmp_path / "dcmqrscp" / "storage"
    storage.mkdir(parents=True)
    configuration = tmp_path / "dcmqrscp" / "dcmqrscp.cfg"
    configuration.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        "HostTable BEGIN\nnode = (FRACTUREAI, 127.0.0.1, 1)\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\n{AE_TITLE} {storage} RW (200, 1024mb) ANY\nAETable END\n"
    )
    process = start(["dcmqrscp", "--config", str(configuration)], port, storage.parent, "dcmqrscp answers")
    yield port
    process.terminate()
    process.wait()


@pytest.fixture
def storescp(tmp_path):
    port, folder = find_free_port(), tmp_path / "storescp"
    folder.mkdir()
    process = start(["storescp", "--aetitle", AE_TITLE, str(port)], port, folder, "storescp answers")
    yield port
    process.terminate()
    process.wait()


@pytest.mark.dcmtk
@pytest.mark.fault(63)
def test_an_archive_without_storage_commitment_is_searched(dcmqrscp, bench):
    """DCMTK's dcmqrscp, which knows no storage commitment: verified by C-FIND, and the status says so."""
    one = bench(dcmqrscp)
    now = one.attempt()
    assert counts(now) == (2, 0, 2, 0, 0)
    assert now.detail == "storage commitment is not offered"
    assert one.state is RevisionState.DONE


@pytest.mark.dcmtk
@pytest.mark.fault(63)
def test_a_mere_storage_scp_is_believed_and_that_is_stated(storescp, bench):
    """DCMTK's storescp, which offers no proof at all: delivered, and the status says that nothing proves it."""
    one = bench(storescp)
    now = one.attempt()
    assert counts(now) == (2, 0, 0, 0, 0)
    assert now.detail == "storage commitment is not offered; C-FIND is not offered"
    assert one.state is RevisionState.DONE
