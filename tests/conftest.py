"""What holds for every test."""

import shutil

import pydicom
import pytest

# A misspelt DICOM keyword in a test is an error, not a silent Python attribute.
pydicom.config.INVALID_KEYWORD_BEHAVIOR = "RAISE"

PROGRAMS = {"orthanc": ["Orthanc"], "dcmtk": ["dcmsend", "storescp"], "dicom3tools": ["dciodvfy", "dcentvfy"]}


def pytest_collection_modifyitems(items):
    """Skip, by name, the tests whose programs are not installed."""
    for item in items:
        for marker, programs in PROGRAMS.items():
            missing = [program for program in programs if shutil.which(program) is None]
            if missing and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=f"not installed: {', '.join(missing)}"))
