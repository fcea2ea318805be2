"""An archive to ask, real or scripted, and what asks it, one tick at a time, with the clock in the test's hand."""

import socket
import sqlite3
import threading
import time
from contextlib import contextmanager

import pytest
from builders import build_dx, phantom, write_part10
from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from dicom_node.assemble.completeness import close_complete_studies
from dicom_node.demo.archives import NODE_AE_TITLE, OrthancArchive, find_free_port, send_files
from dicom_node.query.asking import Asking
from dicom_node.query.reconciliation import Reconciliation
from dicom_node.receive.storage_scp import start_receiver
from dicom_node.settings import (
    CompletionSettings,
    Destination,
    NodeSettings,
    ReceiveSettings,
    ReconcileSettings,
    Sender,
    Settings,
)
from dicom_node.store import Store

QUIET_S, MAX_WAIT_S, EVERY_S = 10.0, 120.0, 600.0


def build_settings(folder, archive_port, *, node_port, asks=True, timeout_s=30.0, **reconcile):
    """Build the settings of a node beside one archive, which sends to it and is asked in turn."""
    place = {"name": "archive", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": archive_port}
    return Settings(
        node=NodeSettings(ae_title=NODE_AE_TITLE, data_dir=folder / "data", port=node_port, grace_s=2),
        senders=(Sender(ae_title="ARCHIVE", archive="archive" if asks else ""), Sender(ae_title="MODALITY")),
        destinations=(Destination(**place, connection_timeout_s=timeout_s, response_timeout_s=timeout_s),),
        completion=CompletionSettings(quiet_s=QUIET_S, max_wait_s=MAX_WAIT_S),
        receive=ReceiveSettings(minimum_free_mb=1),
        reconcile=ReconcileSettings(archives=("archive",), every_s=EVERY_S, **reconcile),
    )


class Desk:
    """What the worker does about completeness, one tick at a time; `now` is Unix time, in the tests' own hand."""

    def __init__(self, settings, store):
        self.settings, self.store = settings, store
        archive = settings.destinations[0]
        self.asking = Asking(settings, store, archive)
        self.reconciliation = Reconciliation(settings, settings.reconcile, store, archive)
        self.search = self.reconciliation.search
        self.listening_since = time.time()

    def tick(self, now, *, asks=True):
        """Ask what is due, then close what is complete; return the studies that are still open."""
        if asks:
            self.asking.ask(now)
        close_complete_studies(
            self.store,
            self.settings.completion,
            now,
            listening_since=self.listening_since,
            asked_senders=self.settings.archives_by_sender,
        )
        return [study.study_instance_uid for study in self.store.open_studies()]

    def revisions(self, study):
        """Return the revisions of a study, oldest first."""
        found = [one.digest for one in self.store.status(100) if one.study_instance_uid == study]
        return [self.store.revision(study, digest) for digest in reversed(found)]

    def events(self, study):
        """Return what was noted of a study."""
        database = sqlite3.connect(self.settings.node.data_dir / "node.sqlite")
        try:
            rows = database.execute("SELECT what FROM events WHERE study_instance_uid = ? ORDER BY id", [study])
            return [what for (what,) in rows]
        finally:
            database.close()


class Site(Desk):
    """A real Orthanc that forwards nothing by itself, and a receiver that it knows."""

    def __init__(self, folder, **options):
        self.folder = folder
        node_port = find_free_port()
        self.archive = OrthancArchive(folder / "archive", node_port, extra={"LuaScripts": []})
        settings = build_settings(folder, self.archive.port, node_port=node_port, **options)
        self.receiver = start_receiver(settings)
        self.archive.start()
        super().__init__(settings, self.receiver.archive.store)

    def stop(self):
        """Stop both."""
        self.receiver.stop(grace_s=0)
        self.archive.stop()

    def write(self, *datasets):
        """Write instances as files."""
        return [write_part10(ds, self.folder / "sent" / f"{ds.SOPInstanceUID}.dcm") for ds in datasets]

    def keep(self, *datasets):
        """Let the archive have instances, of which the node hears nothing."""
        send_files(self.write(*datasets), port=self.archive.port, calling="MODALITY", called="ARCHIVE")

    def forward(self, *datasets, calling="ARCHIVE"):
        """Send instances to the node in the archive's name."""
        send_files(self.write(*datasets), port=self.receiver.port, calling=calling, called=NODE_AE_TITLE)


def build_images(count=3, **attributes):
    """Build small radiographs of one series, numbered from 1, of today unless keywords say otherwise."""
    common = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    common |= {"StudyDate": time.strftime("%Y%m%d"), "StudyTime": time.strftime("%H%M%S"), **attributes}
    return [build_dx(phantom(64, 48), InstanceNumber=number, **common) for number in range(1, count + 1)]


class ScriptedArchive:
    """A Q/R SCP that answers as it is told; by default it lists `images` and moves nothing."""

    def __init__(self, images=(), *, find_status=0x0000, move_status=0x0000, offers=("find", "move"), silent_s=0.0):
        self.silent_s, self.stopped = silent_s, threading.Event()
        self.images, self.find_status, self.move_status = list(images), find_status, move_status
        self.moves, self.finds, self.chokes_on = [], [], set()
        self.ae = AE(ae_title="ARCHIVE")
        self.ae.add_supported_context(Verification)
        if "find" in offers:
            self.ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        if "move" in offers:
            self.ae.add_supported_context(StudyRootQueryRetrieveInformationModelMove)
        handlers = [(evt.EVT_C_FIND, self._find), (evt.EVT_C_MOVE, self._move)]
        self.server = self.ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.port = self.server.server_address[1]

    def stop(self):
        """Stop listening."""
        self.stopped.set()
        self.server.shutdown()

    def _find(self, event):
        keys = event.identifier
        self.finds.append(keys)
        self.stopped.wait(self.silent_s)
        if keys.QueryRetrieveLevel == "SERIES" and keys.StudyInstanceUID in self.chokes_on:
            yield 0xC001, None
            return
        for match in self.matches(keys):
            yield 0xFF00, match
        if self.find_status:
            yield self.find_status, None

    def matches(self, keys):
        """List what is asked for, each series or study once."""
        unique = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
        found = {}
        for image in self.images:
            uids = ("StudyInstanceUID", "SeriesInstanceUID")
            if all(keys.get(uid, "") in {"", image[uid].value} for uid in uids):
                found[image[unique[keys.QueryRetrieveLevel]].value] = image
        for image in found.values():
            match = Dataset()
            for elem in keys:
                if elem.keyword in image:
                    match[elem.tag] = image[elem.tag]
            match.QueryRetrieveLevel = keys.QueryRetrieveLevel
            yield match

    def _move(self, event):
        self.moves.append((time.monotonic(), str(event.identifier.StudyInstanceUID)))
        if self.move_status == 0xA801:
            yield None, None  # pynetdicom's way to say that the destination is unknown
            return
        # pynetdicom associates with the destination before it lets a status be chosen: here with itself.
        yield "127.0.0.1", self.port, {"contexts": [build_context(Verification)]}
        yield 1 if self.move_status else 0
        yield self.move_status, None


@contextmanager
def silent_listener():
    """Listen, accept, and never say a word; gives the port."""
    held = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept():
            while True:
                try:
                    held.append(listener.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for connection in held:
                connection.close()


def open_store(folder):
    """Open a store of its own, without a receiver."""
    return Store(f"sqlite:///{folder / 'data' / 'node.sqlite'}")


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.stop()
