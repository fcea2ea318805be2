"""A child process that may crash, hang or eat memory over one image, and costs nothing but that image's answer.

It lives long, so that no image waits for its start, and is replaced when it was lost.
"""

import errno
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from dicom_node.analyse.caged import MESSAGE_BYTES
from dicom_node.analyse.shared_memory import SharedMemory, load_guarded
from dicom_node.errors import CageError, StudyError
from inference.phrases import Phrase

_START_S = 300
"""A child that has not prepared itself by then never will: models of TensorFlow on a busy machine take a minute."""
_LAST_WORDS_S = 30
"""How long a child whose channel is closed may take to end."""
_LOGGER = logging.getLogger(__name__)


class Cage:
    """One child process that works on one thing at a time, from any thread.

    Parameters
    ----------
    name
        What it is in a sentence: "the decoder".
    prepare
        A function that the child can import (or a partial of one). What it returns is the first argument of all work.
    limit_s
        Seconds that one piece of work may take.
    memory_mb
        10**6 bytes that one piece of work may take beyond what the prepared child holds; None for no limit.
    """

    def __init__(
        self, name: str, prepare: Callable[[], object], *, limit_s: float, memory_mb: float | None = None
    ) -> None:
        self._name = name
        self._prepare = prepare
        self._limit_s = limit_s
        self._memory_mb = memory_mb
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._ready = False
        self._spawn()

    def wait_until_ready(self) -> None:
        """Wait until the child is prepared.

        Raises
        ------
        BundleError
            Or whatever other error of ours the preparation raised.
        ChildProcessError
            It cannot be started, or is lost before it is prepared.
        """
        with self._lock:
            self._make_ready()

    def call(self, function: Callable[..., Any], *arguments: object) -> Any:
        """Return what `function(prepared, *arguments)` returns in the child.

        Raises
        ------
        CageError
            The child crashed, was stopped at a limit, or ran out of memory; it is replaced.
        StudyError, InferenceError
            As raised by the function, or for what else it raised; the child lives on.
        ChildProcessError
            There is no child and none can be started: nothing that the arguments have to do with.
        """
        with self._lock:
            try:
                self._make_ready()
            except ChildProcessError:
                raise
            except Exception as error:
                raise ChildProcessError(errno.ECHILD, f"{self._name} cannot be prepared") from error
            return self._settle(*self._work(function, arguments))

    def _work(self, function: Callable[..., Any], arguments: tuple[object, ...]) -> tuple[str, Any]:
        """Have the child work; one that is lost over it is replaced at once, so that the next image need not wait."""
        assert self._child is not None  # noqa: S101 - it was made ready
        with suppress(OSError):  # it is gone: so says `_receive`
            self._child.send((function, arguments))
        try:
            return self._receive(self._limit_s)
        except CageError as error:
            _LOGGER.error("%s; it is started again", error)  # noqa: TRY400 - it says all there is
            with suppress(OSError):  # said by the next call
                self._spawn()
            raise

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._discard()

    @property
    def pid(self) -> int | None:
        """Number of the child; None where none runs."""
        return self._child.process.pid if self._child else None

    def _make_ready(self) -> None:
        if self._child is not None and self._child.process.poll() is not None:
            _LOGGER.warning("%s while it had nothing to do", self._discard())
        if self._child is None:
            self._spawn()
        if self._ready:
            return
        try:
            self._settle(*self._receive(_START_S))
        except CageError as error:
            raise ChildProcessError(errno.ECHILD, str(error)) from None
        except BaseException:
            self._discard()
            raise
        self._ready = True

    def _spawn(self) -> None:
        self._child, self._ready = _Child(), False
        self._child.send((self._prepare, self._limit_s, self._memory_mb))

    def _receive(self, limit_s: float) -> tuple[str, Any]:
        """Return the child's answer; CageError where it is lost instead."""
        assert self._child is not None  # noqa: S101 - its callers have seen to that
        said = Phrase("")
        try:
            outcome, payload = self._child.receive(limit_s)
            if outcome != "memory":
                return outcome, payload
            # Nobody knows what it still holds: neither another try nor the next image should have to do without.
            if self._memory_mb:
                said = self._say("{what} needed more than {memory:g} MB of memory", memory=float(self._memory_mb))
            else:
                said = self._say("{what} ran out of memory")
        except TimeoutError:
            said = self._say("{what} took longer than {limit:g} s", limit=float(limit_s))
        except OSError:
            pass
        except Exception:  # noqa: BLE001 - bytes that a child sent whose memory is no longer its own: as good as a crash
            said = self._say("{what} answered with what is no answer")
        ended = self._discard(expected=not said)
        raise CageError(said or ended)

    def _say(self, text: str, /, **values: Any) -> Phrase:
        return Phrase(text, what=Phrase(self._name), **values)

    def _settle(self, outcome: str, payload: Any) -> Any:
        match outcome, payload:
            case "done", _:
                return payload
            case "refused", Exception():
                raise payload
            case "failed", (str(kind), str(where)):
                _LOGGER.error("%s failed: %s", self._name, where)
                raise StudyError(self._say("{what} failed ({kind})", kind=kind))
            case _:
                raise CageError(self._say("{what} answered with what is no answer"))

    def _discard(self, *, expected: bool = False) -> Phrase:
        """End the child, or (expected) let it end by itself, and return how it ended, in words."""
        if self._child is None:
            return Phrase("")
        child, self._child, self._ready = self._child, None, False
        return self._describe_end(child.end(patience_s=_LAST_WORDS_S if expected else 0))

    def _describe_end(self, code: int) -> Phrase:
        if code == -signal.SIGKILL:
            return self._say("{what} was killed, as a system does that runs out of memory (SIGKILL)")
        if code >= 0:
            return self._say("{what} ended with code {code}", code=code)
        name = next((one.name for one in signal.Signals if one == -code), f"signal {-code}")
        return self._say("{what} crashed ({name})", name=name)


class _Child:
    """The process, and this side of its channel and memory."""

    def __init__(self) -> None:
        descriptor = SharedMemory.create()
        self._channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-W", "ignore", "-m", "dicom_node.analyse.caged"]
        try:
            with other:
                self._memory = SharedMemory(descriptor)
                self.process = subprocess.Popen(
                    [*command, str(other.fileno()), str(descriptor)],
                    pass_fds=(other.fileno(), descriptor),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    # Its own session: Ctrl-C on a terminal reaches the worker alone, which finishes what is in hand.
                    start_new_session=True,
                )
        except BaseException:
            self._channel.close()
            raise
        finally:
            os.close(descriptor)

    def send(self, message: object) -> None:
        """Send; OSError where the child is gone."""
        self._channel.send(self._memory.put(message))

    def receive(self, limit_s: float) -> tuple[str, Any]:
        """Wait for an answer; TimeoutError after `limit_s`, other OSError where the child is gone."""
        self._channel.settimeout(limit_s)
        reply = self._channel.recv(MESSAGE_BYTES)
        if not reply:
            raise ConnectionResetError
        outcome, payload = self._memory.take(reply, load_guarded)
        return outcome, payload

    def end(self, *, patience_s: float) -> int:
        """End the process if it does not end by itself; return its exit code."""
        self._channel.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(patience_s)
        self.process.kill()
        return self.process.wait()
