"""A database that is locked, gone or broken."""

import os
import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from builders import build_dx
from pydicom.uid import generate_uid
from raw_peer import RawPeer, status_of
from receiving import encode, kept_files, status
from sqlalchemy.exc import OperationalError

from dicom_node.processes import supervise
from dicom_node.receive.recovery import keep_rebuilding_rows, rebuild_rows
from dicom_node.receive.registry import Registry
from dicom_node.store import Store, schema
from dicom_node.store.integrity import set_aside_if_corrupt
from dicom_node.worker import Sweep
from dicom_node.workflow import StudyWorkflow

pytestmark = pytest.mark.fault(59)


def build_small(**attributes):
    return build_dx(np.zeros((32, 32), np.uint16), **attributes)


def database_of(receiver):
    return receiver.archive.spool.folder.parent / "node.sqlite"


@contextmanager
def locked(path):
    """Hold the database's write lock, as another process would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def hurry(monkeypatch):
    """Let the database be waited for half a second, not half a minute."""
    set_pragmas = schema._set_pragmas  # noqa: SLF001  # the pragma is not for users to set

    def set_pragmas_and_hurry(connection, record):
        set_pragmas(connection, record)
        assert connection.execute("PRAGMA busy_timeout").fetchone()[0] >= 30_000
        connection.execute("PRAGMA busy_timeout=500")

    monkeypatch.setattr(schema, "_set_pragmas", set_pragmas_and_hurry)


def test_a_locked_database_refuses_objects_after_a_wait_and_takes_them_again(monkeypatch, start):
    """Another process holds the lock for longer than is waited: A700; when it is free, the same object is taken."""
    hurry(monkeypatch)
    receiver = start()
    ds = build_small()
    with RawPeer(receiver.port, timeout_s=60).associate() as peer:
        with locked(database_of(receiver)):
            assert status_of(peer.store(encode(ds), sop_instance=ds.SOPInstanceUID)) == 0xA700
        assert status_of(peer.store(encode(ds), sop_instance=ds.SOPInstanceUID)) == 0
    assert receiver.archive.store.find_instance(ds.SOPInstanceUID) is not None
    assert len(kept_files(receiver)) == 1


def receive_some(start):
    receiver = start()
    objects = [build_small() for _ in range(3)]
    assert [status(receiver, ds) for ds in objects] == [0, 0, 0]
    return receiver, objects


def check_rows(receiver, objects):
    rows = [receiver.archive.store.find_instance(ds.SOPInstanceUID) for ds in objects]
    assert [row.study_instance_uid for row in rows if row] == [ds.StudyInstanceUID for ds in objects]
    studies = {study.study_instance_uid for study in receiver.archive.store.open_studies()}
    assert studies == {ds.StudyInstanceUID for ds in objects}


def test_a_database_that_is_away_for_a_moment_does_not_end_the_search_for_files_without_a_row(monkeypatch, start):
    """It fails while the spool is looked through: one file is passed over, which the log says; the others get rows."""
    receiver, objects = receive_some(start)
    with closing(sqlite3.connect(database_of(receiver))) as other:
        other.execute("DELETE FROM instances")
        other.commit()
    store, tries = receiver.archive.store, []
    find = store.find_instance

    def find_but_once(uid):
        tries.append(uid)
        if len(tries) == 1:
            raise OperationalError("SELECT", {}, sqlite3.OperationalError("disk I/O error"))
        return find(uid)

    monkeypatch.setattr(store, "find_instance", find_but_once)
    assert rebuild_rows(receiver.archive) == 2
    assert rebuild_rows(receiver.archive) == 1
    check_rows(receiver, objects)


def test_a_deleted_database_is_made_again_from_the_spool(start):
    """The file is deleted under a running receiver: what comes then is kept too, and the next start has all rows."""
    receiver, objects = receive_some(start)
    for path in database_of(receiver).parent.glob("node.sqlite*"):
        path.unlink()
    late = build_small()
    assert status(receiver, late) == 0
    receiver.stop()
    check_rows(start(), [*objects, late])


SPOILS = {
    "no database at all": lambda content: b"\xff" * len(content),
    "pages of noise": lambda content: content[:8192] + b"\xa5" * (len(content) - 8192),
    "cut in half": lambda content: content[: len(content) // 2],
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_corrupt_database_is_set_aside_and_made_again_from_the_spool(start, spoil):
    """A database that does not pass its check is kept under another name, and its rows come back from the files."""
    receiver, objects = receive_some(start)
    receiver.stop()
    path = database_of(receiver)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path.write_bytes(spoiled := SPOILS[spoil](path.read_bytes()))
    aside = set_aside_if_corrupt(f"sqlite:///{path}")
    assert aside is not None
    assert aside.read_bytes() == spoiled
    check_rows(start(), objects)


def test_without_that_check_a_corrupt_database_stops_the_node(start):
    """The check above is needed: nothing opens a database of noise."""
    receiver, _ = receive_some(start)
    receiver.stop()
    path = database_of(receiver)
    path.write_bytes(b"\xff" * path.stat().st_size)
    with pytest.raises(Exception, match="not a database"):
        Store(f"sqlite:///{path}").close()


def test_a_sound_a_locked_and_an_absent_database_stay_where_they_are(start, tmp_path):
    receiver, _ = receive_some(start)
    path = database_of(receiver)
    assert set_aside_if_corrupt(f"sqlite:///{path}") is None
    with locked(path):
        assert set_aside_if_corrupt(f"sqlite:///{path}") is None
    assert path.exists()
    assert set_aside_if_corrupt(f"sqlite:///{tmp_path / 'absent.sqlite'}") is None
    assert not (tmp_path / "absent.sqlite").exists()
    assert set_aside_if_corrupt("postgresql://nobody@127.0.0.1/none") is None


class KilledError(BaseException):
    """What no handler of a fault catches, as a kill is caught by none."""


@pytest.fixture
def sweep(start, build_settings):
    """The worker's sweep over an empty database, beside a spool with a study of three images, received an hour ago."""
    receiver = start()
    study = generate_uid()
    assert [status(receiver, build_small(StudyInstanceUID=study)) for _ in range(3)] == [0, 0, 0]
    receiver.stop()
    for path in kept_files(receiver):
        os.utime(path, (time.time() - 3600,) * 2)
    for path in database_of(receiver).parent.glob("node.sqlite*"):
        path.unlink()
    settings = build_settings()
    with closing(Store(settings.database_url)) as store:
        yield Sweep(settings, store, cast("StudyWorkflow", SimpleNamespace(start_due=lambda _now: None)))


def closed_after(sweep):
    """Sweep; return how many images each revision has."""
    sweep()
    store = sweep._store  # noqa: SLF001  # that of the worker, which is another process than the receiver
    return [len(store.revision(one.study_instance_uid, one.digest).instances) for one in store.unmade_revisions()]


def after_each_row(monkeypatch, do):
    add = Registry.add

    def add_and_do(registry, row):
        admission = add(registry, row)
        do()
        return admission

    monkeypatch.setattr(Registry, "add", add_and_do)


def test_no_study_is_closed_while_files_of_it_wait_for_their_rows(start, sweep, monkeypatch):
    """Sweeps between the rows that are made again close nothing, however old the study; then it is closed whole."""
    closed = []
    after_each_row(monkeypatch, lambda: closed.append(closed_after(sweep)))
    start()
    assert closed == [[], [], []]
    assert closed_after(sweep) == [3]


def test_a_receiver_that_is_killed_while_rows_are_made_again_lets_no_study_be_closed_before_the_next_is_through(
    start, sweep, monkeypatch
):
    """Killed after the first row: nothing is closed with what has one, until the next start has made the others."""

    def kill():
        raise KilledError

    with monkeypatch.context() as killing:
        after_each_row(killing, kill)
        with pytest.raises(KilledError):
            start()
    assert closed_after(sweep) == []
    start()
    assert closed_after(sweep) == [3]


def test_a_spool_that_cannot_be_read_for_a_moment_is_looked_through_again(start, sweep, monkeypatch):
    """The folder cannot be listed: nothing is closed until it can, and then every file gets its row."""
    receiver = start()
    files, closed = receiver.archive.spool.files, []

    def fail_once():
        closed.append(closed_after(sweep))
        if len(closed) == 1:
            raise OSError(5, "Input/output error")
        return files()

    monkeypatch.setattr(receiver.archive.spool, "files", fail_once)
    monkeypatch.setattr("dicom_node.receive.recovery._SEARCH_AGAIN_S", 0)
    keep_rebuilding_rows(receiver.archive, threading.Event())
    assert closed == [[], []]
    assert closed_after(sweep) == [3]


def test_the_worker_of_a_whole_node_closes_nothing_before_the_receiver_has_looked_through_the_spool(
    start, sweep, build_settings, monkeypatch, tmp_path
):
    """Put back from a backup, the database lacks files from its first moment: `serve` says so before it starts any."""

    def look(_child):
        raise KilledError

    start()
    with monkeypatch.context() as killing:
        killing.setattr("dicom_node.processes.install_stop_signals", threading.Event)
        killing.setattr("dicom_node.processes._Child.start", look)
        with pytest.raises(KilledError):
            supervise(build_settings(), tmp_path / "node.toml", verbose=False)
    assert closed_after(sweep) == []
    start()
    assert closed_after(sweep) == [3]
