"""The node of the demonstration: `dicom-node serve` with a configuration, a data folder and ports of its own."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from dicom_node.deliver import verify_destination
from dicom_node.demo.archives import ARCHIVE_AE_TITLE, NODE_AE_TITLE, find_free_port
from dicom_node.errors import AssociationError, NodeError
from dicom_node.settings import Destination, load_settings
from dicom_node.store import Store

QUIET_S = 2

_CONFIGURATION = """\
[node]
ae_title = "{node}"
port = {node_port}
data_dir = "{folder}/node"

[[senders]]
ae_title = "{archive}"
networks = ["127.0.0.0/8"]

[[destinations]]
name = "archive"
ae_title = "{archive}"
host = "127.0.0.1"
port = {archive_port}

[completion]
quiet_s = {quiet_s}
max_wait_s = 60
sweep_s = 0.2

[receive]
minimum_free_mb = 50

[web]
port = {web_port}
"""


@dataclass(frozen=True, kw_only=True)
class RunningNode:
    """A node that accepts associations on 127.0.0.1."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    store: Store

    def check(self) -> None:
        """Raise NodeError where the node has ended."""
        if self.process.poll() is not None:
            raise NodeError(f"the node ended with code {self.process.returncode}; its log is {self.log}")


@contextmanager
def running_node(work: Path, node_port: int, archive_port: int) -> Iterator[RunningNode]:
    """Start a node in `work`, and stop it in the end.

    Raises
    ------
    NodeError
        It did not start; the message names its log.
    """
    config = work / "node.toml"
    config.write_text(
        _CONFIGURATION.format(
            node=NODE_AE_TITLE,
            archive=ARCHIVE_AE_TITLE,
            folder=work.resolve().as_posix(),
            node_port=node_port,
            archive_port=archive_port,
            web_port=find_free_port(),
            quiet_s=QUIET_S,
        )
    )
    log = work / "node.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "dicom_node", "serve", "--config", str(config), "--verbose"]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        _wait_until_ready(node_port, process, log)
        with closing(Store(load_settings(config).database_url)) as store:
            yield RunningNode(port=node_port, process=process, log=log, store=store)
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    node = Destination(name="node", ae_title=NODE_AE_TITLE, host="127.0.0.1", port=port)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            verify_destination(node, ARCHIVE_AE_TITLE)
        except AssociationError:
            time.sleep(0.1)
        else:
            return
    raise NodeError(f"the node did not start; its log is {log}")
