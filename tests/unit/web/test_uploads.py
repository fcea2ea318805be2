"""What becomes of the files of an upload when the process that works on them is killed."""

import subprocess
import sys

from dicom_node.web.uploads import UploadedFile, laid_down, remove_left_behind

FILE = UploadedFile(name="DOE^JOHN.dcm", content=b"DOE^JOHN")
WORKS_ON_ONE = """
import sys, time
from pathlib import Path
from dicom_node.web.uploads import UploadedFile, laid_down
with laid_down([UploadedFile(name="DOE^JOHN.dcm", content=b"DOE^JOHN")], Path(sys.argv[1])):
    print("laid down", flush=True)
    time.sleep(600)
"""


def test_what_a_killed_process_has_left_goes_at_the_next_start_and_what_is_worked_on_stays(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", WORKS_ON_ONE, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"laid down\n"
        with laid_down([FILE], tmp_path) as (own,):
            remove_left_behind(tmp_path)
            assert len(list(tmp_path.iterdir())) == 2
            other.kill()
            other.wait()
            remove_left_behind(tmp_path)
            assert list(tmp_path.iterdir()) == [own.parent]
            assert own.read_bytes() == FILE.content
    finally:
        other.kill()
        other.communicate()
    assert not list(tmp_path.iterdir())


def test_where_nothing_was_ever_uploaded_nothing_is_left(tmp_path):
    remove_left_behind(tmp_path / "uploads")
    assert not (tmp_path / "uploads").exists()
