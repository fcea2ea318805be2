"""The processes of a node: how one waits for its end, and how `serve` keeps three of them alive."""

import fcntl
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from dicom_node.durable import PRIVATE_FILE, make_private_folder
from dicom_node.recovery_marks import RecoveryMarks
from dicom_node.settings import Settings
from dicom_node.store import Store
from dicom_node.store.integrity import set_aside_if_corrupt

_LOGGER = logging.getLogger(__name__)

ROLES = ("receiver", "worker", "web")
_SUPERVISOR = "DICOM_NODE_SUPERVISOR"
REFUSED_TO_START = 2
"""Exit code of a process whose configuration or models are wrong: starting it again would not help."""


def keep_private() -> None:
    """Let nobody else learn what this process and its children do.

    What they write is readable by this user only, a crash leaves no copy of their memory, and ONNX Runtime, which does
    so unless it is told not to, sends nothing to its maker and leaves no identifier on the disk.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def wait_for_stop(*, unless: Callable[[], bool] = lambda: False) -> None:
    """Block until SIGTERM or SIGINT, or until `unless` holds. Call it from the main thread."""
    stop = install_stop_signals()
    # With a time-out, so that the interpreter gets to run the signal handler.
    while not stop.wait(0.5) and not unless():
        pass


def install_stop_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stop = threading.Event()

    def set_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, set_stop)
    signal.signal(signal.SIGINT, set_stop)
    return stop


def stop_with_supervisor() -> None:
    """Let this process stop by itself when the supervisor that started it is gone.

    Otherwise a killed `serve` would leave a receiver on the port, and a worker beside the next one's.
    """
    supervisor = os.environ.get(_SUPERVISOR)
    if supervisor is None:
        return

    def watch() -> None:
        while os.getppid() == int(supervisor):
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="supervisor watch", daemon=True).start()


def hold_lock(path: Path, stop: threading.Event) -> bool:
    """Wait until this process alone holds the lock file, or until `stop`; tell whether it holds it.

    The lock is given back when the process ends, however it ends.
    """
    make_private_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
    told = False
    while not stop.is_set():
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                _LOGGER.warning("another process holds %s: waiting for its end", path)
                told = True
            stop.wait(0.2)
        else:
            return True
    return False


@dataclass
class _Child:
    role: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    restart_at: float = 0.0
    failures: int = 0
    starts: int = 0

    def start(self) -> None:
        # Its own session: Ctrl-C on a terminal reaches the supervisor alone, which then stops its children in order.
        # Few arenas for malloc: each of a worker's threads would keep one, with the pictures it once held.
        environment = {"MALLOC_ARENA_MAX": "2", **os.environ, _SUPERVISOR: str(os.getpid())}
        self.process = subprocess.Popen(self.command, start_new_session=True, env=environment)
        self.started_at = time.monotonic()
        self.starts += 1


def supervise(settings: Settings, config: Path, *, verbose: bool) -> int:
    """Run receiver, worker and web until SIGTERM or SIGINT; restart what dies. Returns the exit code.

    A process that refuses its first start ends the node: the configuration wants mending. One that refuses a later
    start, where a certificate or a bundle is just being replaced, is started again like any that died.
    """
    stop = install_stop_signals()
    for url in (settings.database_url, settings.workflow_url):
        set_aside_if_corrupt(url)
    Store(settings.database_url).close()  # brought up to date before any of them works with it
    with suppress(OSError):  # a full disk is told by the receiver, which is to answer that it is full
        # The worker may sweep before the receiver has begun to look for files without a row, of which a database that
        # was put back from a backup lacks many.
        RecoveryMarks(settings.node.spool_dir).set_one()
    options = ["--config", str(config), *(["--verbose"] if verbose else [])]
    children = [_Child(role, [sys.executable, "-m", "dicom_node", role, *options]) for role in ROLES]
    for child in children:
        child.start()
    code = 0
    while not stop.wait(0.2):
        ended = [(child.starts, _look_after(child)) for child in children]
        if (1, REFUSED_TO_START) in ended:
            code = REFUSED_TO_START
            break
    _stop(children, settings.node.grace_s + 5)
    return code


def _look_after(child: _Child) -> int | None:
    """Restart a dead child, ever more slowly while it keeps dying; return its exit code when it has just died."""
    if child.process is None:
        if time.monotonic() >= child.restart_at:
            child.start()
        return None
    code = child.process.poll()
    if code is None:
        return None
    lived_s = time.monotonic() - child.started_at
    child.failures = 1 if lived_s > 60 else child.failures + 1
    delay_s = min(0.5 * 2.0**child.failures, 30)
    _LOGGER.error("%s ended with code %d after %.0f s; next start in %.0f s", child.role, code, lived_s, delay_s)
    child.process = None
    child.restart_at = time.monotonic() + delay_s
    return code


def _stop(children: list[_Child], patience_s: float) -> None:
    running = [child.process for child in children if child.process is not None]
    for process in running:
        process.terminate()
    deadline = time.monotonic() + patience_s
    for process in running:
        try:
            process.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            _LOGGER.warning("process %d did not stop within its grace period; killed", process.pid)
            process.kill()
            process.wait()
