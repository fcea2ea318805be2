"""Files go when, and only when, nothing needs them any more; an instance that comes again is known all the same."""

import shutil
import threading
import time

import pytest
from builders import build_dx, build_sc, phantom
from receiving import conflicts, encode, kept_files, status
from result_bench import write
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.identity import MANUFACTURER, MANUFACTURER_MODEL_NAME
from dicom_node.receive.recovery import rebuild_rows
from dicom_node.receive.status import StoreStatus
from dicom_node.retention import UNTOUCHED_S, Retention, measure_disk, remove_empty_folders
from dicom_node.settings import NodeSettings, RetentionSettings
from dicom_node.store import ENDED, DeliveryState, RevisionState, StoredResult

DAY_S = 86_400
LATER = 31 * DAY_S


@pytest.fixture
def node(receiver):
    return NodeSettings(ae_title="FRACTUREAI", data_dir=receiver.archive.spool.folder.parent)


@pytest.fixture
def retention(node, store):
    return Retention(RetentionSettings(files_days=30, records_days=90), node, store)


def small_dx(**attributes):
    return build_dx(phantom(64, 48), **attributes)


def close(store, study):
    """Make a revision of what is there; return its digest, or None where that state is known."""
    known = {one.digest for one in store.status(100)}
    store.close_revision(study, time.time())
    return next((one.digest for one in store.status(100) if one.digest not in known), None)


def make_results(store, node, study, digest, destinations=("archive",)):
    """Record one result object of a revision, with a file, to be delivered."""
    uid = f"2.25.{int(digest[:24], 16)}"
    path = f"{study}/{digest}/{uid}.dcm"
    file = node.results_dir / path
    file.parent.mkdir(parents=True)
    file.write_bytes(b"a result")
    result = StoredResult(
        sop_instance_uid=uid, sop_class_uid="1.2", series_instance_uid="1.3", kind="encapsulated pdf", path=path
    )
    store.add_results(study, digest, [result], [], destinations)
    store.set_revision_state(study, digest, RevisionState.DELIVERING)
    return uid


def deliver(store, uid, state=DeliveryState.DELIVERED, destination="archive"):
    """Bring one delivery as far as that state."""
    sent = state if state in {DeliveryState.PENDING, DeliveryState.PARKED} else DeliveryState.SENT
    store.record_delivery(destination, uid, sent, "")
    if state is DeliveryState.DELIVERED:
        store.record_verified(destination, uid)
        store.settle(destination, uid, state, "")
    store.finish_delivered()


def finish(store, node, study):
    digest = close(store, study)
    deliver(store, make_results(store, node, study, digest))
    return digest


def result_files(node):
    return [path for path in node.results_dir.rglob("*") if path.is_file()]


def test_a_study_that_every_destination_has_loses_its_files_after_the_days_and_not_before(
    receiver, store, node, retention
):
    """Received files and results go N days after the delivery is proven; the rows stay."""
    ds = small_dx()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    digest = finish(store, node, ds.StudyInstanceUID)
    assert retention.remove_files(time.time() + 29 * DAY_S) == 0
    assert len(kept_files(receiver)) == len(result_files(node)) == 1
    assert retention.remove_files(time.time() + LATER) == 1
    assert kept_files(receiver) == result_files(node) == []
    assert [(one.digest, one.state) for one in store.status(10)] == [(digest, RevisionState.DONE)]
    assert store.find_instance(ds.SOPInstanceUID).removed_at is not None
    assert len(store.results_of(ds.StudyInstanceUID, digest)) == 1
    assert retention.remove_files(time.time() + LATER) == 0


@pytest.mark.parametrize("state", [state for state in DeliveryState if state is not DeliveryState.DELIVERED])
def test_a_study_of_which_anything_is_unproven_keeps_its_files_for_ever(receiver, store, node, retention, state):
    """Files of a study with a pending, unproven or parked result are never removed; a second archive counts too."""
    ds = small_dx()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    study = ds.StudyInstanceUID
    uid = make_results(store, node, study, close(store, study), ("archive", "second"))
    deliver(store, uid)
    deliver(store, uid, state, "second")
    assert retention.remove_files(time.time() + 1000 * LATER) == 0
    assert len(kept_files(receiver)) == len(result_files(node)) == 1
    # The control: once that one delivery is proven, they go.
    if state is DeliveryState.PARKED:
        store.retry(study)
    deliver(store, uid, destination="second")
    assert retention.remove_files(time.time() + LATER) == 1


@pytest.mark.parametrize("state", [state for state in RevisionState if state not in ENDED])
def test_a_study_with_a_revision_that_is_not_done_keeps_its_files(receiver, store, node, retention, state):
    """Files of a study that is queued, analysed, in delivery or has failed are never removed."""
    ds = small_dx()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    digest = finish(store, node, ds.StudyInstanceUID)
    store.set_revision_state(ds.StudyInstanceUID, digest, state)
    assert retention.remove_files(time.time() + 1000 * LATER) == 0
    assert len(kept_files(receiver)) == 1


def test_a_version_that_a_later_one_took_the_place_of_keeps_no_files(receiver, store, node, retention):
    ds = small_dx()
    study = ds.StudyInstanceUID
    assert status(receiver, ds) == StoreStatus.SUCCESS
    first = close(store, study)
    assert status(receiver, small_dx(StudyInstanceUID=study)) == StoreStatus.SUCCESS
    finish(store, node, study)
    assert retention.remove_files(time.time() + LATER) == 0
    store.set_revision_state(study, first, RevisionState.SUPERSEDED)
    assert retention.remove_files(time.time() + LATER) == 1


def test_a_study_that_waits_for_images_keeps_its_files(receiver, store, node, retention):
    """A late image that is not analysed yet keeps the whole study."""
    ds = small_dx()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    finish(store, node, ds.StudyInstanceUID)
    assert status(receiver, small_dx(StudyInstanceUID=ds.StudyInstanceUID)) == StoreStatus.SUCCESS
    assert retention.remove_files(time.time() + 1000 * LATER) == 0
    assert len(kept_files(receiver)) == 2


def test_a_study_with_a_conflict_keeps_its_files_until_somebody_has_settled_it(receiver, store, node, retention):
    """Files of a study one of whose instances came with other bytes are kept while the conflict is."""
    ds = small_dx()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    finish(store, node, ds.StudyInstanceUID)
    assert status(receiver, ds, data_set=encode(small_dx(SOPInstanceUID=ds.SOPInstanceUID))) == StoreStatus.SUCCESS
    (conflict,) = conflicts(receiver)
    assert retention.remove_files(time.time() + 1000 * LATER) == 0
    conflict.unlink()
    assert retention.remove_files(time.time() + LATER) == 1


def test_zero_days_keep_everything(receiver, store, node):
    """`files_days = 0` removes nothing, `records_days = 0` forgets nothing."""
    ds = small_dx()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    finish(store, node, ds.StudyInstanceUID)
    never = Retention(RetentionSettings(files_days=0, records_days=0), node, store)
    assert never.remove_files(time.time() + 1000 * LATER) == 0
    assert never.records_before(time.time()) is None
    assert len(kept_files(receiver)) == 1


@pytest.mark.fault(25)
def test_an_image_that_comes_again_after_its_file_was_removed_is_neither_new_nor_lost(receiver, store, node, retention):
    """A resend is answered Success, kept, analysed by nobody, and removed again after the days."""
    ds = small_dx()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    finish(store, node, ds.StudyInstanceUID)
    assert retention.remove_files(time.time() + LATER) == 1
    assert status(receiver, ds) == StoreStatus.SUCCESS
    assert [path.stem for path in kept_files(receiver)] == [ds.SOPInstanceUID]
    assert store.find_instance(ds.SOPInstanceUID).removed_at is None
    assert store.open_studies() == []
    assert close(store, ds.StudyInstanceUID) is None
    assert len(store.status(10)) == 1
    assert retention.remove_files(time.time() + 29 * DAY_S) == 0
    assert retention.remove_files(time.time() + LATER) == 1
    assert kept_files(receiver) == []


@pytest.mark.fault(26)
def test_other_bytes_under_a_removed_instance_are_still_a_conflict(receiver, store, node, retention):
    """The identity of a removed instance stays: the same UID with other bytes goes to the conflicts."""
    ds = small_dx()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    finish(store, node, ds.StudyInstanceUID)
    assert retention.remove_files(time.time() + LATER) == 1
    assert status(receiver, ds, data_set=encode(small_dx(SOPInstanceUID=ds.SOPInstanceUID))) == StoreStatus.SUCCESS
    assert len(conflicts(receiver)) == 1
    assert kept_files(receiver) == []
    assert store.find_instance(ds.SOPInstanceUID).removed_at is not None


def test_results_that_retention_has_removed_are_promised_to_nobody(receiver, store, node, retention):
    """Their files are gone: a destination that is configured later would wait for them for ever."""
    ds = small_dx()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    finish(store, node, ds.StudyInstanceUID)
    assert store.send(ds.StudyInstanceUID, "early") == 1
    deliver(
        store, store.results_of(ds.StudyInstanceUID, store.status(1)[0].digest)[0].sop_instance_uid, destination="early"
    )
    assert retention.remove_files(time.time() + LATER) == 1
    assert store.send(ds.StudyInstanceUID, "late") == 0
    assert not store.due_deliveries(time.time() + LATER)
    assert store.status(1)[0].state is RevisionState.DONE


def test_a_late_image_of_a_removed_study_is_analysed_alone(receiver, store, node, retention):
    """A late image opens a version of what is there; with its study sent again, of the whole study."""
    first, late, last = (small_dx(StudyInstanceUID="1.2.3", InstanceNumber=n) for n in (1, 2, 3))
    assert status(receiver, first) == StoreStatus.SUCCESS
    finish(store, node, "1.2.3")
    assert retention.remove_files(time.time() + LATER) == 1
    assert status(receiver, late) == StoreStatus.SUCCESS
    digest = finish(store, node, "1.2.3")
    assert [one.sop_instance_uid for one in store.revision("1.2.3", digest).instances] == [late.SOPInstanceUID]
    assert status(receiver, first) == status(receiver, last) == StoreStatus.SUCCESS
    assert len(store.revision("1.2.3", close(store, "1.2.3")).instances) == 3


def test_an_image_that_comes_in_the_moment_of_its_removal_is_refused_rather_than_lost(
    receiver, store, node, retention, monkeypatch
):
    """Success is never said for an object that retention takes away before its row: 0xA700, and the resend is kept."""
    ds = small_dx()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    finish(store, node, ds.StudyInstanceUID)
    add = receiver.archive.registry.add

    def remove_then_add(row):
        assert retention.remove_files(time.time() + LATER) == 1
        return add(row)

    with monkeypatch.context() as between:
        between.setattr(receiver.archive.registry, "add", remove_then_add)
        assert status(receiver, ds) == StoreStatus.OUT_OF_RESOURCES
    assert status(receiver, ds) == StoreStatus.SUCCESS
    assert len(kept_files(receiver)) == 1


def test_a_removal_that_a_crash_interrupts_is_made_good(receiver, store, node, retention, monkeypatch):
    """Killed when the files are gone and no row says so, the next removal catches up."""
    ds = small_dx()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    finish(store, node, ds.StudyInstanceUID)

    class Killed(BaseException):
        pass

    def die(_folder):
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(shutil, "rmtree", die)
        with pytest.raises(Killed):
            retention.remove_files(time.time() + LATER)
    assert kept_files(receiver) == []
    assert len(result_files(node)) == 1
    assert store.find_instance(ds.SOPInstanceUID).removed_at is None
    assert retention.remove_files(time.time() + LATER) == 1
    assert result_files(node) == []


def test_a_study_whose_files_cannot_be_removed_stands_in_the_way_of_no_other(
    receiver, store, node, retention, monkeypatch
):
    """A folder that cannot be removed costs the space of one study, not of all after it; it is tried again."""
    first, second = small_dx(), small_dx()
    for ds in (first, second):
        assert status(receiver, ds) == StoreStatus.SUCCESS
        finish(store, node, ds.StudyInstanceUID)
    remove = shutil.rmtree

    def refuse_first(folder):
        if folder.name == first.StudyInstanceUID:
            raise PermissionError(13, "Permission denied")
        remove(folder)

    with monkeypatch.context() as stubborn:
        stubborn.setattr(shutil, "rmtree", refuse_first)
        assert retention.remove_files(time.time() + LATER) == 1
    assert [path.parts[-3] for path in result_files(node)] == [first.StudyInstanceUID]
    assert store.find_instance(first.SOPInstanceUID).removed_at is None
    assert retention.remove_files(time.time() + LATER) == 1
    assert result_files(node) == []


def test_a_resent_file_whose_row_was_never_written_is_taken_in_at_the_next_start(receiver, store, node, retention):
    """A receiver that is killed between file and row leaves a file that its row calls removed: it is here again."""
    ds = small_dx()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    finish(store, node, ds.StudyInstanceUID)
    (file,) = kept_files(receiver)
    content = file.read_bytes()
    assert retention.remove_files(time.time() + LATER) == 1
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    rebuild_rows(receiver.archive)
    assert store.find_instance(ds.SOPInstanceUID).removed_at is None
    assert store.open_studies() == []


def test_results_that_came_back_alone_go_after_the_days(receiver, store, retention):
    """Own results filed under a study that holds nothing else need no revision to be removed."""
    ds = build_sc(Manufacturer=MANUFACTURER, ManufacturerModelName=MANUFACTURER_MODEL_NAME)
    assert status(receiver, ds) == StoreStatus.SUCCESS
    assert retention.remove_files(time.time() + 29 * DAY_S) == 0
    assert retention.remove_files(time.time() + LATER) == 1
    assert kept_files(receiver) == []
    assert store.find_instance(ds.SOPInstanceUID) is not None


def test_an_empty_folder_goes_when_no_receiver_can_remember_it(receiver, node, retention):
    """A folder that retention has emptied is removed later, and a file may be put there before and after."""
    folder = node.spool_dir / "1.2.3"
    folder.mkdir()
    full = node.spool_dir / "1.2.4"
    full.mkdir()
    (full / "1.dcm").write_bytes(b"x")
    retention.remove_files(time.time() + UNTOUCHED_S / 2)
    assert folder.is_dir()
    retention.remove_files(time.time() + 2 * UNTOUCHED_S)
    assert not folder.exists()
    assert full.is_dir()
    assert (node.spool_dir / ".conflicts").is_dir()
    assert (node.spool_dir / ".incoming").is_dir()
    assert status(receiver, small_dx(StudyInstanceUID="1.2.3")) == StoreStatus.SUCCESS


def test_images_arrive_while_their_folders_are_removed(receiver, node):
    """Removing empty folders as fast as possible, whatever their age, costs no image that is acknowledged."""
    stop = threading.Event()

    def remove():
        while not stop.is_set():
            remove_empty_folders(node.spool_dir, time.time() + 1)

    thread = threading.Thread(target=remove)
    thread.start()
    try:
        images = [small_dx(StudyInstanceUID=f"1.2.{n}") for n in range(15)]
        taken = {ds.SOPInstanceUID for ds in images if status(receiver, ds) == StoreStatus.SUCCESS}
    finally:
        stop.set()
        thread.join()
    assert {path.stem for path in kept_files(receiver)} == taken


def test_events_and_transactions_are_forgotten_after_their_days(receiver, store, node, retention):
    """Events, which nothing counts, go after `records_days`; revisions, findings and deliveries stay."""
    ds = small_dx()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    finish(store, node, ds.StudyInstanceUID)
    assert store.forget_records(retention.records_before(time.time())) == 0
    assert store.forget_records(retention.records_before(time.time() + 91 * DAY_S)) > 0
    assert store.forget_records(retention.records_before(time.time() + 91 * DAY_S)) == 0
    assert store.status(10)[0].destinations[0].objects == 1


def test_disk_use_and_the_longest_wait_are_told(receiver, store, node):
    """What lies on the disk is measured by kind, and the oldest result without proof is named."""
    ds = small_dx()
    assert store.oldest_undelivered() is None
    assert status(receiver, ds) == StoreStatus.SUCCESS
    uid = make_results(store, node, ds.StudyInstanceUID, close(store, ds.StudyInstanceUID))
    disk = measure_disk(node)
    assert disk.received >= len(write(ds))
    assert (disk.results, disk.conflicts) == (8, 0)
    assert disk.state > 0
    assert disk.free > 0
    waiting = store.oldest_undelivered()
    assert (waiting.study_instance_uid, waiting.destination) == (ds.StudyInstanceUID, "archive")
    deliver(store, uid)
    assert store.oldest_undelivered() is None


def test_the_commands_show_what_waits_what_lies_on_the_disk_and_what_would_go(receiver, store, node, tmp_path):
    """`dicom-node status` names the oldest result without proof and the use of the disk, `retention` what is next."""
    config = tmp_path / "node.toml"
    config.write_text(
        f'[node]\nae_title = "FRACTUREAI"\ndata_dir = "{node.data_dir}"\n[[senders]]\nae_title = "ORTHANC"\n'
        '[[destinations]]\nname = "archive"\nae_title = "A"\nhost = "127.0.0.1"\nport = 1\n'
        "[retention]\nfiles_days = 0.0000001"
    )

    def say(command):
        shown = CliRunner().invoke(app, [command, "--config", str(config)])
        assert shown.exit_code == 0, shown.output
        return " ".join(shown.output.split())

    ds = small_dx()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    study = ds.StudyInstanceUID
    uid = make_results(store, node, study, close(store, study))
    assert f"delivery {study} oldest result without proof of delivery: archive, pending, complete" in say("status")
    assert "disk received 0.0 MB, results 0.0 MB, state" in say("status")
    assert study not in say("retention")
    deliver(store, uid)
    assert "without proof" not in say("status")
    time.sleep(0.05)  # longer than the files are to be kept
    assert f"removable {study} 1 received file," in say("retention")
    assert len(kept_files(receiver)) == 1
