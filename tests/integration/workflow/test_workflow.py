import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import closing

import pytest
from builders import build_dx, write_part10
from pynetdicom import AE, evt
from pynetdicom.sop_class import DigitalXRayImageStorageForPresentation
from running import wait_for
from stored_rows import build_row

from dicom_node.demo.archives import find_free_port
from dicom_node.settings import Destination
from dicom_node.store import RevisionState, Store
from dicom_node.workflow import retry_delay_s

STUDY = "1.2.3"

# The workflow engine is one to a process: each test runs it in a process of its own, with results made in advance.
PROGRAM = """
import logging, os, signal, sqlite3, sys, time
from pathlib import Path
from dicom_node.settings import load_settings
from dicom_node.store import Store, StoredResult
from dicom_node.workflow import StudyWorkflow, configure_workflows, running_workflows
from pydicom import dcmread

settings = load_settings(Path(sys.argv[1]))
behaviour = sys.argv[2]
store = Store(settings.database_url)

class Results:
    def make(self, study, digest, *, cautious):
        with open(settings.node.data_dir / "made", "a") as file:
            file.write("made without images\\n" if cautious else "made\\n")
        if behaviour == "slow":
            time.sleep(600)
        if behaviour in ("die", "deadly") or (behaviour == "poison" and not cautious):
            os.kill(os.getpid(), signal.SIGKILL)
        if behaviour == "unreadable":
            (settings.node.results_dir / "result.dcm").rename(settings.node.results_dir / "kept")
            ds = dcmread(settings.node.results_dir / "kept", stop_before_pixels=True)
        if behaviour == "full" and not (settings.node.data_dir / "mended").exists():
            raise OSError(28, "No space left on device")
        if behaviour == "fail":
            raise RuntimeError("a defect")
        if store.results_of(study, digest):
            return
        if behaviour != "unreadable":
            ds = dcmread(settings.node.results_dir / "result.dcm", stop_before_pixels=True)
        row = StoredResult(sop_instance_uid=ds.SOPInstanceUID, sop_class_uid=ds.SOPClassUID,
                           series_instance_uid=ds.SeriesInstanceUID, kind="secondary capture", path="result.dcm")
        rows = [row, row] if behaviour == "contradict" else [row]
        store.add_results(study, digest, rows, [], [one.name for one in settings.destinations])

if behaviour == "locked":
    # The first thing a step says to the database fails, as it would with a full disk or a lock that is held too long.
    say, said = store.set_revision_state, []
    def set_revision_state(*arguments, **options):
        said.append(1)
        if len(said) == 1:
            raise sqlite3.OperationalError("database is locked")
        say(*arguments, **options)
    store.set_revision_state = set_revision_state

configure_workflows(settings)
workflow = StudyWorkflow(settings, store, Results())
until = time.monotonic() + float(sys.argv[3])
with running_workflows(settings):
    while time.monotonic() < until:
        workflow.start_due(time.time())
        if all(one.state in ("done", "failed", "superseded") for one in store.status(10)):
            break
        time.sleep(0.1)
os._exit(0)  # as the worker does
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
        row = build_row("1.1", STUDY)
        self.row = row
        self.store.add_instances([row])
        self.store.close_revision(STUDY, time.time())

    def start(self, behaviour="succeed", *, for_s=100):
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
    assert one.start().wait(150) == 0
    assert one.status.state is RevisionState.DONE
    assert (len(at_a), len(at_b), one.times_made) == (1, 1, 1)


@pytest.mark.fault(62)
def test_a_dead_destination_delays_none_of_the_others_and_gets_its_results_when_it_is_back(archive, bench):
    """Connection refused for as long as it lasts: tried again, nobody else waits, and everything arrives in the end."""
    dead_port = find_free_port()
    port, at_living = archive()
    one = bench(dead=dead_port, living=port)
    process = one.start()
    wait_for("the living destination has its result", lambda: at_living, within_s=60)
    wait_for("the dead one was tried more than once", lambda: one.status.destinations[0].attempts > 1, within_s=100)
    assert one.status.state is RevisionState.DELIVERING
    _, at_risen = archive(dead_port)
    assert process.wait(150) == 0
    assert (len(at_living), len(at_risen)) == (1, 1)
    assert one.status.state is RevisionState.DONE


def test_a_worker_that_is_killed_while_it_makes_results_is_continued_by_the_next(archive, bench):
    port, received = archive()
    one = bench(a=port)
    assert one.start("die").wait(150) == -9
    assert one.status.state is RevisionState.ANALYSING
    assert one.start().wait(150) == 0
    assert one.status.state is RevisionState.DONE
    assert (len(received), one.times_made) == (1, 2)


@pytest.mark.parametrize("behaviour", ["fail", "contradict"])
def test_a_defect_leaves_a_failed_study_that_can_be_seen_and_retried(archive, bench, behaviour):
    """Also one by which the results contradict what the database holds: they would do so at every attempt."""
    port, received = archive()
    one = bench(a=port)
    assert one.start(behaviour).wait(150) == 0
    assert one.times_made == 1
    assert one.status.state is RevisionState.FAILED
    assert "dicom-node retry" in one.status.reason
    assert one.store.retry(STUDY) == 1
    assert one.start().wait(150) == 0
    assert one.status.state is RevisionState.DONE
    assert len(received) == 1


@pytest.mark.fault(60)
def test_a_version_that_failed_is_not_made_after_the_one_that_holds_all_its_images(archive, bench):
    """Version 1 failed, version 2 was made: a retry makes no version 1 that would pass for the newest answer."""
    port, received = archive()
    one = bench(a=port)
    assert one.start("fail").wait(150) == 0
    one.store.add_instances([build_row("1.2", STUDY)])
    one.store.close_revision(STUDY, time.time())
    assert one.start().wait(150) == 0
    assert one.store.retry(STUDY) == 1
    assert one.start(for_s=20).wait(150) == 0
    newest, first = one.store.status(10)
    assert (newest.state, first.state) == (RevisionState.DONE, RevisionState.SUPERSEDED)
    assert "version 2" in first.reason
    assert (len(received), one.times_made) == (1, 2)
    assert one.store.retry(STUDY) == 0


def start_until_it_ends(one, behaviour):
    """Start the worker until it ends in order, as a supervisor does; return how often it was killed."""
    codes = [one.start(behaviour).wait(100)]
    while codes[-1] != 0 and len(codes) < 10:
        codes.append(one.start(behaviour).wait(100))
    assert codes[-1] == 0
    return codes.count(-9)


@pytest.mark.fault(64)
@pytest.mark.parametrize("crashes", [1, 3])
def test_a_study_that_takes_the_worker_down_again_and_again_is_made_without_its_images(archive, bench, crashes):
    """A study that crashes the worker as often as configured gets its "not analysed" results without being opened."""
    port, received = archive()
    one = bench(a=port)
    one.config.write_text(f"{one.config.read_text()}\n[analysis]\ncrashes_per_study = {crashes}")
    assert start_until_it_ends(one, "poison") == crashes
    assert one.status.state is RevisionState.DONE
    assert len(received) == 1


@pytest.mark.fault(65)
def test_a_stop_in_order_while_a_study_is_analysed_is_no_crash_of_that_study(archive, bench):
    """Stopped in order again and again while an analysis outlasts the grace period: in the end analysed in full."""
    port, received = archive()
    one = bench(a=port)
    one.config.write_text(
        one.config.read_text().replace("grace_s = 5", "grace_s = 1") + "\n[analysis]\ncrashes_per_study = 1"
    )
    for number in (1, 2):
        process = one.start("slow", for_s=10)
        wait_for("its analysis has begun", lambda number=number: one.times_made == number, within_s=60)
        assert process.wait(150) == 0
        assert one.status.state is RevisionState.ANALYSING
    assert one.start().wait(150) == 0
    assert (one.status.state, len(received)) == (RevisionState.DONE, 1)
    assert "without" not in (one.folder / "made").read_text()


@pytest.mark.fault(64)
def test_a_study_whose_very_report_takes_the_worker_down_is_left_to_an_operator(archive, bench):
    """A study of which not even a report can be made is failed visibly, and no longer stops the worker."""
    port, received = archive()
    one = bench(a=port)
    one.config.write_text(f"{one.config.read_text()}\n[analysis]\ncrashes_per_study = 1")
    assert start_until_it_ends(one, "deadly") == 2
    assert one.status.state is RevisionState.FAILED
    assert "dicom-node retry" in one.status.reason
    assert one.store.retry(STUDY) == 1
    assert one.start().wait(100) == 0
    assert (one.status.state, len(received)) == (RevisionState.DONE, 1)


def test_a_lost_database_of_the_engine_loses_no_study(archive, bench):
    port, received = archive()
    one = bench(a=port)
    assert one.start("die").wait(150) == -9
    for path in one.folder.glob("workflow.sqlite*"):
        path.unlink()
    assert one.start().wait(150) == 0
    assert one.status.state is RevisionState.DONE
    assert len(received) == 1


def test_a_lost_database_of_the_node_is_made_up_for(archive, bench):
    port, received = archive()
    one = bench(a=port)
    assert one.start().wait(150) == 0
    one.store.close()
    for path in one.folder.glob("node.sqlite*"):
        path.unlink()
    one.store = Store(f"sqlite:///{one.folder / 'node.sqlite'}")
    one.store.add_instances([one.row])  # as the receiver rebuilds it from the spool
    one.store.close_revision(STUDY, time.time())
    assert one.start().wait(150) == 0
    assert one.status.state is RevisionState.DONE
    assert len(set(received)) == 1


def count_tries(path):
    """Count the tries that were begun, and how many of them were made."""
    with closing(sqlite3.connect(path)) as database:
        query = "SELECT tries, attempts FROM dispatches JOIN deliveries USING (destination)"
        return next(database.execute(query), (0, 0))


@pytest.mark.fault(59, 62)
@pytest.mark.parametrize("node_database", ["lost", "put back"])
def test_tries_are_made_although_the_engine_knows_as_many_of_an_earlier_database(archive, bench, node_database):
    """The archive is away, and the database lost or put back from a backup: each try that counts from then on is one.

    Only the one that was begun last may not have been made yet.
    """
    dead_port = find_free_port()
    one = bench(a=dead_port)
    path, backup = one.folder / "node.sqlite", one.folder / "backup"
    process = one.start()
    wait_for("it was tried", lambda: count_tries(path)[1], within_s=100)
    with closing(sqlite3.connect(path)) as now, closing(sqlite3.connect(backup)) as copy:
        now.backup(copy)
    tries, made = count_tries(backup) if node_database == "put back" else (0, 0)
    wait_for("it was tried more often", lambda: count_tries(path)[1] >= tries + 4, within_s=100)
    process.kill()
    process.wait()
    one.store.close()
    for file in one.folder.glob("node.sqlite*"):
        file.unlink()
    if node_database == "put back":
        backup.rename(path)
    one.store = Store(f"sqlite:///{path}")
    one.store.add_instances([one.row])
    one.store.close_revision(STUDY, time.time())
    process = one.start()
    wait_for("it was tried again", lambda: count_tries(path)[0] >= tries + 3, within_s=100)
    made_again = count_tries(path)[1] - made
    _, received = archive(dead_port)
    assert process.wait(150) == 0
    assert made_again >= 2
    assert (one.status.state, len(received)) == (RevisionState.DONE, 1)


def test_a_result_that_cannot_be_read_is_tried_again_and_seen(archive, bench):
    port, received = archive()
    one = bench(a=port)
    result = one.folder / "results" / "result.dcm"
    content = result.read_bytes()
    process = one.start("unreadable")
    wait_for("it was tried", lambda: one.status.destinations and one.status.destinations[0].attempts, within_s=100)
    assert "its file is missing" in one.status.destinations[0].detail
    result.write_bytes(content)
    assert process.wait(150) == 0
    assert len(received) == 1


def test_a_destination_that_is_no_longer_configured_ends_as_refused_however_often_it_is_retried(bench):
    one = bench(old=find_free_port())
    process = one.start()
    wait_for("it was tried", lambda: one.status.destinations and one.status.destinations[0].attempts, within_s=100)
    process.kill()
    process.wait()
    one.config.write_text(one.config.read_text().replace('name = "old"', 'name = "new"'))
    for _ in range(2):
        assert one.start().wait(150) == 0
        assert one.status.state is RevisionState.FAILED
        assert "no longer configured" in one.status.destinations[0].detail
        assert one.store.retry(STUDY) == 1


@pytest.mark.fault(62)
def test_a_retry_beside_a_waiting_destination_sends_to_neither_twice(archive, bench):
    """An operator's retry of what is parked leaves alone what waits for another archive."""
    dead_port = find_free_port()
    port, received = archive(status=0xA900)
    one = bench(dead=dead_port, stern=port)
    process = one.start()
    wait_for("one refused", lambda: one.status.destinations and one.status.destinations[1].parked, within_s=100)
    assert one.store.retry(STUDY) == 1
    wait_for("it refused again", lambda: len(received) == 2, within_s=100)
    _, at_risen = archive(dead_port)
    assert process.wait(150) == 0
    assert (len(at_risen), len(received)) == (1, 2)


def test_a_locked_database_delays_a_study_but_does_not_strand_it(archive, bench):
    port, received = archive()
    one = bench(a=port)
    process = one.start("locked", for_s=100)
    assert process.wait(150) == 0
    assert one.status.state is RevisionState.DONE
    assert len(received) == 1


def test_a_full_disk_delays_a_study_until_there_is_room(archive, bench):
    port, received = archive()
    one = bench(a=port)
    process = one.start("full", for_s=100)
    wait_for("it was tried", lambda: one.times_made, within_s=100)
    (one.folder / "mended").touch()
    assert process.wait(150) == 0
    assert one.status.state is RevisionState.DONE
    assert len(received) == 1


@pytest.mark.fault(62)
def test_a_refused_result_is_not_sent_again_until_an_operator_says_so(archive, bench):
    """A9xx: parked by the running workflow, and sent once."""
    port, received = archive(status=0xA900)
    one = bench(a=port)
    assert one.start().wait(150) == 0
    assert one.status.state is RevisionState.FAILED
    assert "0xA900" in one.status.destinations[0].detail
    assert len(received) == 1


def test_checkpoints_hold_no_more_than_uids(archive, bench):
    port, _ = archive()
    one = bench(a=port)
    assert one.start().wait(150) == 0
    content = (one.folder / "workflow.sqlite").read_bytes()
    assert STUDY.encode() in content
    assert b"Phantom" not in content


@pytest.mark.fault(62)
def test_the_wait_before_a_retry_doubles_up_to_the_longest():
    """Retries never end: the wait doubles up to the longest, and no two draw the same."""
    destination = Destination(name="a", ae_title="A", host="127.0.0.1", port=1, retry_first_s=5, retry_longest_s=60)
    for number, longest in ((1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (100, 60)):
        drawn = [retry_delay_s(destination, number) for _ in range(50)]
        assert 0.75 * longest <= min(drawn) < max(drawn) <= longest
