"""The archive of the demonstration: Orthanc where it is installed, else a small Storage SCP.

Both take studies as an archive would, pass the radiographs on to the node, and keep what the node returns.
"""

import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

from pydicom import Dataset, dcmread
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at run time
from pynetdicom.transport import ThreadedAssociationServer

from dicom_node.errors import NodeError

_FORWARDING_SCRIPT = Path(__file__).resolve().parents[2] / "config" / "orthanc" / "forward.lua"

_SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin")

ARCHIVE_AE_TITLE = "ARCHIVE"
NODE_AE_TITLE = "FRACTUREAI"


class Archive(Protocol):
    """What the demonstration asks of an archive."""

    name: str
    port: int
    sends_by_itself: bool
    """Whether it forwards to the node what it receives."""

    def start(self) -> None:
        """Start it; returns when it accepts associations."""

    def instances_of(self, study_instance_uid: str) -> list[Dataset]:
        """Return every instance it holds of a study, pixel data included."""

    def stop(self) -> None:
        """Stop it."""


def find_free_port() -> int:
    """Return a TCP port that nothing uses at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def find_program(name: str) -> str | None:
    """Return the path of a program, also where Debian puts Orthanc: only root has /usr/sbin on its PATH."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *_SYSTEM_FOLDERS]))


class OrthancArchive:
    """A private Orthanc on free ports of 127.0.0.1, with the forwarding script of `config/orthanc/`."""

    name = "Orthanc"
    sends_by_itself = True

    def __init__(
        self, folder: Path, node_port: int, *, stable_age_s: int = 1, extra: dict[str, Any] | None = None
    ) -> None:
        self.port = find_free_port()
        self.http_port = find_free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._configuration = {
            "Name": "Demonstration archive",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "DicomAet": ARCHIVE_AE_TITLE,
            "DicomPort": self.port,
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomModalities": {"fractureai": {"AET": NODE_AE_TITLE, "Host": "127.0.0.1", "Port": node_port}},
            "UserMetadata": {"AiForwarded": 1024},
            "LuaScripts": [str(_FORWARDING_SCRIPT)],
            "StableAge": stable_age_s,
            "DicomAlwaysAllowStore": True,
            "Plugins": [],
            **(extra or {}),
        }

    def start(self) -> None:
        """Start Orthanc and wait until it answers.

        Raises
        ------
        NodeError
            It is not installed, or did not start.
        """
        program = find_program("Orthanc")
        if program is None:
            raise NodeError("Orthanc is not installed; on Debian: sudo apt-get install orthanc")
        self._folder.mkdir(parents=True, exist_ok=True)
        configuration = self._folder / "orthanc.json"
        configuration.write_text(json.dumps(self._configuration, indent=2))
        log = (self._folder / "orthanc.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [program, str(configuration)],
                stdout=log,
                stderr=log,
                # Without it each object waits 40 ms for a delayed acknowledgement.
                env={**os.environ, "TCP_NODELAY": "1"},
                start_new_session=True,
            )
        deadline = time.monotonic() + 20
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise NodeError(f"Orthanc did not start; its log is {self._folder / 'orthanc.log'}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            self.get("/system")
        except OSError:
            return False
        return True

    def get(self, path: str) -> bytes:
        """GET from its REST interface."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=30) as answer:
            content: bytes = answer.read()
        return content

    def post(self, path: str, content: bytes) -> bytes:
        """POST to its REST interface."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http_port}{path}", data=content, method="POST"
        )  # a fixed scheme and address
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # likewise
            said: bytes = answer.read()
        return said

    def instances_of(self, study_instance_uid: str) -> list[Dataset]:
        """Return every instance it holds of a study, whatever patient it is filed under."""
        query = {"Level": "Instance", "Query": {"StudyInstanceUID": study_instance_uid}}
        found = json.loads(self.post("/tools/find", json.dumps(query).encode()))
        return [dcmread(BytesIO(self.get(f"/instances/{one}/file"))) for one in found]

    def stop(self) -> None:
        """Stop it in order."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


class BuiltinArchive:
    """A Storage SCP that keeps what it gets in memory; the demonstration forwards in its name."""

    name = "built-in archive"
    sends_by_itself = False

    def __init__(self) -> None:
        self.port = find_free_port()
        self._kept: dict[str, Dataset] = {}
        self._lock = threading.Lock()
        self._server: ThreadedAssociationServer | None = None

    def start(self) -> None:
        """Start listening on 127.0.0.1."""
        ae = AE(ae_title=ARCHIVE_AE_TITLE)
        ae.supported_contexts = [*AllStoragePresentationContexts]
        ae.add_supported_context(Verification)
        self._server = ae.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._keep)]
        )

    def _keep(self, event: evt.Event) -> int:
        ds = dcmread(BytesIO(event.encoded_dataset()))
        with self._lock:
            self._kept.setdefault(str(ds.SOPInstanceUID), ds)
        return 0x0000

    def instances_of(self, study_instance_uid: str) -> list[Dataset]:
        """Return every instance it holds of a study."""
        with self._lock:
            return [ds for ds in self._kept.values() if ds.StudyInstanceUID == study_instance_uid]

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server = None


def send_files(files: Sequence[Path], *, port: int, calling: str, called: str) -> None:
    """C-STORE files as they are, over one association.

    Raises
    ------
    NodeError
        The association or one of the files was not accepted.
    """
    datasets = [dcmread(path) for path in files]
    ae = AE(ae_title=calling)
    ae.connection_timeout = 10
    for pair in dict.fromkeys((ds.SOPClassUID, ds.file_meta.TransferSyntaxUID) for ds in datasets):
        ae.add_requested_context(*pair)
    assoc = ae.associate("127.0.0.1", port, ae_title=called)
    if not assoc.is_established:
        raise NodeError(f"{called} on port {port} did not accept the association")
    try:
        for path, ds in zip(files, datasets, strict=True):
            status = assoc.send_c_store(ds).get("Status")
            if status != 0x0000:
                raise NodeError(f"{called} answered C-STORE of {path.name} with {status}")
    finally:
        assoc.release()
