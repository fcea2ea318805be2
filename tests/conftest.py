"""What holds for every test."""

import os
from contextlib import closing

import pydicom
import pytest

from dicom_node.demo.archives import BuiltinArchive, find_program
from dicom_node.store import Store

# A misspelt DICOM keyword in a test is an error, not a silent Python attribute.
pydicom.config.INVALID_KEYWORD_BEHAVIOR = "RAISE"

PROGRAMS = {
    "orthanc": ("Orthanc",),
    "browser": ("chromium", "npm"),
    "chromium": ("chromium",),
    "dcmtk": ("dcmsend", "storescp", "dcmcjpeg"),
    "dicom3tools": ("dciodvfy", "dcentvfy"),
}
EVERYTHING = os.environ.get("DICOM_NODE_TEST_EVERYTHING") == "1"
"""Whether a skipped test is a failure: continuous integration has every program."""
OPTIONAL = (
    "no FracAtlas folder",
    "torch is not installed",
    "the package with the weights",
    "no file system may be mounted",
)
"""Reasons that are good ones even there: what neither Debian nor the development set-up installs, nor a kernel allows.
"""


@pytest.fixture(scope="module")
def builtin_archive():
    """The archive of the demonstration; what it holds is asked for by study."""
    archive = BuiltinArchive()
    archive.start()
    yield archive
    archive.stop()


@pytest.fixture
def store(tmp_path):
    """An empty store in a file of its own."""
    with closing(Store(f"sqlite:///{tmp_path / 'node.sqlite'}")) as store:
        yield store


def pytest_collection_modifyitems(items):
    """Skip, by name, the tests whose programs are not installed."""
    for item in items:
        for marker, programs in PROGRAMS.items():
            missing = [program for program in programs if find_program(program) is None]
            if missing and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=f"not installed: {', '.join(missing)}"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport():
    """Turn the skip of a test into a failure where everything must run."""
    return fail_if_skipped((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report():
    """Likewise for a skipped module."""
    return fail_if_skipped((yield))


def fail_if_skipped(report):
    if EVERYTHING and report.skipped:
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
        if not reason.startswith(OPTIONAL):
            report.outcome = "failed"
            report.longrepr = f"everything must run, but this was skipped: {reason}"
    return report
