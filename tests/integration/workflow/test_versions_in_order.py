"""Versions of one study are made one after the other, also where an attempt at an earlier one has to wait."""

from types import SimpleNamespace
from typing import cast

from dbos import DBOS
from stored_rows import build_row

from dicom_node.store import RevisionState
from dicom_node.workflow import StudyWorkflow


def add_version(store, study, number):
    store.add_instances([build_row(f"{study}.{number}", study)])
    store.close_revision(study, 100.0 + number)
    return store.unmade_revisions()[-1]


def test_a_version_waits_for_the_one_before_it_and_other_studies_do_not(store, monkeypatch):
    monkeypatch.setattr(DBOS, "list_workflows", lambda **_: [])
    started = []
    parts = {
        "_store": store,
        "_settings": SimpleNamespace(believed_destinations=frozenset()),
        "_start_revision": lambda revision, _now: started.append(revision),
    }
    workflow = cast("StudyWorkflow", SimpleNamespace(**parts))
    first, second = add_version(store, "1.2", 1), add_version(store, "1.2", 2)
    other = add_version(store, "1.3", 3)
    StudyWorkflow.start_due(workflow, 200.0)
    assert started == [first, other]
    started.clear()
    store.set_revision_state("1.2", first.digest, RevisionState.DELIVERING)
    StudyWorkflow.start_due(workflow, 200.0)
    assert started == [second, other]
