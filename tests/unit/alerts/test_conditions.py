import os
import time
from contextlib import closing

import pytest
from stored_rows import build_row

from dicom_node.alerts.conditions import Kind, find_conditions
from dicom_node.settings import (
    AlertSettings,
    Destination,
    NodeSettings,
    ReconcileSettings,
    Sender,
    Settings,
)
from dicom_node.store import ENDED, DeliveryState, Retrieval, RevisionState, Store, StoredResult

STUDY = "1.2.826.0.1.77"
NOW = 1_000_000.0


@pytest.fixture
def settings(tmp_path):
    return Settings(
        node=NodeSettings(ae_title="FRACTUREAI", data_dir=tmp_path),
        senders=(Sender(ae_title="ORTHANC"),),
        destinations=(Destination(name="archive", ae_title="ORTHANC", host="127.0.0.1", port=4242),),
        reconcile=ReconcileSettings(archives=("archive",)),
        alerts=AlertSettings(free_mb=0),
    )


@pytest.fixture
def store(settings):
    with closing(Store(settings.database_url)) as store:
        yield store


def find(settings, store, at=NOW):
    return [(one.kind, one.subject) for one in find_conditions(settings, store, at)]


def make(store, *, at, results=0):
    store.add_instances([build_row(f"{STUDY}.1", STUDY, received_at=at)])
    store.close_revision(STUDY, at)
    (revision,) = store.unmade_revisions()
    made = [
        StoredResult(
            sop_instance_uid=f"{STUDY}.5.{number}",
            sop_class_uid="1.9",
            series_instance_uid="1.8",
            kind="encapsulated pdf",
            path="a",
        )
        for number in range(results)
    ]
    if made:
        store.add_results(STUDY, revision.digest, made, [], ["archive"])
        store.set_revision_state(STUDY, revision.digest, RevisionState.DELIVERING)
    return revision.digest


def test_a_new_node_has_nothing_wrong(settings, store):
    assert find(settings, store) == []


def test_a_study_that_is_still_being_received_is_not_stuck_and_one_that_nobody_closes_is(settings, store):
    store.add_instances([build_row(f"{STUDY}.1", STUDY, received_at=NOW)])
    assert find(settings, store, NOW + 900 + 1800 - 1) == []
    assert find(settings, store, NOW + 900 + 1800 + 1) == [(Kind.STUCK, "")]


def test_a_study_that_waits_long_for_its_analysis_is_stuck(settings, store):
    make(store, at=NOW)
    assert find(settings, store, NOW + 1799) == []
    assert find(settings, store, NOW + 1801) == [(Kind.STUCK, "")]


def test_a_study_that_failed_without_results_is_stuck_at_once(settings, store):
    digest = make(store, at=NOW)
    store.set_revision_state(STUDY, digest, RevisionState.FAILED, reason="no results could be made")
    assert find(settings, store, NOW + 1) == [(Kind.STUCK, "")]


@pytest.mark.parametrize("state", RevisionState)
def test_nothing_is_unfinished_of_a_version_that_has_ended_however_it_did(store, state):
    """Done, left out by a rule, superseded before it was made: none of them waits for anything."""
    store.set_revision_state(STUDY, make(store, at=NOW), state)
    counted = {one for one, backlog in store.unfinished_revisions().items() if backlog.count}
    assert counted == (set() if state in ENDED else {state})


def test_a_destination_that_takes_nothing_is_behind(settings, store):
    make(store, at=NOW, results=2)
    assert find(settings, store, NOW + 1799) == []
    (one,) = find_conditions(settings, store, NOW + 1801)
    assert (one.kind, one.says, one.since) == (Kind.BEHIND, "archive: 2 results wait to be taken", NOW)


def test_parked_results_are_told_by_their_count_and_explained_only_here(settings, store):
    make(store, at=NOW, results=2)
    for number, why in enumerate((f"no place for {STUDY}.5.0 of DOE^JANE", "no such SOP class")):
        store.record_delivery("archive", f"{STUDY}.5.{number}", DeliveryState.PARKED, f"archive: {why}")
    store.finish_delivered()
    (one,) = find_conditions(settings, store, NOW + 1)
    assert (one.kind, one.subject, one.says) == (Kind.PARKED, "archive", "archive: 2 results are parked")
    assert "dicom-node retry --destination archive" in one.remedy
    assert any("DOE^JANE" in detail for detail in one.details)
    assert "DOE" not in f"{one.says}{one.remedy}{one.subject}"


def test_studies_that_never_came_are_counted_and_their_uids_stay_here(settings, store):
    store.record_retrieval(
        Retrieval(archive="archive", study_instance_uid=STUDY, related_instances=3, is_whole=False, tries=6)
    )
    (one,) = find_conditions(settings, store, NOW)
    assert (one.kind, one.subject, one.details) == (Kind.NEVER_CAME, "archive", (STUDY,))
    assert STUDY not in one.says + one.remedy


def test_an_archive_that_cannot_be_searched_for_long_is_told(settings, store):
    mark = settings.node.search_silence("archive")
    mark.touch()
    os.utime(mark, (NOW, NOW))
    assert find(settings, store, NOW + 1800) == []
    (one,) = find_conditions(settings, store, NOW + 1801)
    assert (one.kind, one.subject, one.since) == (Kind.UNSEARCHED, "archive", NOW)
    rarely = settings.model_copy(update={"reconcile": ReconcileSettings(archives=("archive",), every_s=1200)})
    assert find(rarely, store, NOW + 3600) == []
    without = settings.model_copy(update={"reconcile": None})
    assert find(without, store, NOW + 1801) == []


def test_a_disk_that_fills_up_is_told(settings, store):
    full = settings.model_copy(update={"alerts": AlertSettings(free_mb=10**9)})
    assert find(full, store) == [(Kind.DISK, "")]


def test_a_worker_that_was_never_started_is_not_silent_and_one_that_has_stopped_is(settings, store):
    assert find(settings, store, time.time() + 10**6) == []
    settings.node.heartbeat.touch()
    assert find(settings, store, time.time() + 100) == []
    assert find(settings, store, time.time() + 130) == [(Kind.SILENT, "")]
