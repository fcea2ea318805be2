"""`dicom-node receiver` as a subprocess, and what its processes use."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
from running import wait_for

from dicom_node.demo.archives import find_free_port
from dicom_node.settings import load_settings

CONFIGURATION = """
[node]
ae_title = "FRACTUREAI"
port = {port}
data_dir = "{folder}/var"
grace_s = 3
[[senders]]
ae_title = "ORTHANC"
{sender}
[[destinations]]
name = "archive"
ae_title = "ORTHANC"
host = "127.0.0.1"
port = 4242
[receive]
processes = 2
minimum_free_mb = {minimum_free_mb}
{limits}
"""
IDLE_THREADS = 3
"""The main thread, the listener's, and in the first process for a while the one that looks for files without row."""


class ReceiverProcess:
    """A receiver of two processes; `sender` and `limits` are lines of the configuration.

    `within` is a command that executes its own.
    """

    def __init__(
        self,
        folder: Path,
        *,
        sender: str = "",
        limits: str = "",
        minimum_free_mb: float = 1,
        within: Sequence[str | Path] = (),
    ) -> None:
        self.port, self.folder = find_free_port(), folder
        configuration = folder / "node.toml"
        values = {"sender": sender, "limits": limits, "minimum_free_mb": minimum_free_mb}
        configuration.write_text(CONFIGURATION.format(port=self.port, folder=folder, **values))
        self.settings = load_settings(configuration)
        with (folder / "log").open("wb") as log:
            command = [*within, sys.executable, "-m", "dicom_node", "receiver", "--config", str(configuration)]
            # As `serve` starts it.
            environment = {**os.environ, "MALLOC_ARENA_MAX": "2"}
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        wait_for("it receives", lambda: "receiving as" in self.log, within_s=120)
        self.children: list[psutil.Process] = psutil.Process(self.process.pid).children()

    @property
    def log(self) -> str:
        """What it has printed so far."""
        return (self.folder / "log").read_text(errors="replace")

    def memory_mb(self) -> list[float]:
        """Resident megabytes of each of its processes."""
        return [child.memory_info().rss / 1e6 for child in self.children]

    def descriptors(self) -> list[int]:
        """Open descriptors of each of its processes, once no connection is open."""
        self.wait_until_idle()
        return [child.num_fds() for child in self.children]

    def wait_until_idle(self) -> None:
        """Wait until no connection is open: each has two threads."""
        wait_for(
            "the connections end",
            lambda: all(child.num_threads() <= IDLE_THREADS for child in self.children),
            within_s=60,
        )

    def stop(self) -> int:
        """Stop it in order; return its exit code."""
        self.process.terminate()
        return self.process.wait(60)
