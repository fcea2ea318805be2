import subprocess
import sys
import textwrap
import time

import pytest
from builders import build_dx, write_part10
from pynetdicom import AE, evt
from pynetdicom.sop_class import DigitalXRayImageStorageForPresentation
from running import wait_for

from dicom_node.demo.archives import find_free_port
from dicom_node.settings import Destination
from dicom_node.store import InstanceRole, ReceivedInstance, RevisionState, Store
from dicom_node.workflow import retry_delay_s

STUDY = "1.2.3"

# The workflow engine is one to a process: each test runs it in a process of its own, with results made in advance.
PROGRAM = """
import logging, os, signal, sys, time
from pathlib import Path
from dicom_node.settings import load_settings
from dicom_node.store import Store, StoredResult
from dicom_node.workflow import StudyWorkflow, configure_workflows, running_workflows
from pydicom import dcmread

settings = load_settings(Path(sys.argv[1]))
behaviour = sys.argv[2]
store = Store(settings.database_url)

class Results:
    def make(self, study, digest):
        with open(settings.node.data_dir / "made", "a") as file:
            file.write("made\\n")
        if behaviour == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if behaviour == "fail":
            raise RuntimeError("a defect")
        if store.results_of(study, digest):
            return
        ds = dcmread(settings.node.results_dir / "result.dcm", stop_before_pixels=True)
        row = StoredResult(sop_instance_uid=ds.SOPInstanceUID, sop_class_uid=ds.SOPClassUID,
                           series_instance_uid=ds.SeriesInstanceUID, kind="secondary capture", path="result.dcm")
        store.add_results(study, digest, [row], [], [one.name for one in settings.destinations])

configure_workflows(settings)
workflow = StudyWorkflow(settings, store, Results())
until = time.monotonic() + float(sys.argv[3])
with running_workflows(settings):
    while time.monotonic() < until:
        for queued in store.queued_revisions():
            workflow.start(*queued)
        if all(one.state in ("done", "failed") for one in store.status(10)):
            break
        time.sleep(0.1)
"""


class Bench:
    def __init__(self, folder, ports):
        self.folder = folder
        self.config = folder / "node.toml"
        destinations = "\n".join(
            f'[[destinations]]\nname = "{name}"\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\nport = {port}\n'
            "connection_timeout_s = 1\nretry_first_s = 0.5\nretry_longest_s = 0.5"
            for name, port in ports.items()
        )
        self.config.write_text(
            f'[node]\nae_title = "NODE"\ndata_dir = "{folder}"\ngrace_s = 5\n'
            f'[[senders]]\nae_title = "A"\n{destinations}'
        )
        write_part10(build_dx(), folder / "results" / "result.dcm")
        self.store = Store(f"sqlite:///{folder / 'node.sqlite'}")
        row = ReceivedInstance(
            sop_instance_uid="1.1",
            study_instance_uid=STUDY,
            series_instance_uid="1.4",
            sop_class_uid="1.5",
            transfer_syntax_uid="1.6",
            calling_ae_title="A",
            path="x",
            sha256="0",
            size=1,
            role=InstanceRole.IMAGE,
            received_at=time.time(),
        )
        self.store.add_instances([row])
        self.store.close_revision(STUDY, time.time())

    def start(self, behaviour="succeed", *, for_s=30):
        command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(self.config), behaviour, str(for_s)]
        return subprocess.Popen(command)

    @property
    def status(self):
        return self.store.status(1)[0]

    @property
    def times_made(self):
        made = self.folder / "made"
        return made.read_text().count("made") if made.exists() else 0


@pytest.fixture
def archive():
    servers = []

    def start(port=0, *, status=0x0000):
        received = []
        ae = AE(ae_title="ARCHIVE")
        ae.add_supported_context("1.2.840.10008.1.1")
        ae.add_supported_context(DigitalXRayImageStorageForPresentation)

        def keep(event):
            received.append(str(event.request.AffectedSOPInstanceUID))
            return status

        server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
        servers.append(server)
        return server.server_address[1], received

    yield start
    for server in servers:
        server.shutdown()


@pytest.fixture
def bench(tmp_path):
    benches = []

    def build(**ports):
        benches.append(Bench(tmp_path, ports))
        return benches[-1]

    yield build
    for one in benches:
        one.store.close()


def test_a_revision_is_made_and_delivered_to_every_destination_once(archive, bench):
    (port_a, at_a), (port_b, at_b) = archive(), archive()
    one = bench(a=port_a, b=port_b)
    assert one.start().wait(40) == 0
    assert one.status.state is RevisionState.DONE
    assert (len(at_a), len(at_b), one.times_made) == (1, 1, 1)


def test_a_dead_destination_delays_none_of_the_others_and_gets_its_results_when_it_is_back(archive, bench):
    dead_port = find_free_port()
    port, at_living = archive()
    one = bench(dead=dead_port, living=port)
    process = one.start()
    wait_for("the living destination has its result", lambda: at_living, within_s=10)
    wait_for("the dead one was tried more than once", lambda: one.status.destinations[0].attempts > 1, within_s=20)
    assert one.status.state is RevisionState.DELIVERING
    _, at_risen = archive(dead_port)
    assert process.wait(40) == 0
    assert (len(at_living), len(at_risen)) == (1, 1)
    assert one.status.state is RevisionState.DONE


def test_a_worker_that_is_killed_while_it_makes_results_is_continued_by_the_next(archive, bench):
    port, received = archive()
    one = bench(a=port)
    assert one.start("die").wait(40) == -9
    assert one.status.state is RevisionState.ANALYSING
    assert one.start().wait(40) == 0
    assert one.status.state is RevisionState.DONE
    assert (len(received), one.times_made) == (1, 2)


def test_a_defect_leaves_a_failed_study_that_can_be_seen_and_retried(archive, bench):
    port, received = archive()
    one = bench(a=port)
    assert one.start("fail").wait(40) == 0
    assert one.status.state is RevisionState.FAILED
    assert "dicom-node retry" in one.status.reason
    assert one.store.retry(STUDY) == 1
    assert one.start().wait(40) == 0
    assert one.status.state is RevisionState.DONE
    assert len(received) == 1


def test_a_refused_result_is_not_sent_again_until_an_operator_says_so(archive, bench):
    port, received = archive(status=0xA900)
    one = bench(a=port)
    assert one.start().wait(40) == 0
    assert one.status.state is RevisionState.FAILED
    assert "0xA900" in one.status.destinations[0].detail
    assert len(received) == 1


def test_checkpoints_hold_no_more_than_uids(archive, bench):
    port, _ = archive()
    one = bench(a=port)
    assert one.start().wait(40) == 0
    content = (one.folder / "workflow.sqlite").read_bytes()
    assert STUDY.encode() in content
    assert b"Phantom" not in content


def test_the_wait_before_a_retry_doubles_up_to_the_longest():
    destination = Destination(name="a", ae_title="A", host="127.0.0.1", port=1, retry_first_s=5, retry_longest_s=60)
    assert [retry_delay_s(destination, number) for number in (1, 2, 3, 4, 5, 100)] == [5, 10, 20, 40, 60, 60]
