"""The real programs as subprocesses on free ports of 127.0.0.1: the node, and DCMTK as a sender."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, TypeVar

import pytest
from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage, SecondaryCaptureImageStorage
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from dicom_node.demo.archives import find_free_port
from dicom_node.settings import Settings, load_settings
from dicom_node.store import Store

NODE = "FRACTUREAI"
T = TypeVar("T")


def wait_for(what: str, condition: Callable[[], T], *, within_s: float = 60, poll_s: float = 0.1) -> T:
    """Poll until `condition` gives something true; fail by name when it does not."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(poll_s)
    pytest.fail(f"waited {within_s} s in vain: {what}")


class Node:
    """`dicom-node serve` with a configuration of its own."""

    def __init__(
        self,
        folder: Path,
        destinations: dict[str, int],
        *,
        senders: Sequence[str] = ("ARCHIVE",),
        quiet_s: float = 1.5,
        port: int | None = None,
        more: str = "",
        environment: dict[str, str] | None = None,
    ) -> None:
        """`more` is added to the configuration, `environment` to the variables of its processes."""
        self.port = port or find_free_port()
        self.folder = folder
        self.config = folder / "node.toml"
        self.environment = {**os.environ, **(environment or {})}
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            f'[node]\nae_title = "{NODE}"\nport = {self.port}\ndata_dir = "{folder / "var"}"\ngrace_s = 10',
            *(f'[[senders]]\nae_title = "{sender}"' for sender in senders),
            *(
                f'[[destinations]]\nname = "{name}"\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\nport = {port}\n'
                "connection_timeout_s = 5\nresponse_timeout_s = 15\nretry_first_s = 1\nretry_longest_s = 2\n"
                # A report that comes while the receiver is down is lost: ask again soon.
                "commitment_deadline_s = 5"
                for name, port in destinations.items()
            ),
            f"[completion]\nquiet_s = {quiet_s}\nmax_wait_s = 60\nsweep_s = 0.2",
            f"[web]\nport = {find_free_port()}",
            "[receive]\nminimum_free_mb = 1",
            more,
        ]
        self.config.write_text("\n\n".join(lines))

    @property
    def settings(self) -> Settings:
        """The configuration it runs with."""
        return load_settings(self.config)

    @property
    def log(self) -> str:
        """What it has printed so far."""
        return (self.folder / "node.log").read_text()

    def start(self) -> Self:
        """Start it and wait until it answers a C-ECHO."""
        with (self.folder / "node.log").open("ab") as log:
            command = [sys.executable, "-m", "dicom_node", "serve", "--config", str(self.config), "--verbose"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self.environment)
        wait_for("the node answers C-ECHO", lambda: echo(self.port) or self.process.poll() is not None, within_s=120)
        assert self.process.poll() is None, f"the node ended while it started: {self.log[-2000:]}"
        return self

    def stop(self) -> int:
        """Ask it to stop, as a service manager would; returns its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(40)
        self.process = None
        return code

    def kill(self) -> None:
        """Kill it and everything it started, without warning."""
        assert self.process is not None
        for pid in [self.process.pid, *children_of(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def store(self) -> Store:
        """Open its state."""
        return Store(self.settings.database_url)

    def states(self) -> list[str]:
        """State of every revision, oldest first."""
        store = self.store()
        try:
            return [str(one.state) for one in reversed(store.status(1000))]
        finally:
            store.close()


def children_of(pid: int, *, deep: bool = True) -> list[int]:
    """Every process below `pid`, through all generations or only the first."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it has just ended
            for child in map(int, task.read_text().split()):
                found += [child, *(children_of(child) if deep else [])]
    return found


def echo(port: int, *, calling: str = "ARCHIVE", called: str = NODE) -> bool:
    """Tell whether a C-ECHO is answered with Success."""
    ae = AE(ae_title=calling)
    ae.connection_timeout = 2
    ae.add_requested_context(Verification)
    assoc = ae.associate("127.0.0.1", port, ae_title=called)
    if not assoc.is_established:
        return False
    status = assoc.send_c_echo()
    assoc.release()
    return status.get("Status") == 0x0000


def dcmsend(port: int, *paths: Path, calling: str = "MODALITY", called: str = "ARCHIVE") -> None:
    """Send files with DCMTK's dcmsend over one association."""
    command = ["dcmsend", "--aetitle", calling, "--call", called, "127.0.0.1", str(port), *map(str, paths)]
    # Without TCP_NODELAY each object waits 40 ms for a delayed acknowledgement.
    subprocess.run(command, check=True, env={**os.environ, "TCP_NODELAY": "1"}, capture_output=True, timeout=60)


def results_among(instances: Sequence[Dataset]) -> tuple[list[Dataset], list[Dataset]]:
    """Return the overlays and the PDFs that the node made; what else it made is summaries."""
    own = [ds for ds in instances if ds.get("Manufacturer") == "dicom-node"]
    pictures = [ds for ds in own if ds.SOPClassUID == SecondaryCaptureImageStorage]
    captures = [ds for ds in pictures if "SourceImageSequence" in ds]
    reports = [ds for ds in own if ds.SOPClassUID == EncapsulatedPDFStorage]
    assert len(pictures) + len(reports) == len(own)
    return captures, reports
