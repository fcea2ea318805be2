"""Archives that hang, are dead or stop inside a PDU, beside one that works: nobody waits for another."""

import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from io import BytesIO

import pytest
from builders import build_sc, phantom, write_part10
from pydicom import dcmread
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification
from rogue_archive import RogueArchive
from running import wait_for
from stored_rows import build_row

from dicom_node.store import RevisionState, Store, StoredResult

STUDIES = 12
AT_ONCE = 2
"""Tries that one destination has at a time."""

# The workflow engine is one to a process. Nothing is analysed here: the results are in the store already.
PROGRAM = """
import sys, time
from pathlib import Path
from dicom_node.settings import load_settings
from dicom_node.store import Store
from dicom_node.workflow import StudyWorkflow, configure_workflows, running_workflows

settings = load_settings(Path(sys.argv[1]))
store = Store(settings.database_url)
configure_workflows(settings)
workflow = StudyWorkflow(settings, store, None)
with running_workflows(settings):
    while not all(one.state == "done" for one in store.status(1000)):
        workflow.start_due(time.time())
        time.sleep(0.1)
"""


class HangingArchive:
    """A Storage SCP that answers no C-STORE before it is released."""

    def __init__(self, *, hangs):
        self.released = threading.Event()
        if not hangs:
            self.released.set()
        self.begun, self.answered = [], []
        ae = AE(ae_title="ARCHIVE")
        ae.add_supported_context(Verification)
        ae.add_supported_context(SecondaryCaptureImageStorage)
        self._server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        self.port = self._server.server_address[1]

    def _store(self, event):
        uid = dcmread(BytesIO(event.encoded_dataset()), stop_before_pixels=True).SOPInstanceUID
        self.begun.append(uid)
        self.released.wait(600)
        self.answered.append(uid)
        return 0x0000

    def stop(self):
        self.released.set()
        self._server.shutdown()


@pytest.fixture
def silent_port():
    """The port of a peer that takes connections and never says a word."""
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def take():
            with suppress(OSError):  # closed: that is the end
                while True:
                    taken.append(listener.accept()[0])

        thread = threading.Thread(target=take)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in taken:
        connection.close()


@pytest.fixture
def halting_port():
    """The port of an archive that stops in the middle of each A-ASSOCIATE-AC."""
    archive = RogueArchive(lambda node: node.socket.sendall(node.build_acceptance()[:40]))
    yield archive.port
    archive.stop()


def fill(folder, destinations):
    """Put studies into a store, each with one result that every destination lacks."""
    store = Store(f"sqlite:///{folder / 'node.sqlite'}")
    for number in range(STUDIES):
        ds = build_sc(phantom(32, 24), StudyInstanceUID=generate_uid())
        path = write_part10(ds, folder / "results" / f"{number}.dcm")
        image = build_row(generate_uid(), ds.StudyInstanceUID)
        result = StoredResult(
            sop_instance_uid=ds.SOPInstanceUID,
            sop_class_uid=ds.SOPClassUID,
            series_instance_uid=ds.SeriesInstanceUID,
            kind="secondary capture",
            path=path.name,
        )
        store.add_instances([image])
        store.close_revision(ds.StudyInstanceUID, time.time())
        (unmade,) = store.unmade_revisions()
        store.add_results(ds.StudyInstanceUID, unmade.digest, [result], [], destinations)
        store.set_revision_state(ds.StudyInstanceUID, unmade.digest, RevisionState.DELIVERING)
    return store


def write_config(folder, ports):
    destinations = "\n".join(
        f'[[destinations]]\nname = "{name}"\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\nport = {port}\n'
        f"response_timeout_s = {1 if name in {'dead', 'halting'} else 600}\nretry_first_s = 1\nretry_longest_s = 1"
        for name, port in ports.items()
    )
    config = folder / "node.toml"
    config.write_text(
        f'[node]\nae_title = "NODE"\ndata_dir = "{folder}"\ngrace_s = 5\n[[senders]]\nae_title = "A"\n{destinations}'
    )
    return config


@pytest.mark.fault(62)
def test_neither_a_hanging_archive_nor_a_dead_one_delays_the_others(tmp_path, silent_port, halting_port):
    """Archives hang in a C-STORE, never answer, stop inside an A-ASSOCIATE-AC: another gets everything meanwhile.

    The one that stops keeps no place either: it is tried more often than it has places. The control is in the same run:
    the hanging one holds every place it has. Had the destinations places in common, the third would wait as well.
    """
    hanging, living = HangingArchive(hangs=True), HangingArchive(hangs=False)
    ports = {"hanging": hanging.port, "dead": silent_port, "halting": halting_port, "living": living.port}
    store = fill(tmp_path, list(ports))
    config = write_config(tmp_path, ports)
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(config)])
    try:
        wait_for("the living one has everything", lambda: len(set(living.answered)) == STUDIES, within_s=300)
        wait_for("the hanging one holds its places", lambda: len(hanging.begun) == AT_ONCE, within_s=60)
        for name in ("dead", "halting"):
            wait_for(f"the {name} one is tried", lambda name=name: _tries(store, name) > AT_ONCE, within_s=120)
        assert hanging.answered == []
        assert len(hanging.begun) == AT_ONCE
        hanging.released.set()
        wait_for("the hanging one has everything", lambda: len(set(hanging.answered)) == STUDIES, within_s=300)
        # The dead one and the one that stops are mended.
        for port in (silent_port, halting_port):
            config.write_text(config.read_text().replace(f"port = {port}", f"port = {living.port}"))
        process.kill()
        process.wait()
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(config)])
        assert process.wait(300) == 0
        assert {one.state for one in store.status(1000)} == {RevisionState.DONE}
        # The worker was killed: what it had no time to record was sent once more, as the same objects.
        assert set(living.answered) == set(hanging.answered)
        assert all(one.sent == 1 for revision in store.status(1000) for one in revision.destinations)
    finally:
        process.kill()
        process.wait()
        store.close()
        hanging.stop()
        living.stop()


def _tries(store, name):
    return sum(
        one.attempts for revision in store.status(1000) for one in revision.destinations if one.destination == name
    )
