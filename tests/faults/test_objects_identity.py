"""Which object it is: duplicates, conflicts, and UIDs that are none."""

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from builders import build_cr, build_dx
from pydicom.uid import generate_uid
from pynetdicom import evt
from pynetdicom.transport import ThreadedAssociationServer
from raw_peer import CR, DX, RawPeer, status_of
from receiving import arriving, conflicts, data_set_of, encode, kept_files, port_of, send, status

from dicom_node.alerts.conditions import Kind, find_conditions
from dicom_node.receive.spool import Spool
from dicom_node.receive.status import StoreStatus
from dicom_node.receive.storage_scp import Receiver
from dicom_node.settings import Settings
from dicom_node.store import Store, arrivals
from dicom_node.store.schema import instances


def events(receiver: Receiver) -> list[tuple[str, str]]:
    database = sqlite3.connect(receiver.archive.spool.folder.parent / "node.sqlite", isolation_level=None)
    rows = database.execute("SELECT study_instance_uid, what FROM events ORDER BY id").fetchall()
    database.close()
    return rows


@pytest.mark.fault(25)
def test_the_same_object_again_is_success_and_changes_nothing(receiver: Receiver, store: Store) -> None:
    ds = build_dx()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    first = store.find_instance(ds.SOPInstanceUID)
    assert status(receiver, ds) == StoreStatus.SUCCESS
    assert store.find_instance(ds.SOPInstanceUID) == first
    assert len(kept_files(receiver)) == 1
    assert conflicts(receiver) == arriving(receiver) == []


@pytest.mark.fault(20)
def test_the_same_object_on_many_associations_at_once_is_kept_once(receiver: Receiver) -> None:
    ds = build_dx()
    together = threading.Barrier(8)
    answers = []

    def send_one() -> None:
        together.wait()
        answers.append(status(receiver, ds))

    threads = [threading.Thread(target=send_one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [StoreStatus.SUCCESS] * 8
    assert len(kept_files(receiver)) == 1
    assert conflicts(receiver) == arriving(receiver) == []


@pytest.mark.fault(20)
def test_without_the_unique_key_in_mind_one_of_two_would_be_refused(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: with an INSERT that takes no row for granted, what is safe here is answered with A700."""
    monkeypatch.setattr(arrivals, "_INSERT", {"sqlite": sa.insert(instances)})
    ds = build_dx()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    assert status(receiver, ds) == StoreStatus.OUT_OF_RESOURCES
    assert len(kept_files(receiver)) == 1


@pytest.mark.fault(26)
def test_another_object_with_the_same_uid_is_kept_aside_and_the_first_one_stays(
    receiver: Receiver, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    ds = build_dx()
    first = encode(ds)
    assert status(receiver, ds) == StoreStatus.SUCCESS
    ds.PatientComments = "changed"
    assert status(receiver, ds) == StoreStatus.SUCCESS
    assert status(receiver, ds) == StoreStatus.SUCCESS
    assert data_set_of(kept_files(receiver)[0]) == first
    assert [data_set_of(path) for path in conflicts(receiver)] == [encode(ds)]
    row = store.find_instance(ds.SOPInstanceUID)
    assert row is not None
    assert row.size == len(first)
    assert "other bytes" in caplog.text


@pytest.mark.fault(26)
def test_a_name_that_is_taken_by_force_would_lose_the_first_object(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: with a rename, which replaces, instead of a link, which does not."""
    ds = build_dx()
    first = encode(ds)
    monkeypatch.setattr(Spool, "keep", lambda _self, incoming, path: replace(incoming.path, path))
    assert status(receiver, ds) == StoreStatus.SUCCESS
    ds.PatientComments = "changed"
    status(receiver, ds)
    assert first not in map(data_set_of, [*kept_files(receiver), *conflicts(receiver)])


def replace(incoming: Path, path: Path) -> bool:
    path.parent.mkdir(exist_ok=True)
    incoming.replace(path)
    return True


@pytest.mark.fault(27)
@pytest.mark.parametrize("other", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_the_same_uid_in_another_study_or_series_is_kept_aside(
    receiver: Receiver, store: Store, caplog: pytest.LogCaptureFixture, other: str
) -> None:
    ds = build_dx()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    (first,) = kept_files(receiver)
    row = store.find_instance(ds.SOPInstanceUID)
    ds[other].value = generate_uid()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    assert kept_files(receiver) == [first]
    assert store.find_instance(ds.SOPInstanceUID) == row
    assert [data_set_of(path) for path in conflicts(receiver)] == [encode(ds)]
    assert [study.study_instance_uid for study in store.open_studies()] == [first.parent.name]
    ((of_study, told),) = events(receiver)
    assert of_study == first.parent.name
    assert told.endswith(f"relational_mismatch: sent as of {other[:-11].lower()} {ds[other].value}")
    assert told in caplog.text


@pytest.mark.fault(26, 27)
def test_a_conflict_is_told_to_the_operator_once_in_the_study_that_keeps_its_object(receiver: Receiver) -> None:
    ds = build_dx(PatientName="Zyxwv^Canary")
    study = ds.StudyInstanceUID
    assert status(receiver, ds) == status(receiver, ds) == StoreStatus.SUCCESS
    assert events(receiver) == []
    ds.PatientComments = "changed"
    assert status(receiver, ds) == status(receiver, ds) == StoreStatus.SUCCESS
    ds.StudyInstanceUID = generate_uid()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    (first_study, other_bytes), (second_study, moved) = events(receiver)
    assert first_study == second_study == study
    assert other_bytes.endswith("from 'ORTHANC': other bytes")
    assert moved.endswith(ds.StudyInstanceUID)
    assert all(ds.SOPInstanceUID in what and "Canary" not in what for what in (other_bytes, moved))


@pytest.mark.fault(27)
@pytest.mark.parametrize(
    ("then", "is_told"),
    [
        ({"PatientID": "B"}, True),
        ({"IssuerOfPatientID": "Y"}, True),
        ({"StudyInstanceUID": "1.2.3"}, True),
        ({"SeriesInstanceUID": "1.2.3"}, False),
        ({"PatientID": "A ", "PatientComments": "changed"}, False),
        ({"IssuerOfPatientID": ""}, False),
    ],
)
def test_an_instance_that_comes_again_as_of_another_patient_or_study_is_an_alarm(
    receiver: Receiver, store: Store, build_settings: Callable[[], Settings], then: dict[str, str], is_told: bool
) -> None:
    """As after a correction in the archive: the first copy stays, and results may stand under the wrong patient."""
    ds = build_dx(PatientID="A", IssuerOfPatientID="X")
    study = ds.StudyInstanceUID
    assert status(receiver, ds) == StoreStatus.SUCCESS
    for keyword, value in then.items():
        setattr(ds, keyword, value)
    assert status(receiver, ds) == StoreStatus.SUCCESS
    settings, now = build_settings(), time.time()
    found = [one for one in find_conditions(settings, store, now) if one.kind is Kind.RESENT]
    assert [one.details for one in found] == [(study,)] * is_told
    later = find_conditions(settings, store, now + 8 * 86_400)
    assert all(one.kind is not Kind.RESENT for one in later)


def test_a_conflict_that_cannot_be_recorded_is_kept_and_answered_all_the_same(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    ds = build_dx()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    database = sqlite3.connect(receiver.archive.spool.folder.parent / "node.sqlite", isolation_level=None)
    database.execute("DROP TABLE events")
    database.close()
    ds.PatientComments = "changed"
    assert status(receiver, ds) == StoreStatus.SUCCESS
    assert len(conflicts(receiver)) == 1
    assert "a conflict was not recorded" in caplog.text


@pytest.mark.fault(29)
def test_a_data_set_of_another_instance_than_the_command_says_is_a_mismatch(receiver: Receiver) -> None:
    ds = build_dx()
    with RawPeer(receiver.port).associate() as peer:
        assert status_of(peer.store(encode(ds), sop_instance="1.2.3")) == 0xA900
        ds.SOPClassUID = CR
        assert status_of(peer.store(encode(ds), sop_instance=ds.SOPInstanceUID)) == 0xA900
    assert kept_files(receiver) == arriving(receiver) == []


@pytest.mark.fault(29)
def test_a_sop_class_other_than_its_presentation_context_s_is_not_supported(receiver: Receiver) -> None:
    ds = build_cr()
    with RawPeer(receiver.port).associate() as peer:
        assert status_of(peer.store(encode(ds), sop_class=CR, sop_instance=ds.SOPInstanceUID, context=1)) == 0x0122
        assert status_of(peer.store(encode(ds), sop_class=CR, sop_instance=ds.SOPInstanceUID, context=5)) == 0


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    ("keyword", "expected", "named"),
    [
        ("SOPClassUID", StoreStatus.MISSING_SOP_CLASS_UID, b"(0008,0016)"),
        ("SOPInstanceUID", StoreStatus.MISSING_SOP_INSTANCE_UID, b"(0008,0018)"),
        ("StudyInstanceUID", StoreStatus.MISSING_STUDY_INSTANCE_UID, b"(0020,000D)"),
        ("SeriesInstanceUID", StoreStatus.MISSING_SERIES_INSTANCE_UID, b"(0020,000E)"),
    ],
)
@pytest.mark.parametrize("value", [None, ""])
def test_an_object_without_one_of_its_uids_is_refused_and_the_comment_names_it(
    receiver: Receiver, keyword: str, value: str | None, expected: StoreStatus, named: bytes
) -> None:
    whole = build_dx()
    spoiled = build_dx(**{"SOPInstanceUID": whole.SOPInstanceUID, keyword: value})
    response = send(receiver, whole, data_set=encode(spoiled))
    assert status_of(response) == expected
    assert named in response[0x0902]
    assert kept_files(receiver) == arriving(receiver) == []


@pytest.mark.fault(31)
@pytest.mark.parametrize(
    "uid", ["../../../x", "/etc/cron.d/x", "1.2\0.3", "1.2\n.3", "1." + "2" * 64, "1..2", ".1", "1.", "1.2a", "²"]
)
def test_what_is_no_uid_is_refused_and_the_association_goes_on(receiver: Receiver, uid: str) -> None:
    ds = build_dx()
    with RawPeer(receiver.port).associate() as peer:
        assert status_of(peer.store(encode(ds), sop_instance=uid)) == 0x0117
        assert status_of(peer.store(encode(ds), sop_instance=ds.SOPInstanceUID)) == 0
    assert len(kept_files(receiver)) == 1


@pytest.mark.fault(31)
def test_a_study_uid_that_is_none_never_becomes_a_path(receiver: Receiver) -> None:
    ds = build_dx()
    spoiled = encode(ds).replace(
        ds.StudyInstanceUID.encode(), b"../" * (len(ds.StudyInstanceUID) // 3) + b"x" * (len(ds.StudyInstanceUID) % 3)
    )
    assert status(receiver, ds, data_set=spoiled) == 0x0117
    assert kept_files(receiver) == []


@pytest.mark.fault(31)
def test_leading_zeros_and_trailing_padding_are_tolerated(receiver: Receiver, store: Store) -> None:
    ds = build_dx()
    spoiled = encode(ds).replace(ds.SOPInstanceUID.encode(), b"1.02.3".ljust(len(ds.SOPInstanceUID), b" "))
    with RawPeer(receiver.port).associate() as peer:
        assert status_of(peer.store(spoiled, sop_instance="1.02.3 ")) == 0
    assert store.find_instance("1.02.3") is not None


@pytest.mark.fault(29, 31, 32)
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize(
    ("sop_class", "sop_instance", "data_set"),
    [(CR, "1.2.3", b"x"), (DX, "../../../x", b"x"), (DX, "/etc/cron.d/x", b"x"), (DX, "1.2.3", b"")],
)
def test_stock_pynetdicom_leaves_all_of_that_to_its_user(
    stock: ThreadedAssociationServer, sop_class: str, sop_instance: str, data_set: bytes
) -> None:
    """The negative control: another SOP class than the context's, a path for a UID and an empty data set are taken."""
    stock.ae.network_timeout = 30
    stock.bind(evt.EVT_C_STORE, lambda _: 0x0000)
    with RawPeer(port_of(stock)).associate() as peer:
        assert status_of(peer.store(data_set, sop_class=sop_class, sop_instance=sop_instance)) == 0x0000
