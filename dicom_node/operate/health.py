"""Whether the node can do its work, for whoever watches it. No patient data."""

import os
import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path

from dicom_node.durable import write_durably
from dicom_node.receive.admission import DiskWatermark
from dicom_node.receive.status import RefusedError
from dicom_node.settings import Settings
from dicom_node.silence import Silence

_LISTEN = "0A"
"""State of a socket in /proc/net/tcp (proc(5))."""


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """Whether the node can do its work."""

    receiver: bool
    """It listens, and answered when the worker last asked it."""
    worker: bool
    """It sweeps."""
    disk: bool
    """It has room, and keeps what is written."""

    @property
    def is_ready(self) -> bool:
        """Whether all of it is well."""
        return self.receiver and self.worker and self.disk


def check_readiness(settings: Settings) -> Readiness:
    """Look whether receiver, worker and disk do their work."""
    return Readiness(
        receiver=is_listened_on(settings.node.host, settings.node.port)
        and Silence(settings.node.receiver_silence).since is None,
        worker=worker_is_alive(settings, time.time()),
        disk=disk_keeps_files(settings),
    )


def accepts_connections(host: str, port: int) -> bool:
    """Tell whether something listens there."""
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


def is_listened_on(host: str, port: int) -> bool:
    """Tell whether something on this machine listens there, without a connection.

    One from here, asked for every few seconds, would be a stranger's to a receiver whose senders are all elsewhere.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        tables = [Path(f"/proc/net/{name}") for name in ("tcp", "tcp6")]
        rows = [row.split() for table in tables if table.exists() for row in table.read_text().splitlines()[1:]]
    except OSError:
        return False
    wanted = {f"{_write_address(family, str(address[0]))}:{port:04X}" for family, _, _, _, address in found}
    wanted |= {f"{every}:{port:04X}" for every in ("0" * 8, "0" * 32)}
    return any(row[1] in wanted and row[3] == _LISTEN for row in rows)


def _write_address(family: int, address: str) -> str:
    """Write an address as proc(5) does: words in the machine's own order, hexadecimal."""
    packed = socket.inet_pton(family, address.partition("%")[0])
    return "".join(f"{word:08X}" for word in struct.unpack(f"={len(packed) // 4}I", packed))


def worker_is_alive(settings: Settings, now: float) -> bool:
    """Tell whether the worker has swept lately; one that waits for its lock, or dies again and again, has not."""
    try:
        swept_at = settings.node.heartbeat.stat().st_mtime
    except OSError:
        return False
    return now - swept_at < max(10, 5 * settings.completion.sweep_s)


def disk_keeps_files(settings: Settings) -> bool:
    """Tell whether the disk has room for objects, and keeps what is written on it: writes a file, and removes it."""
    probe = settings.node.data_dir / f"{os.getpid()}.probe"
    try:
        DiskWatermark(settings.node.data_dir, settings.receive.minimum_free_mb * 1e6).check()
        write_durably(probe, b"kept")
        probe.unlink()
    except (OSError, RefusedError):
        return False
    return True
