"""Looks into folders all the time: what lay in them only for a moment is seen too, also files without a name."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Self

EVERY_S = 0.02


class TemporaryWatch:
    """Keeps the longest content of every file that it has seen below some folders, by path or descriptor."""

    def __init__(self, folders: Iterable[Path], processes: Callable[[], Iterable[int]] = tuple) -> None:
        """`processes` gives those whose open files are looked at: a file may have lost its name, or never had one."""
        self.seen: dict[str, bytes] = {}
        self._folders, self._processes = [str(folder) for folder in folders], processes
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(EVERY_S):
            for name, path in [*self._list_named(), *self._list_open()]:
                with contextlib.suppress(OSError):  # gone, or no file
                    content = path.read_bytes()
                    if len(content) >= len(self.seen.get(name, b"")):
                        self.seen[name] = content

    def _list_named(self) -> Iterator[tuple[str, Path]]:
        for top in self._folders:
            for folder, _, names in os.walk(top):
                for name in names:
                    path = Path(folder, name)
                    yield str(path), path

    def _list_open(self) -> Iterator[tuple[str, Path]]:
        for process in self._processes():
            with contextlib.suppress(OSError):  # it has ended
                for link in Path(f"/proc/{process}/fd").iterdir():
                    with contextlib.suppress(OSError):
                        target = str(link.readlink())
                        if target.startswith(tuple(f"{folder}/" for folder in self._folders)):
                            yield f"{target} of {process}", link
