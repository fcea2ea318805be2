"""What the rules say of a study reaches the analysis queue and the state of the study."""

import subprocess
import sys
import time
from contextlib import closing

from stored_rows import build_row

from dicom_node.store import RevisionState, Store

# The workflow engine is one to a process: each test runs it in a process of its own.
PROGRAM = """
import sys, threading, time
from pathlib import Path
from dicom_node.settings import load_settings
from dicom_node.store import Store
from dicom_node.workflow import StudyWorkflow, configure_workflows, running_workflows

settings = load_settings(Path(sys.argv[1]))
store = Store(settings.database_url)
excluding = settings.rules[0]
all_started = threading.Event()
priorities = {"1.1": 5, "1.2": 9, "1.3": 1}

class Results:
    def find_priority(self, study, digest):
        return priorities[study]

    def make(self, study, digest, *, cautious):
        all_started.wait(60)
        with open(settings.node.data_dir / "made", "a") as file:
            file.write(study + " ")
        return excluding

configure_workflows(settings)
workflow = StudyWorkflow(settings, store, Results())
with running_workflows(settings):
    workflow.start_due(time.time())
    all_started.set()
    until = time.monotonic() + 100
    while time.monotonic() < until and any(one.state != "excluded" for one in store.status(10)):
        time.sleep(0.1)
    workflow.start_due(time.time())
"""


def test_studies_are_analysed_in_the_order_of_their_priority_and_excluded_ones_end_there(tmp_path):
    """The first one may be under way already; of the others the urgent one, the youngest, does not wait its turn."""
    config = tmp_path / "node.toml"
    config.write_text(
        f'[node]\nae_title = "NODE"\ndata_dir = "{tmp_path}"\n[[senders]]\nae_title = "A"\n'
        '[[destinations]]\nname = "a"\nae_title = "A"\nhost = "127.0.0.1"\nport = 4\n'
        '[[rules]]\nname = "out"\naction = "exclude"\n'
    )
    with closing(Store(f"sqlite:///{tmp_path / 'node.sqlite'}")) as store:
        for number in (1, 2, 3):
            store.add_instances([build_row(f"2.{number}", f"1.{number}")])
            store.close_revision(f"1.{number}", time.time() + number)
        assert subprocess.run([sys.executable, "-c", PROGRAM, str(config)], check=False, timeout=150).returncode == 0
        made = (tmp_path / "made").read_text().split()
        assert sorted(made) == ["1.1", "1.2", "1.3"]
        assert made.index("1.3") < made.index("1.2")
        assert {(one.state, one.reason) for one in store.status(10)} == {
            (RevisionState.EXCLUDED, "Not analysed by rule 'out' of this site.")
        }
