"""A file system that is really full: a small one in memory, which only the receiver and its processes see.

It takes the right to mount: as root, or as anybody in a user namespace. In a container that has neither, such as
Docker's by default, this is skipped; the same errors from each system call, and files that may not grow, are in
`test_resources_disk.py`, which runs anywhere.
"""

import contextlib
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from builders import build_dx
from raw_peer import RELEASE_RP, RawPeer, status_of
from receiver_process import ReceiverProcess
from receiving import data_set_of, encode

from dicom_node.store import Store

SIZE_MB, LEFT_MB = 16, 1.5
REFUSALS = 12
"""How often the full disk is tried before there is room again."""
WAYS = (("unshare", "--map-root-user", "--mount", "sh", "-c"), ("unshare", "--mount", "sh", "-c"))
"""In a user namespace, which some kernels allow nobody; without one, which root alone may."""
MOUNT = f'mount -t tmpfs -o size={SIZE_MB}m,mode=700 tmpfs "$0" && exec "$@"'


class FullDisk:
    """A receiver, without a watermark, whose data folder is a file system of its own; tests look in from outside."""

    def __init__(self, folder, way):
        (folder / "var").mkdir()
        self.receiver = ReceiverProcess(folder, minimum_free_mb=0, within=(*way, MOUNT, folder / "var"))
        self.folder = Path(f"/proc/{self.receiver.process.pid}/root{folder}/var")

    def fill(self):
        """Leave no more room than `LEFT_MB`."""
        filler, piece = self.folder / "filler", bytes(100_000)
        with filler.open("wb") as file, contextlib.suppress(OSError):
            while True:
                file.write(piece)
                file.flush()
        with filler.open("r+b") as file:
            file.truncate(filler.stat().st_size - int(LEFT_MB * 1e6))

    def empty(self):
        """Make room again."""
        (self.folder / "filler").unlink()

    def copy_database(self, folder):
        """Copy the database, of which nobody writes now, to a place that SQLite can reach; return its path."""
        for name in ("node.sqlite", "node.sqlite-wal"):
            shutil.copyfile(self.folder / name, folder / name)
        return folder / "node.sqlite"


@pytest.fixture
def disk(tmp_path):
    for way in WAYS:
        tried = subprocess.run([*way, MOUNT, tmp_path, "true"], capture_output=True, check=False)
        if not tried.returncode:
            break
    else:
        pytest.skip(f"no file system may be mounted: {tried.stderr.decode().strip()}")
    disk = FullDisk(tmp_path, way)
    yield disk
    assert disk.receiver.stop() == 0


@pytest.mark.fault(54)
@pytest.mark.parametrize("side", [400, 24], ids=["objects of 320 kB", "objects of 2 kB"])
def test_a_full_file_system_refuses_objects_and_takes_them_when_there_is_room(disk, side, tmp_path):
    """A file system that is really full: A700, the association goes on; nothing is partial, or refused for ever."""
    pixels = np.zeros((side, side), np.uint16)
    kept, refused = [], []
    disk.fill()
    with RawPeer(disk.receiver.port, timeout_s=60).associate() as peer:
        while len(refused) < REFUSALS:
            ds = build_dx(pixels)
            status = status_of(peer.store(encode(ds), sop_instance=ds.SOPInstanceUID))
            assert status in {0, 0xA700}
            (refused if status else kept).append(ds)
        assert kept
        assert list(disk.folder.glob("spool/.incoming/*/*.part")) == []
        disk.empty()
        for ds in refused:
            assert status_of(peer.store(encode(ds), sop_instance=ds.SOPInstanceUID)) == 0
        assert peer.release() == RELEASE_RP
    with contextlib.closing(Store(f"sqlite:///{disk.copy_database(tmp_path)}")) as store:
        for ds in kept + refused:
            row = store.find_instance(ds.SOPInstanceUID)
            assert data_set_of(disk.folder / "spool" / row.path) == encode(ds)
    assert len(list(disk.folder.glob("spool/*/*.dcm"))) == len(kept + refused)
