import sqlite3
import threading
import time

import pytest
from stored_rows import build_row

from dicom_node.store import (
    Admission,
    DeliveryState,
    Finding,
    InstanceRole,
    RevisionState,
    Store,
    StoredResult,
)
from dicom_node.store.deliveries import list_due
from dicom_node.store.schema import deliveries, dispatches

STUDY = "1.2.3"


def row(uid, *, role=InstanceRole.IMAGE, study=STUDY, sha256="a", at=100.0):
    return build_row(uid, study, sha256=sha256, role=role, received_at=at)


def result(uid):
    return StoredResult(
        sop_instance_uid=uid, sop_class_uid="1.9", series_instance_uid="1.8", kind="encapsulated pdf", path=f"{uid}.dcm"
    )


def close(store, now=200.0):
    store.close_revision(STUDY, now)
    return [(one.study_instance_uid, one.digest, one.attempt) for one in store.unmade_revisions()]


def test_an_instance_is_new_once_then_a_duplicate_then_a_conflict(store):
    assert store.add_instances([row("1.1")]) == [Admission.NEW]
    assert store.add_instances([row("1.1")]) == [Admission.DUPLICATE]
    assert store.add_instances([row("1.1", sha256="b")]) == [Admission.CONFLICT]
    assert store.add_instances([row("1.1", study="1.2.9")]) == [Admission.CONFLICT]
    assert store.find_instance("1.1").sha256 == "a"


def test_a_duplicate_does_not_restart_the_quiet_period(store):
    store.add_instances([row("1.1", at=100)])
    store.add_instances([row("1.1", at=150)])
    assert store.open_studies()[0].last_received_at == 100


def test_a_revision_is_made_once_for_a_set_of_images(store):
    store.add_instances([row("1.1"), row("1.2")])
    first = close(store)
    assert len(first) == 1
    assert close(store) == first
    assert store.open_studies() == []


def test_a_late_image_makes_a_second_version(store):
    store.add_instances([row("1.1")])
    ((_, digest, _),) = close(store)
    store.add_instances([row("1.2", at=300)])
    assert store.open_studies()[0].first_open_at == 300
    close(store, now=400)
    versions = {store.revision(STUDY, each.digest).version for each in store.unmade_revisions()}
    assert versions == {1, 2}
    assert store.revision(STUDY, digest).created_at == 200


@pytest.mark.fault(41, 42)
def test_own_results_and_late_reports_open_no_study(store):
    store.add_instances([row("1.1")])
    close(store)
    store.add_instances([row("1.5", role=InstanceRole.OWN_RESULT), row("1.6", role=InstanceRole.OTHER)])
    assert store.open_studies() == []


def test_own_results_alone_make_no_revision(store):
    store.add_instances([row("1.5", role=InstanceRole.OWN_RESULT)])
    assert store.open_studies() == []
    assert close(store) == []


def test_a_study_without_images_becomes_a_revision_of_what_it_has(store):
    store.add_instances([row("1.6", role=InstanceRole.OTHER)])
    ((_, digest, _),) = close(store)
    assert [one.sop_instance_uid for one in store.revision(STUDY, digest).instances] == ["1.6"]


def test_a_forced_study_says_so_and_an_unknown_one_cannot_be_forced(store):
    store.add_instances([row("1.1")])
    assert store.force_completion(STUDY)
    assert store.open_studies()[0].forced
    assert not store.force_completion("9.9")


def test_recording_results_twice_keeps_what_was_sent(store):
    store.add_instances([row("1.1")])
    ((study, digest, _),) = close(store)
    said = [Finding(sop_instance_uid="1.1", decision="fracture", region="LEG", probability=0.7, reason="")]
    store.add_results(study, digest, [result("5.1"), result("5.2")], said, ["a", "b"])
    store.record_delivery("a", "5.1", DeliveryState.SENT, "")
    store.add_results(study, digest, [result("5.1"), result("5.2")], said, ["a", "b"])
    assert [one.sop_instance_uid for one in store.pending_results(study, digest, "a")] == ["5.2"]
    assert len(store.pending_results(study, digest, "b")) == 2
    assert store.status(10)[0].findings == tuple(said)


def test_a_revision_is_done_when_no_destination_waits(store):
    store.add_instances([row("1.1")])
    ((study, digest, _),) = close(store)
    store.add_results(study, digest, [result("5.1")], [], ["a", "b"])
    store.set_revision_state(study, digest, RevisionState.DELIVERING)
    store.record_delivery("a", "5.1", DeliveryState.SENT, "")
    store.settle("a", "5.1", DeliveryState.DELIVERED, "")
    store.finish_delivered()
    assert store.revision(study, digest).state is RevisionState.DELIVERING
    store.record_delivery("b", "5.1", DeliveryState.SENT, "")
    store.finish_delivered()
    assert store.revision(study, digest).state is RevisionState.DELIVERING
    store.settle("b", "5.1", DeliveryState.DELIVERED, "")
    store.finish_delivered()
    assert store.revision(study, digest).state is RevisionState.DONE


def test_a_parked_result_fails_the_revision_and_a_retry_sets_it_back(store):
    store.add_instances([row("1.1")])
    ((study, digest, _),) = close(store)
    store.add_results(study, digest, [result("5.1")], [], ["a"])
    store.set_revision_state(study, digest, RevisionState.DELIVERING)
    store.record_delivery("a", "5.1", DeliveryState.PARKED, "C-STORE status 0xA900")
    store.finish_delivered()
    assert store.revision(study, digest).state is RevisionState.FAILED
    assert store.retry(study) == 1
    assert store.revision(study, digest).state is RevisionState.DELIVERING
    assert [due.destination for due in store.due_deliveries(time.time())] == ["a"]
    assert len(store.pending_results(study, digest, "a")) == 1
    assert store.retry(study) == 0


def test_a_revision_that_failed_is_done_when_all_of_it_is_delivered_in_the_end(store):
    """A sweep on PostgreSQL may call it failed just after a retry; its results go out all the same."""
    store.add_instances([row("1.1")])
    ((study, digest, _),) = close(store)
    store.add_results(study, digest, [result("5.1")], [], ["a"])
    store.set_revision_state(study, digest, RevisionState.FAILED)
    store.finish_delivered()
    assert store.revision(study, digest).state is RevisionState.FAILED
    store.record_delivery("a", "5.1", DeliveryState.PARKED, "C-STORE status 0xA900")
    store.finish_delivered()
    assert store.revision(study, digest).state is RevisionState.FAILED
    store.record_delivery("a", "5.1", DeliveryState.SENT, "")
    store.settle("a", "5.1", DeliveryState.DELIVERED, "")
    store.finish_delivered()
    assert store.revision(study, digest).state is RevisionState.DONE


def test_a_revision_without_results_is_retried_from_its_beginning(store):
    store.add_instances([row("1.1")])
    ((study, digest, _),) = close(store)
    store.set_revision_state(study, digest, RevisionState.FAILED)
    assert store.unmade_revisions() == []
    assert store.retry(study) == 1
    (unmade,) = store.unmade_revisions()
    assert unmade.attempt == 1
    assert store.begin_attempt(unmade).attempt == 2
    assert store.unmade_revisions()[0].attempt == 2


def test_a_delivery_is_due_until_it_is_begun_and_again_when_its_time_comes(store):
    store.add_instances([row("1.1")])
    ((study, digest, _),) = close(store)
    store.add_results(study, digest, [result("5.1")], [], ["a", "b"])
    now = time.time()
    due = store.due_deliveries(now)
    assert sorted(one.destination for one in due) == ["a", "b"]
    assert store.begin_try(due[0], now + 60).tries == 1
    assert store.begin_try(due[0], now + 60) is None
    assert [one.destination for one in store.due_deliveries(now)] == [due[1].destination]
    assert sorted(one.tries for one in store.due_deliveries(now + 61)) == [0, 1]
    store.record_delivery(due[0].destination, "5.1", DeliveryState.SENT, "")
    assert len(store.due_deliveries(now + 61)) == 2
    store.settle(due[0].destination, "5.1", DeliveryState.DELIVERED, "")
    assert [one.destination for one in store.due_deliveries(now + 61)] == [due[1].destination]


def test_a_study_is_not_closed_when_an_image_came_after_it_was_looked_at(store):
    store.add_instances([row("1.1", at=100)])
    (seen,) = store.open_studies()
    store.add_instances([row("1.2", at=101)])
    store.close_revision(STUDY, 200, seen=seen)
    assert store.unmade_revisions() == []
    store.close_revision(STUDY, 200, seen=store.open_studies()[0])
    assert len(store.unmade_revisions()) == 1


def test_an_older_row_does_not_set_the_last_arrival_back(store):
    store.add_instances([row("1.1", at=100)])
    store.add_instances([row("1.2", at=50)])
    assert store.open_studies()[0].last_received_at == 100


def test_a_later_version_supersedes_the_results_of_the_one_before(store):
    store.add_instances([row("1.1")])
    ((study, digest, _),) = close(store)
    store.add_results(study, digest, [result("5.1")], [], ["a"])
    assert store.earlier_versions(study, digest) == ()
    store.add_instances([row("1.2")])
    second = close(store)[-1][1]
    (before,) = store.earlier_versions(study, second)
    assert (before.version, before.superseded) == (1, True)
    assert [one.sop_instance_uid for one in before.results] == ["5.1"]
    # The second version has no results, so that the third supersedes the first; with results, the second alone.
    store.add_instances([row("1.3")])
    third = close(store)[-1][1]
    assert [one.version for one in store.earlier_versions(study, third)] == [1]
    store.add_results(study, second, [result("5.2")], [], ["a"])
    assert [(one.version, one.superseded) for one in store.earlier_versions(study, third)] == [(2, True)]


def test_a_version_without_results_is_superseded_by_a_later_one_that_has_them_and_all_its_images(store):
    store.add_instances([row("1.1")])
    study, first, _ = close(store)[0]
    store.add_instances([row("1.2")])
    second = close(store)[-1][1]
    assert store.superseding_version(study, first) is None  # neither has any
    store.add_results(study, second, [result("5.2")], [], ["a"])
    assert store.superseding_version(study, first) == 2
    assert store.superseding_version(study, second) is None
    store.add_results(study, first, [result("5.1")], [], ["a"])
    assert store.superseding_version(study, first) is None


def test_a_version_without_results_is_not_superseded_by_a_later_one_that_lacks_an_image_of_it(store):
    store.add_instances([row("1.1")])
    study, first, _ = close(store)[0]
    store.set_revision_state(study, first, RevisionState.DONE)
    with store.removal(study, time.time() + 1):
        pass
    store.add_instances([row("1.2")])
    second = close(store)[-1][1]
    store.add_results(study, second, [result("5.2")], [], ["a"])
    assert store.superseding_version(study, first) is None


def test_a_version_stays_valid_beside_a_later_one_that_lacks_its_images(store):
    store.add_instances([row("1.1")])
    study, first, _ = close(store)[0]
    store.add_results(study, first, [result("5.1")], [], ["a"])
    store.set_revision_state(study, first, RevisionState.DONE)
    store.record_delivery("a", "5.1", DeliveryState.SENT, "")
    store.record_verified("a", "5.1")
    store.settle("a", "5.1", DeliveryState.DELIVERED, "")
    with store.removal(study, time.time() + 1) as paths:
        assert paths == (f"{STUDY}/1.1.dcm",)
    store.add_instances([row("1.2")])
    (_, second, _) = close(store)[-1]
    assert [one.sop_instance_uid for one in store.revision(study, second).instances] == ["1.2"]
    assert [(one.version, one.superseded) for one in store.earlier_versions(study, second)] == [(1, False)]
    # Once all images are here again, one version supersedes both.
    store.add_results(study, second, [result("5.2")], [], ["a"])
    store.add_instances([row("1.1"), row("1.3")])
    (_, third, _) = close(store)[-1]
    found = [(one.version, one.superseded) for one in store.earlier_versions(study, third)]
    assert found == [(2, True), (1, True)]


def test_sqlite_is_told_to_survive_a_power_cut(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'node.sqlite'}")
    with store._engine.connect() as connection:  # noqa: SLF001  # the setting cannot be seen from outside
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    store.close()


def test_writers_wait_for_each_other_instead_of_failing(tmp_path):
    url = f"sqlite:///{tmp_path / 'node.sqlite'}"
    stores = [Store(url), Store(url)]

    def add_many(store, prefix):
        for number in range(50):
            store.add_instances([row(f"{prefix}.{number}", study=f"7.{prefix}")])

    threads = [threading.Thread(target=add_many, args=(store, index)) for index, store in enumerate(stores, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    connection = sqlite3.connect(tmp_path / "node.sqlite")
    assert connection.execute("SELECT count(*) FROM instances").fetchone() == (100,)
    connection.close()


def test_what_is_due_is_found_without_looking_at_all_that_was_ever_delivered(tmp_path):
    """A sweep asks every second: its question must not cost more with every study that the node has answered."""
    store = Store(f"sqlite:///{tmp_path / 'many.sqlite'}")
    costs = [_count_steps(store)]
    with store._writing() as connection:  # noqa: SLF001  # thousands of answered studies, at once
        for number in range(2000):
            key = {"study_instance_uid": f"1.2.{number}", "digest": "d", "destination": "archive"}
            connection.execute(dispatches.insert(), {**key, "tries": 1, "next_try_at": 1.0})
            row = {**key, "sop_instance_uid": f"1.3.{number}", "state": "delivered", "changed_at": 1.0}
            connection.execute(deliveries.insert(), row)
    costs.append(_count_steps(store))
    assert costs[1] <= costs[0] + 10
    store.close()


def _count_steps(store):
    """Count hundreds of instructions that SQLite takes to say what is due."""
    steps = []
    with store._engine.connect() as connection:  # noqa: SLF001  # where the count is to be had
        driver = connection.connection.driver_connection
        driver.set_progress_handler(lambda: steps.append(1) or 0, 100)
        list_due(connection, time.time())
        driver.set_progress_handler(None, 0)
    return len(steps)
