"""The child process in a cage: `python -m dicom_node.analyse.caged CHANNEL MEMORY`, two inherited descriptors.

Its first message holds what to prepare and its limits; each further one a function and its arguments, which are called
with what was prepared. It ends when its parent closes the channel, or is gone.
"""

import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from dicom_node.analyse.shared_memory import SharedMemory, load_trusted
from dicom_node.errors import StudyError, describe_unforeseen
from inference.errors import InferenceError

MESSAGE_BYTES = 4096
_ORPHANED_S = 10
"""How much longer than its limit a child may work whose parent is no longer there to stop it."""


def main() -> None:
    """Prepare, say so, then answer until the channel is closed."""
    # A service manager signals every process of a service; this one ends with its parent.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold the picture
    with suppress(OSError):  # where memory runs out, this process goes and not the worker
        Path("/proc/self/oom_score_adj").write_text("1000")
    channel = socket.socket(fileno=int(sys.argv[1]))
    memory = SharedMemory(int(sys.argv[2]))
    first = channel.recv(MESSAGE_BYTES)
    if not first:
        return
    prepare, limit_s, memory_mb = memory.take(first, load_trusted)
    prepared: list[Any] = []
    channel.send(memory.put(_attempt(lambda: prepared.append(prepare()))))
    _be_silent()
    if memory_mb is not None:
        _limit_memory(memory_mb)
    while message := channel.recv(MESSAGE_BYTES):
        signal.setitimer(signal.ITIMER_REAL, limit_s + _ORPHANED_S)
        function, arguments = memory.take(message, load_trusted)
        reply = memory.put(_attempt(lambda: function(*prepared, *arguments)))  # noqa: B023 - called at once
        signal.setitimer(signal.ITIMER_REAL, 0)
        channel.send(reply)


def _be_silent() -> None:
    """Drop what decoders and parsers print: it may quote the header."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stderr.fileno())


def _limit_memory(memory_mb: float) -> None:
    """Allow so many 10**6 bytes of address space beyond what is in use now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = int(pages * resource.getpagesize() + memory_mb * 1e6)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _attempt(work: Callable[[], object]) -> tuple[str, object]:
    """Return how it ended, and with what."""
    try:
        return "done", work()
    except (StudyError, InferenceError) as error:
        return "refused", error.with_traceback(None)
    except MemoryError:
        return "memory", None
    except BaseException as error:  # noqa: BLE001 - the edge of the process; a panic of a decoder in Rust is no Exception
        return "failed", (type(error).__name__, describe_unforeseen(error))


if __name__ == "__main__":
    main()
