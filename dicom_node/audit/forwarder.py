"""From the trail's files to the syslog server: the files are the queue, and a place in each says how far it has come.

In each, because the clock may be set back over midnight: then lines are added to the file of a day that was over. What
waits survives restarts and any time without the server. A message may come twice after a crash, and the one that
was on its way when a connection broke may be lost, for syslog acknowledges nothing.
"""

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from dicom_node.audit.messages import divide, encode_message
from dicom_node.audit.syslog import SyslogSender, TLSSender, UDPSender, frame
from dicom_node.audit.trail import AuditTrail
from dicom_node.durable import write_durably
from dicom_node.errors import NodeError, describe_failure
from dicom_node.settings import AuditSettings
from dicom_node.tls import build_client_context

_LOGGER = logging.getLogger(__name__)

_LOOK_S = 1.0
_LONGEST_WAIT_S = 60.0
_LAST_WORDS_S = 2.0
_LINES_A_BATCH = 200
_UDP_PORT, _TLS_PORT = 514, 6514


@dataclass(frozen=True, kw_only=True)
class Place:
    """How far the trail has been forwarded."""

    offsets: dict[str, int]
    """Bytes of each file that are done with, by its name; a file without is one that has come since."""
    sent: int = 0
    """Messages sent since the trail began."""
    unreadable: int = 0
    """Lines that were passed over because they are none, such as one that a full disk cut off."""
    problem: str = ""
    """Why nothing is sent at present; empty while all is well."""


class Forwarder:
    """A thread that sends what is new in the trail; it alone waits for the server."""

    def __init__(self, trail: AuditTrail, sender: SyslogSender) -> None:
        self._trail = trail
        self._sender = sender
        self._place = read_place(trail.folder) or _beginning(trail)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self, patience_s: float) -> None:
        """Send what is there if that can be done quickly; what cannot is sent after the next start."""
        self._stop.set()
        self._thread.join(patience_s)

    def _run(self) -> None:
        wait_s = _LOOK_S
        while not self._stop.wait(wait_s):
            wait_s = _LOOK_S if self.forward() else min(2 * wait_s, _LONGEST_WAIT_S)
        self.forward()

    def forward(self) -> bool:
        """Send all that waits; False where that was not to be done, and has been noted."""
        before, problem = self._place, ""
        try:
            while self._forward_batch():
                self._remember()
        except (OSError, NodeError, ValueError) as error:  # a certificate that cannot be used now, a name that is none
            problem = f"{type(error).__name__}: {describe_failure(error)}"
            self._sender.close()
        if problem != before.problem:
            said = (
                f"the syslog server takes nothing: {problem}" if problem else "the syslog server takes messages again"
            )
            _LOGGER.warning("audit: %s", said)
        self._place = replace(self._place, problem=problem)
        if self._place != before:
            self._remember()
        return not problem

    def _forward_batch(self) -> bool:
        """Send some lines of the oldest file that has any; tell whether there were any."""
        for path in self._trail.files():
            offset = self._place.offsets.get(path.name, 0)
            lines = list(_whole_lines(path, offset))
            for line in lines:
                self._send(line)
                offset += len(line)
                self._place = replace(self._place, offsets={**self._place.offsets, path.name: offset})
            if lines:
                return True
        return False

    def _send(self, line: bytes) -> None:
        try:
            content = json.loads(line)
            parts = [encode_message(part) for part in divide(content)]
            messages = [frame(content["at"], content["pid"], part) for part in parts if part]
        except (ValueError, LookupError, TypeError, AttributeError):
            self._place = replace(self._place, unreadable=self._place.unreadable + 1)
            return
        for message in messages:
            self._sender.send(message)
            self._place = replace(self._place, sent=self._place.sent + 1)

    def _remember(self) -> None:
        try:
            write_durably(_place_of(self._trail.folder), json.dumps(asdict(self._place)).encode())
        except OSError as error:
            _LOGGER.error("audit: how far it was forwarded was not written: %s", error.strerror)  # noqa: TRY400  # one sentence


@contextmanager
def forwarding(trail: AuditTrail, settings: AuditSettings) -> Iterator[None]:
    """Forward the trail while the block runs, if a server is configured.

    Raises
    ------
    ConfigurationError
        The server is to be reached by TLS, and the files of `[tls]` cannot be used.
    """
    sender = build_sender(settings)
    if sender is None:
        yield
        return
    forwarder = Forwarder(trail, sender)
    forwarder.start()
    try:
        yield
    finally:
        forwarder.stop(_LAST_WORDS_S)


def build_sender(settings: AuditSettings) -> SyslogSender | None:
    """Build what takes messages to the configured server; None where none is.

    Raises
    ------
    ConfigurationError
        It is to be reached by TLS, and the files of `[tls]` cannot be used.
    """
    if not settings.syslog_host:
        return None
    if settings.tls is None:
        return UDPSender(settings.syslog_host, settings.syslog_port or _UDP_PORT)
    files = settings.tls
    build_client_context(files)
    name = settings.tls_name or settings.syslog_host
    return TLSSender(settings.syslog_host, settings.syslog_port or _TLS_PORT, lambda: build_client_context(files), name)


@dataclass(frozen=True, kw_only=True)
class TrailStatus:
    """Where the trail is, and how far the syslog server has it."""

    folder: str
    syslog: str
    """Host and port; empty: none is configured."""
    sent: int
    waiting: int
    """Lines that the server has not been told of."""
    unreadable: int
    problem: str


def read_status(trail: AuditTrail, settings: AuditSettings) -> TrailStatus:
    """Read how far a trail has been forwarded."""
    place = read_place(trail.folder) or _beginning(trail)
    host, port = settings.syslog_host, settings.syslog_port or (_TLS_PORT if settings.tls else _UDP_PORT)
    return TrailStatus(
        folder=str(trail.folder),
        syslog=f"{host}:{port}" if host else "",
        sent=place.sent,
        waiting=count_waiting(trail, place) if host else 0,
        unreadable=place.unreadable,
        problem=place.problem if host else "",
    )


def read_place(folder: Path) -> Place | None:
    """Read how far a trail has been forwarded; None where it never was."""
    try:
        return Place(**json.loads(_place_of(folder).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def count_waiting(trail: AuditTrail, place: Place) -> int:
    """Count the lines that have not been looked at for the syslog server."""
    return sum(
        sum(1 for _ in _whole_lines(path, place.offsets.get(path.name, 0), most=10**9)) for path in trail.files()
    )


def _beginning(trail: AuditTrail) -> Place:
    """Begin with today's file: what was before forwarding was switched on is not sent."""
    today = time.strftime("%Y-%m-%d.jsonl", time.gmtime())
    return Place(offsets={path.name: path.stat().st_size for path in trail.files() if path.name != today})


def _place_of(folder: Path) -> Path:
    return folder / "forwarded.json"


def _whole_lines(path: Path, offset: int, *, most: int = _LINES_A_BATCH) -> Iterator[bytes]:
    """Read lines that end from a place on; nothing where there is no file."""
    try:
        if path.stat().st_size <= offset:
            return  # as nearly every file of a past day
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        for _ in range(most):
            line = file.readline()
            if not line.endswith(b"\n"):
                return
            yield line
