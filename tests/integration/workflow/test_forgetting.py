"""The workflow engine keeps no checkpoints for ever."""

import subprocess
import sys

import pytest
from stored_rows import build_row

from dicom_node.store import Store

# The workflow engine is one to a process.
PROGRAM = """
import sys, time
from pathlib import Path
from dbos import DBOS
from dicom_node.settings import load_settings
from dicom_node.store import Store
import dicom_node.workflow
from dicom_node.workflow import StudyWorkflow, configure_workflows, running_workflows

dicom_node.workflow._FORGOTTEN_AT_ONCE = 2
settings = load_settings(Path(sys.argv[1]))
store = Store(settings.database_url)

class Results:
    def make(self, study, digest, **_):
        if study == "1.9":
            raise OSError(28, "No space left on device")

def ids(**chosen):
    return sorted(one.workflow_id for one in DBOS.list_workflows(**chosen))

configure_workflows(settings)
workflow = StudyWorkflow(settings, store, Results())
with running_workflows(settings):
    workflow.start_due(time.time())
    deadline = time.monotonic() + 120
    while len(ids(status=["SUCCESS", "ERROR"])) < 4 and time.monotonic() < deadline:
        time.sleep(0.1)
    print(*ids(), sep=",")
    print(workflow.forget_ended(time.time() - 3600), *ids(), sep=",")
    print(workflow.forget_ended(time.time() + 3600), *ids(), sep=",")
    print(workflow.forget_ended(time.time() + 3600), *ids(), sep=",")
"""


@pytest.fixture
def studies(tmp_path):
    """Three studies that succeed, and 1.9, which ends without results."""
    (tmp_path / "node.toml").write_text(
        f'[node]\nae_title = "NODE"\ndata_dir = "{tmp_path}"\ngrace_s = 5\n'
        '[[senders]]\nae_title = "A"\n[[destinations]]\nname = "a"\nae_title = "B"\nhost = "127.0.0.1"\nport = 1'
    )
    store = Store(f"sqlite:///{tmp_path / 'node.sqlite'}")
    for study in ("1.6", "1.7", "1.8", "1.9"):
        row = build_row(f"{study}.1", study, received_at=1.0)
        store.add_instances([row])
        store.close_revision(study, 2.0)
    yield tmp_path
    store.close()


def test_ended_workflows_are_forgotten_but_not_the_last_attempt_at_what_has_no_results(studies):
    """Those older than the limit go, a few at a time; the next attempt still finds how the last one ended."""
    command = [sys.executable, "-c", PROGRAM, str(studies / "node.toml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    begun, too_young, forgotten, again = (line.split(",") for line in done.stdout.splitlines())
    assert len(begun) == 4
    assert too_young == ["0", *begun]
    assert forgotten[0] == "3"
    (kept,) = forgotten[1:]
    assert kept.startswith("study/1.9/")
    assert again == ["0", kept]
