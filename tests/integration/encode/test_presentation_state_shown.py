"""DCMTK shows a source through its presentation state as the node itself reads it: same window, same polarity."""

import subprocess

import numpy as np
import pytest
from analyses import build_image, build_study
from builders import build_cr, build_dx, phantom, write_part10
from PIL import Image
from pydicom import Dataset

from dicom_node.analyse.pixels import load_radiograph
from dicom_node.encode.results import encode_study
from dicom_node.settings import Encoding
from dicom_node.values import ResultKind
from inference.overlay import render_original

pytestmark = pytest.mark.dcmtk

TOP = 4095
NEGATIVE = {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}


def build_table():
    """A VOI LUT that is no straight line."""
    item = Dataset()
    item.LUTDescriptor = [TOP + 1, 0, 12]
    item.LUTData = np.rint(np.linspace(0, 1, TOP + 1) ** 2 * TOP).astype("<u2").tobytes()
    item["LUTData"].VR, item["LUTDescriptor"].VR = "OW", "US"
    return item


def build_packed_table():
    """A VOI LUT of 256 entries of 8 bits, two to a word (PS3.3 C.11.1.1.1), for `phantom(bits=8)`."""
    item = Dataset()
    item.LUTDescriptor = [256, 0, 8]
    item.LUTData = np.rint(np.linspace(0, 1, 256) ** 2 * 255).astype(np.uint8).tobytes()
    item["LUTData"].VR, item["LUTDescriptor"].VR = "OW", "US"
    return item


def build_signed_table():
    """A VOI LUT of values from -2048 on."""
    item = build_table()
    item.add_new("LUTDescriptor", "SS", [TOP + 1, -2048, 12])
    return item


SOURCES = {
    "a window": lambda: build_dx(WindowCenter=1800, WindowWidth=3000),
    "two windows, of which the first counts": lambda: build_dx(WindowCenter=[1500, 4000], WindowWidth=[2000, 10]),
    "a negative": lambda: build_dx(
        (TOP - phantom()).astype(np.uint16), WindowCenter=2048, WindowWidth=4096, **NEGATIVE
    ),
    "a table": lambda: build_dx(WindowCenter=None, WindowWidth=None, VOILUTSequence=[build_table()]),
    "a rescaled source": lambda: build_dx(
        RescaleSlope=2, RescaleIntercept=-100, RescaleType="US", WindowCenter=3900, WindowWidth=8000
    ),
    "a packed table": lambda: build_dx(
        phantom(bits=8).astype(np.uint8), WindowCenter=None, WindowWidth=None, VOILUTSequence=[build_packed_table()]
    ),
    "a table of signed values": lambda: build_cr(
        (phantom().astype(np.int16) - 2048).astype(np.int16),
        BitsStored=12,
        HighBit=11,
        WindowCenter=None,
        WindowWidth=None,
        VOILUTSequence=[build_signed_table()],
    ),
    "a slope without an intercept": lambda: build_dx(
        RescaleSlope=2, RescaleIntercept=None, WindowCenter=4000, WindowWidth=8000
    ),
    "an intercept without a slope": lambda: build_dx(
        RescaleSlope=None, RescaleIntercept=-1000, WindowCenter=1000, WindowWidth=4000
    ),
}


@pytest.mark.parametrize("name", SOURCES)
def test_dcmtk_shows_what_the_node_has_analysed(name, tmp_path):
    ds = SOURCES[name]()
    source = write_part10(ds, tmp_path / "source.dcm")
    results = encode_study(build_study([build_image(ds)]), ae_title="NODE", encodings=tuple(Encoding))
    (state,) = [one.ds for one in results if one.kind is ResultKind.PRESENTATION_STATE]
    path, shown = write_part10(state, tmp_path / "state.dcm"), tmp_path / "shown.pgm"
    subprocess.run(["dcmp2pgm", "--pstate", path, source, shown], check=True, capture_output=True)
    picture = np.asarray(Image.open(shown)).astype(int)
    read = render_original(load_radiograph(source)).astype(int)
    assert np.ptp(read) > 100
    assert np.abs(picture - read).max() <= 3
