"""What tests have a child process in a cage do. The child finds this module by PYTHONPATH: see `work_can_be_found`."""

import os
import signal
import time
from pathlib import Path

from pydicom import dcmread
from pydicom.pixels.utils import pixel_array

from dicom_node.analyse.pixels import load_radiograph
from inference.types import Decision, Radiograph, RadiographAnalysis

QUOTED = "Unmistakable^Patient"
"""What an exception may quote, and no log may."""
HANGING, CRASHING, EATING, SOUND = 101, 102, 103, 104
"""Rows of the radiographs that `answer` treats so."""
HOARDED: list[bytearray] = []


def prepare() -> None:
    """Prepare nothing."""


def fail_to_prepare() -> None:
    """Fail as a broken installation would."""
    raise RuntimeError(QUOTED)


def find_pid(_prepared: None) -> int:
    """Return the number of the child."""
    return os.getpid()


def die(_prepared: None, number: int) -> None:
    """Die of a signal, as a decoder with a defect does."""
    os.kill(os.getpid(), number)
    time.sleep(60)


def fail(_prepared: None) -> None:
    """Raise what nobody foresaw."""
    raise ZeroDivisionError(QUOTED)


def answer_with_code(_prepared: None) -> object:
    """Return what would run a program in the parent, were it unpickled as it is."""
    return RunsAProgram()


class RunsAProgram:
    """What a decoder in the hands of an attacker could send."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch hacked",)


def measure_growth_mb(_prepared: None, path: Path) -> float:
    """Decode and return the growth of the largest memory this process ever had, 10**6 bytes."""
    before = _largest_mb()
    load_radiograph(path)
    return _largest_mb() - before


def hoard(_prepared: None, count: int) -> None:
    """Keep so many 10**6 bytes for ever, as a decoder with a leak does."""
    HOARDED.append(bytearray(count * 10**6))


def need(_prepared: None, count: int) -> int:
    """Take so many 10**6 bytes for a moment; return the number of the child."""
    bytearray(count * 10**6)
    return os.getpid()


def decode_whatever_it_is(_prepared: None, path: Path) -> None:
    """Decode as pydicom does, without a check of sizes."""
    pixel_array(dcmread(path))


def _largest_mb() -> float:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def answer(_prepared: None, radiograph: Radiograph) -> RadiographAnalysis:
    """Answer as models do, and as models do that meet what they cannot stand."""
    if radiograph.rows == HANGING:
        time.sleep(600)
    if radiograph.rows == CRASHING:
        os.kill(os.getpid(), signal.SIGSEGV)
    if radiograph.rows == EATING:
        os.kill(os.getpid(), signal.SIGKILL)
    return RadiographAnalysis(decision=Decision.NO_FRACTURE)
