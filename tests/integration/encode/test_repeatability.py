"""Another process, another day, another order of hashing: the same bytes."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent.parent

ENCODE = """
import hashlib, sys
from io import BytesIO
sys.path.insert(0, sys.argv[1])
from analyses import build_image, build_study
from builders import build_dx
from dicom_node.encode.results import encode_study
from dicom_node.settings import Encoding

uids = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4", "PatientName": "Yamada^Tarou=山田^太郎"}
images = [build_image(build_dx(SOPInstanceUID=f"1.2.3.4.{n}", **uids)) for n in range(2)]
for result in encode_study(build_study(images), ae_title="FRACTUREAI", encodings=tuple(Encoding)):
    file = BytesIO()
    result.ds.save_as(file, enforce_file_format=True)
    print(hashlib.sha256(file.getvalue()).hexdigest())
"""


def encode_in_another_process(hash_seed):
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONUTF8": "1"}
    found = subprocess.run(
        [sys.executable, "-c", ENCODE, str(TESTS)], env=environment, capture_output=True, text=True, check=True
    )
    return found.stdout.split()


def test_two_processes_encode_the_same_bytes():
    digests = encode_in_another_process(1)
    assert len(set(digests)) == 8
    assert encode_in_another_process(2) == digests
