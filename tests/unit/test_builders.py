import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import build_cr, build_dx, build_gsps, build_pdf, build_sc, build_sr, compress, write_part10
from pydicom import Dataset
from pydicom.uid import JPEG2000Lossless


@pytest.mark.dicom3tools
@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed")
@pytest.mark.parametrize("build", [build_dx, build_cr, build_sc, build_sr, build_gsps, build_pdf])
def test_what_the_builders_build_is_valid_dicom(build: Callable[[], Dataset], tmp_path: Path) -> None:
    path = write_part10(build(), tmp_path / "object.dcm")

    finding = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)

    assert finding.returncode == 0, finding.stderr
    assert "Error" not in finding.stderr


def test_a_keyword_replaces_adds_or_deletes_an_element() -> None:
    ds = build_dx(PatientName="Other^Name", PatientComments="added", ImagerPixelSpacing=None, PixelSpacing=None)

    assert (ds.PatientName, ds.PatientComments) == ("Other^Name", "added")
    assert "ImagerPixelSpacing" not in ds


def test_compressing_leaves_the_original_alone() -> None:
    ds = build_dx()
    before = ds.PixelData

    compressed = compress(ds, JPEG2000Lossless)

    assert ds.PixelData == before
    assert compressed.file_meta.TransferSyntaxUID == JPEG2000Lossless != ds.file_meta.TransferSyntaxUID
    assert len(compressed.PixelData) < len(before)
