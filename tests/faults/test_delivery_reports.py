"""Storage commitment reports as archives send them to the node, on associations of their own."""

import socket
import threading
import time

import pytest
from pydicom import Dataset
from pynetdicom import AE, build_role
from pynetdicom.sop_class import (
    DigitalXRayImageStorageForPresentation,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    Verification,
)
from running import wait_for
from stored_rows import build_row

from dicom_node.receive import commitment
from dicom_node.receive.storage_scp import start_receiver
from dicom_node.settings import Archive, Destination, NodeSettings, ReceiveSettings, Sender, Settings
from dicom_node.store import DeliveryState, DueDelivery, StoredResult

STUDY = "1.2.3"
TRANSACTION = "2.25.7"
PATIENCE_S = 60
DUE = DueDelivery(study_instance_uid=STUDY, digest="", destination="archive", tries=0)


@pytest.fixture
def start(tmp_path):
    running = []

    def start_one(*, senders=("ORTHANC",), host="127.0.0.1", **options):
        destination = {"name": "archive", "ae_title": "ARCHIVE", "host": host, "port": 4242, **options}
        settings = Settings(
            node=NodeSettings(ae_title="NODE", data_dir=tmp_path / "data", grace_s=2),
            senders=tuple(Sender(ae_title=one) for one in senders),
            destinations=(Destination(**destination), Destination(name="b", ae_title="B", host="127.0.0.1", port=4243)),
            receive=ReceiveSettings(minimum_free_mb=1),
        )
        # A free port is for tests alone: the configuration file does not take 0.
        settings = settings.model_copy(update={"node": settings.node.model_copy(update={"port": 0})})
        running.append(start_receiver(settings))
        return running[-1]

    yield start_one
    for receiver in running:
        receiver.stop(grace_s=0)


def plan(store, *sent):
    """Record results that were sent to the archive, and the transaction in which it was asked about them."""
    row = build_row("1.1", STUDY, received_at=0)
    store.add_instances([row])
    store.close_revision(STUDY, 100)
    (unmade,) = store.unmade_revisions()
    results = [
        StoredResult(sop_instance_uid=uid, sop_class_uid="1.5", series_instance_uid="1.4", kind="x", path=uid)
        for uid in sent
    ]
    store.add_results(STUDY, unmade.digest, results, [], ["archive"])
    for uid in sent:
        store.record_delivery("archive", uid, DeliveryState.SENT, "")
    due = DueDelivery(study_instance_uid=STUDY, digest=unmade.digest, destination="archive", tries=0)
    store.begin_transaction(TRANSACTION, due, sent)
    return due


def build_report(transaction, committed=(), failed=()):
    ds = Dataset()
    ds.TransactionUID = transaction
    ds.ReferencedSOPSequence = [build_reference(uid) for uid in committed]
    ds.FailedSOPSequence = [build_reference(uid, FailureReason=0x0112) for uid in failed]
    for keyword in ("ReferencedSOPSequence", "FailedSOPSequence"):
        if not ds[keyword].value:
            delattr(ds, keyword)
    return ds


def build_reference(uid, **attributes):
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.5", uid
    item.update(attributes)
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def associate(port, calling, sop_class=StorageCommitmentPushModel, *, role=True):
    ae = AE(ae_title=calling)
    ae.add_requested_context(sop_class)
    roles = [build_role(sop_class, scp_role=True)] if role else []
    return ae.associate("127.0.0.1", port, ae_title="NODE", ext_neg=roles)


def report(port, ds, *, calling="ARCHIVE", event_type=1):
    assoc = associate(port, calling)
    assert assoc.is_established
    status, _ = assoc.send_n_event_report(
        ds, event_type, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    assoc.release()
    return status.get("Status")


def state_of(store):
    return store.status(1)[0].destinations[0]


@pytest.mark.fault(63)
def test_a_report_on_an_association_of_the_archives_own_is_recorded(start):
    """A storage commitment report that comes on a new association is taken, for the objects that it names."""
    receiver = start()
    store = receiver.archive.store
    due = plan(store, "5.1", "5.2")
    store.begin_try(due, 1e12)
    assert report(receiver.port, build_report(TRANSACTION, ["5.1"])) == 0x0000
    assert state_of(store).committed == 1
    assert store.is_open_transaction(TRANSACTION)
    assert report(receiver.port, build_report(TRANSACTION, ["5.1", "5.2"])) == 0x0000
    assert state_of(store).committed == 2
    assert not store.is_open_transaction(TRANSACTION)
    assert store.due_deliveries(1e11)  # the next sweep goes on at once


@pytest.mark.fault(63)
@pytest.mark.parametrize("transaction", ["2.25.8", ""])
def test_a_report_for_an_unknown_transaction_is_refused(start, transaction):
    """A storage commitment report for a transaction that was never begun is answered with 0110 and changes nothing."""
    receiver = start()
    plan(receiver.archive.store, "5.1")
    assert report(receiver.port, build_report(transaction, ["5.1"])) == 0x0110
    assert state_of(receiver.archive.store).committed == 0


@pytest.mark.fault(63)
def test_a_report_from_another_destination_than_the_one_asked_is_refused(start):
    """An archive cannot vouch in another one's name: 0110."""
    receiver = start()
    plan(receiver.archive.store, "5.1")
    assert report(receiver.port, build_report(TRANSACTION, ["5.1"]), calling="B") == 0x0110
    assert state_of(receiver.archive.store).committed == 0


@pytest.mark.fault(63)
def test_a_failure_is_sent_again_once_and_then_parked(start):
    """What an archive does not have (0112) is sent again; a second time it is parked, with an event."""
    receiver = start()
    store = receiver.archive.store
    due = plan(store, "5.1", "5.2")
    no = build_report(TRANSACTION, ["5.2"], ["5.1"])
    assert report(receiver.port, no, event_type=2) == 0x0000
    assert (state_of(store).pending, state_of(store).committed) == (1, 1)
    store.record_delivery("archive", "5.1", DeliveryState.SENT, "")
    # The same report again, late: it is about the earlier sending.
    assert report(receiver.port, no, event_type=2) == 0x0000
    assert (state_of(store).pending, state_of(store).parked) == (0, 0)
    store.begin_transaction("2.25.9", due, ["5.1"])
    assert report(receiver.port, build_report("2.25.9", failed=["5.1"]), event_type=2) == 0x0000
    assert (state_of(store).pending, state_of(store).parked) == (0, 1)
    (alarm,) = store.alarms()
    assert (alarm.destination, alarm.objects, alarm.studies) == ("archive", 1, 1)
    assert "0x0112" in alarm.detail


@pytest.mark.parametrize(
    ("calling", "sop_class", "accepted"),
    [
        ("ARCHIVE", StorageCommitmentPushModel, True),
        ("ARCHIVE", Verification, True),
        ("ARCHIVE", DigitalXRayImageStorageForPresentation, False),
        ("ORTHANC", StorageCommitmentPushModel, False),
        ("ORTHANC", DigitalXRayImageStorageForPresentation, True),
    ],
)
def test_destinations_report_and_senders_send(start, calling, sop_class, accepted):
    receiver = start()
    assoc = associate(receiver.port, calling, sop_class, role=False)
    assert assoc.is_established == accepted
    assert [context.result for context in assoc.rejected_contexts] == ([] if accepted else [3])
    if accepted:
        assoc.release()


@pytest.mark.parametrize("options", [{"commitment": "never"}, {"host": "127.0.0.2"}])
def test_who_is_not_asked_and_who_comes_from_elsewhere_is_rejected(start, options):
    receiver = start(**options)
    assoc = associate(receiver.port, "ARCHIVE")
    assert assoc.is_rejected


@pytest.mark.parametrize("calling", ["PACS_SC", "ARCHIVE"])
def test_a_report_may_come_from_whoever_was_asked_in_the_place_of_the_destination(start, calling):
    asked = Archive(name="asked", ae_title="PACS_SC", host="127.0.0.1", port=4243)
    receiver = start(commitment_at=asked)
    plan(receiver.archive.store, "5.1")
    assert report(receiver.port, build_report(TRANSACTION, ["5.1"]), calling=calling) == 0x0000
    assert state_of(receiver.archive.store).committed == 1


@pytest.fixture
def names(monkeypatch):
    """Names of hosts and their addresses; None where the name server is away, an event where it is waited for."""
    known, real = {}, socket.getaddrinfo

    def look_up(host, *arguments, **options):
        if host not in known:
            return real(host, *arguments, **options)
        if isinstance(known[host], threading.Event):
            assert known[host].wait(PATIENCE_S)
        if not isinstance(known[host], str):
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real(known[host], *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(commitment, "_LOOK_UP_S", 0.01)
    return known


@pytest.mark.fault(63)
def test_an_archive_whose_address_changes_reports_from_the_new_one(start, names):
    """The name of an archive gets another address: reports are taken from there without a restart."""
    names["pacs.example"] = "127.0.0.2"
    receiver = start(host="pacs.example")
    plan(receiver.archive.store, "5.1")
    assert associate(receiver.port, "ARCHIVE").is_rejected
    names["pacs.example"] = "127.0.0.1"
    wait_for("the new address is known", lambda: receiver.archive.reporters.may_report("ARCHIVE", "127.0.0.1"))
    assert report(receiver.port, build_report(TRANSACTION, ["5.1"])) == 0x0000
    # Its name server is away: it keeps the address it had.
    names["pacs.example"] = None
    time.sleep(0.1)
    assert report(receiver.port, build_report(TRANSACTION, ["5.1"])) == 0x0000


def test_no_connection_waits_for_a_name_server(start, names):
    names["pacs.example"] = hanging = threading.Event()
    before = time.monotonic()
    receiver = start(host="pacs.example")
    # It may be any address: only its association is rejected, until the name is known.
    assert associate(receiver.port, "ARCHIVE").is_rejected
    assert time.monotonic() - before < PATIENCE_S
    hanging.set()
    wait_for("it has no address", lambda: not receiver.archive.reporters.may_connect("127.0.0.2"))


def test_a_destination_that_also_sends_may_report_from_any_address_it_sends_from(start):
    receiver = start(host="127.0.0.2", senders=("ARCHIVE",))
    plan(receiver.archive.store, "5.1")
    assert report(receiver.port, build_report(TRANSACTION, ["5.1"])) == 0x0000


@pytest.mark.parametrize(("event_type", "status"), [(3, 0x0113), (1, 0x0110)])
def test_a_report_that_makes_no_sense_is_refused(start, event_type, status):
    receiver = start()
    plan(receiver.archive.store, "5.1")
    ds = build_report(TRANSACTION, ["5.1"]) if event_type == 3 else Dataset()
    ds.PatientComments = "x"
    assert report(receiver.port, ds, event_type=event_type) == status


def test_a_report_of_any_length_takes_bounded_memory(start):
    receiver = start()
    plan(receiver.archive.store, "5.1")
    ds = build_report(TRANSACTION, ["5.1"])
    ds.PixelData = bytes(3_000_000)
    ds["PixelData"].VR = "OB"
    assert report(receiver.port, ds) == 0x0110
    assert state_of(receiver.archive.store).committed == 0
