"""A disk that is full, broken or read-only: A700 and nothing half done, never Success."""

import errno
import os
import resource
from pathlib import Path

import numpy as np
import pytest
from builders import build_dx
from raw_peer import RawPeer, status_of
from receiving import arriving, encode, kept_files

from dicom_node.operate.health import disk_keeps_files
from dicom_node.receive.spool import IncomingFile


def build_small():
    return build_dx(np.zeros((32, 32), np.uint16))


def place_of(first):
    """Say where an operation takes place: its first argument is a descriptor or a path."""
    return str(Path(f"/proc/self/fd/{first}").readlink() if isinstance(first, int) else first)


class Failing:
    """Lets calls of a function of `os` fail that concern a kind of place, while `is_on`."""

    def __init__(self, monkeypatch, name, concerns, number):
        self.is_on, self.count = False, 0
        real = getattr(os, name)

        def call(first, *arguments, **options):
            if self.is_on and concerns(place_of(first)):
                self.count += 1
                raise OSError(number, os.strerror(number))
            return real(first, *arguments, **options)

        monkeypatch.setattr(os, name, call)


PLACES = {
    "when a file is made": ("open", lambda place: place.endswith(".part")),
    "when it is written": ("write", lambda place: place.endswith(".part")),
    "when it is flushed": ("fsync", lambda place: place.endswith(".part")),
    "when its study gets a folder": ("mkdir", lambda place: "/spool/" in place and ".incoming" not in place),
    "when it gets its name": ("link", lambda place: place.endswith(".part")),
    "when its folder is flushed": ("fsync", lambda place: Path(place).parent.name == "spool"),
}


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(errno.ENOSPC, marks=pytest.mark.fault(54), id="no room"),
        pytest.param(errno.EDQUOT, marks=pytest.mark.fault(54), id="over quota"),
        pytest.param(errno.EIO, marks=pytest.mark.fault(55), id="input/output error"),
        pytest.param(errno.EROFS, marks=pytest.mark.fault(55), id="read-only"),
    ],
)
@pytest.mark.parametrize("place", PLACES)
def test_a_disk_that_fails_anywhere_refuses_the_object_and_recovers(receiver, monkeypatch, place, number):
    """Wherever the disk fails, the answer is A700, the association goes on, and the same object is taken later."""
    failing = Failing(monkeypatch, *PLACES[place], number)
    ds = build_small()
    with RawPeer(receiver.port, timeout_s=60).associate() as peer:
        failing.is_on = True
        response = peer.store(encode(ds), sop_instance=ds.SOPInstanceUID)
        failing.is_on = False
        assert failing.count
        assert status_of(response) == 0xA700
        assert len(response[0x0902]) <= 64
        assert arriving(receiver) == []
        assert receiver.archive.store.find_instance(ds.SOPInstanceUID) is None
        assert status_of(peer.store(encode(ds), sop_instance=ds.SOPInstanceUID)) == 0
    assert receiver.archive.store.find_instance(ds.SOPInstanceUID) is not None
    assert len(kept_files(receiver)) == 1


@pytest.mark.fault(54, 55)
def test_whoever_does_not_flush_does_not_hear_of_the_disk(receiver, monkeypatch):
    """The negative control: without the flush of its file an object that the disk does not keep is a Success."""
    monkeypatch.setattr(IncomingFile, "sync", lambda _file: None)
    failing = Failing(monkeypatch, *PLACES["when it is flushed"], errno.ENOSPC)
    failing.is_on = True
    ds = build_small()
    with RawPeer(receiver.port, timeout_s=60).associate() as peer:
        assert status_of(peer.store(encode(ds), sop_instance=ds.SOPInstanceUID)) == 0
    assert failing.count == 0


@pytest.mark.fault(54)
def test_a_database_that_cannot_grow_refuses_objects_and_takes_them_when_it_can(receiver):
    """No room at the commit: A700; with room again the same object is taken on the same association."""
    log = receiver.archive.spool.folder.parent / "node.sqlite-wal"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ds = build_small()
    content = encode(ds)
    with RawPeer(receiver.port, timeout_s=60).associate() as peer:
        assert len(content) + 1000 < log.stat().st_size
        # A real failure of write(2): the database's log may not grow, files as small as the object may.
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, limits[1]))
        try:
            response = peer.store(content, sop_instance=ds.SOPInstanceUID)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert status_of(response) == 0xA700
        assert status_of(peer.store(content, sop_instance=ds.SOPInstanceUID)) == 0
    assert receiver.archive.store.find_instance(ds.SOPInstanceUID) is not None
    assert len(kept_files(receiver)) == 1


@pytest.mark.fault(55)
@pytest.mark.parametrize(("name", "number"), [("fsync", errno.EIO), ("open", errno.EROFS), ("open", errno.ENOSPC)])
def test_a_node_whose_disk_keeps_nothing_is_not_ready(build_settings, monkeypatch, name, number):
    """A disk that fails makes the node say that it is not ready; one that works does not."""
    settings = build_settings()
    settings.node.spool_dir.mkdir(parents=True)
    failing = Failing(monkeypatch, name, lambda place: place.startswith(str(settings.node.data_dir)), number)
    assert disk_keeps_files(settings)
    failing.is_on = True
    assert not disk_keeps_files(settings)
    failing.is_on = False
    assert disk_keeps_files(settings)
    assert list(settings.node.data_dir.rglob("*.part")) == []


@pytest.mark.fault(54)
def test_a_node_below_its_watermark_is_not_ready(build_settings):
    """A node that refuses objects because the disk is nearly full says that it is not ready."""
    settings = build_settings(minimum_free_mb=1e9)
    settings.node.spool_dir.mkdir(parents=True)
    assert not disk_keeps_files(settings)
