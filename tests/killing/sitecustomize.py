"""Ends a process of the node at a named point. Python imports this by itself where its folder is on PYTHONPATH.

The folder named by KILLING holds `points`, one a line ("after dicom_node.receive.spool:Spool.keep"), and `armed`, the
one that is due. The process that comes to it renames `armed` to `fired` and dies of SIGKILL, so one arming kills once.
So the node itself carries no code for its tests.
"""

import functools
import importlib
import importlib.abc
import importlib.util
import os
import signal
import sys
import time
from collections import defaultdict
from pathlib import Path

SETTLING_S = 0.3
"""How long "soon after" is: enough for other threads of the process to do what the call has asked of them."""

# As they are now: a point may be one of these functions.
_open, _read, _close, _rename = os.open, os.read, os.close, os.rename


class Points(importlib.abc.MetaPathFinder):
    """Wraps the functions of the points as soon as their modules are imported."""

    def __init__(self, folder, points):
        self._armed, self._fired = os.path.join(folder, "armed"), os.path.join(folder, "fired")  # noqa: PTH118  # pathlib may be a point
        self._due = defaultdict(list)
        for point in points:
            self._due[split(point)[1]].append(point)
        for module in set(self._due) & set(sys.modules):
            self._wrap_all(sys.modules[module])

    def find_spec(self, name, path=None, target=None):  # noqa: ARG002  # the signature of a finder
        if name not in self._due:
            return None
        points = self._due.pop(name)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def execute_and_wrap(module):
            execute(module)
            self._due[name] = points
            self._wrap_all(module)

        spec.loader.exec_module = execute_and_wrap
        return spec

    def _wrap_all(self, module):
        for point in self._due.pop(module.__name__):
            self._wrap(module, point)

    def _wrap(self, module, point):
        moment, _, place = split(point)
        owner, name, function = find(module, place)

        @functools.wraps(function)
        def wrapped(*arguments, **options):
            if moment == "before":
                self._die_if_due(point)
            result = function(*arguments, **options)
            if moment != "before":
                self._die_if_due(point, wait_s=SETTLING_S if moment == "soon after" else 0)
            return result

        setattr(owner, name, wrapped)

    def _die_if_due(self, point, wait_s=0):
        try:
            descriptor = _open(self._armed, os.O_RDONLY)
        except FileNotFoundError:
            return
        armed = _read(descriptor, 1000).decode()
        _close(descriptor)
        if armed != point:
            return
        time.sleep(wait_s)
        try:
            _rename(self._armed, self._fired)
        except FileNotFoundError:
            return  # another thread or process was faster
        os.kill(os.getpid(), signal.SIGKILL)


def split(point):
    """Split "after module:Class.function" into moment, module and place."""
    moment, _, rest = point.rpartition(" ")
    module, _, place = rest.partition(":")
    return moment, module, place


def find(module, place):
    """Find a function: its owner, its name there, and itself."""
    *path, name = place.split(".")
    owner = functools.reduce(getattr, path, module)
    return owner, name, getattr(owner, name)


if "KILLING" in os.environ:
    folder = Path(os.environ["KILLING"])
    sys.meta_path.insert(0, Points(folder, (folder / "points").read_text().splitlines()))
