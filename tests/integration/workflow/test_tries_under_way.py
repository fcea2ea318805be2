"""No try to deliver begins beside another one of the same delivery."""

from types import SimpleNamespace
from typing import cast

from dbos import DBOS
from stored_rows import build_row

from dicom_node.store import StoredResult
from dicom_node.workflow import StudyWorkflow


def plan_deliveries(store, study, *destinations):
    store.add_instances([build_row(f"{study}.1", study)])
    store.close_revision(study, 100.0)
    digest = next(one.digest for one in store.unmade_revisions() if one.study_instance_uid == study)
    row = StoredResult(
        sop_instance_uid=f"{study}.2", sop_class_uid="1.9", series_instance_uid="1.8", kind="summary", path="a.dcm"
    )
    store.add_results(study, digest, [row], [], destinations)
    return digest


def test_a_delivery_waits_for_the_end_of_a_try_of_whatever_number_and_release_and_others_do_not(store, monkeypatch):
    digest, other = plan_deliveries(store, "1.2", "a", "b", "c", "d"), plan_deliveries(store, "1.3", "a")
    of_study = f"deliver/1.2/{digest}"
    under_way = [f"{of_study}/a/7/0123456789abcdef", f"{of_study}/b/7", f"{of_study}/d-2/1/0123456789abcdef"]
    monkeypatch.setattr(DBOS, "list_workflows", lambda **_: [SimpleNamespace(workflow_id=one) for one in under_way])
    started = []
    parts = {
        "_store": store,
        "_settings": SimpleNamespace(believed_destinations=frozenset()),
        "_start_revision": lambda _revision, _now: None,
        "_start_delivery": lambda due, _now: started.append((due.study_instance_uid, due.digest, due.destination)),
    }
    StudyWorkflow.start_due(cast("StudyWorkflow", SimpleNamespace(**parts)), 1e12)
    assert sorted(started) == [("1.2", digest, "c"), ("1.2", digest, "d"), ("1.3", other, "a")]
