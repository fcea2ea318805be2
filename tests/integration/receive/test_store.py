"""Objects over real associations: what is kept, what it is to the node, and a disk that takes no more."""

import resource
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pydicom
import pytest
from builders import build_cr, build_dx, build_gsps, build_pdf, build_sc, build_sr
from pydicom import Dataset
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import AE
from pynetdicom.association import Association
from raw_peer import COMMAND, CR, DX, LAST, RawPeer, echo_command, status_of
from receiving import arriving, conflicts, data_set_of, encode, kept_files, send, status

from dicom_node.identity import MANUFACTURER, MANUFACTURER_MODEL_NAME
from dicom_node.receive.presentation import TRANSFER_SYNTAXES
from dicom_node.receive.status import StoreStatus
from dicom_node.receive.storage_scp import Receiver
from dicom_node.store import InstanceRole, Store

StartReceiver = Callable[..., Receiver]


@contextmanager
def association(receiver: Receiver, *contexts: tuple[str, str]) -> Iterator[Association]:
    ae = AE("ORTHANC")
    for abstract_syntax, transfer_syntax in contexts:
        ae.add_requested_context(abstract_syntax, transfer_syntax)
    assoc = ae.associate("127.0.0.1", receiver.port, ae_title="FRACTUREAI")
    assert assoc.is_established
    try:
        yield assoc
    finally:
        assoc.release()


@pytest.mark.fault(52)
def test_a_stored_object_is_a_part_10_file_whose_data_set_has_the_bytes_that_were_sent(receiver: Receiver) -> None:
    ds = build_dx()
    sent = encode(ds)
    assert status(receiver, ds) == StoreStatus.SUCCESS
    (path,) = kept_files(receiver)
    assert path == receiver.archive.spool.folder / ds.StudyInstanceUID / f"{ds.SOPInstanceUID}.dcm"
    assert path.read_bytes()[:132] == bytes(128) + b"DICM"
    assert data_set_of(path) == sent
    meta = pydicom.dcmread(path).file_meta
    assert meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
    assert (meta.SendingApplicationEntityTitle, meta.ReceivingApplicationEntityTitle) == ("ORTHANC", "FRACTUREAI")


def test_only_the_node_s_user_can_read_what_is_kept(receiver: Receiver) -> None:
    assert status(receiver, build_dx()) == StoreStatus.SUCCESS
    (path,) = kept_files(receiver)
    assert path.stat().st_mode & 0o777 == 0o600
    assert {folder.stat().st_mode & 0o777 for folder in (path.parent, path.parent.parent)} == {0o700}


def test_a_stored_object_has_a_row_that_says_where_it_is_and_what_it_is(receiver: Receiver, store: Store) -> None:
    ds = build_dx()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    row = store.find_instance(ds.SOPInstanceUID)
    assert row is not None
    assert receiver.archive.spool.folder / row.path == kept_files(receiver)[0]
    assert (row.study_instance_uid, row.series_instance_uid) == (ds.StudyInstanceUID, ds.SeriesInstanceUID)
    assert (row.sop_class_uid, row.transfer_syntax_uid) == (DX, ExplicitVRLittleEndian)
    assert (row.calling_ae_title, row.role, row.size) == ("ORTHANC", InstanceRole.IMAGE, len(encode(ds)))
    assert [study.study_instance_uid for study in store.open_studies()] == [ds.StudyInstanceUID]


@pytest.mark.parametrize("transfer_syntax", TRANSFER_SYNTAXES)
def test_every_transfer_syntax_of_the_list_is_accepted_and_recorded(receiver: Receiver, transfer_syntax: UID) -> None:
    ds = build_cr()
    sent = encode(ds, transfer_syntax)
    with RawPeer(receiver.port).associate([(CR, [transfer_syntax])]) as peer:
        assert status_of(peer.store(sent, sop_class=CR, sop_instance=ds.SOPInstanceUID)) == StoreStatus.SUCCESS
    (path,) = kept_files(receiver)
    assert pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID == transfer_syntax
    assert data_set_of(path) == sent


def test_echo_is_answered(receiver: Receiver) -> None:
    with RawPeer(receiver.port).associate() as peer:
        for _ in range(3):
            peer.send_values((3, COMMAND | LAST, echo_command()))
            response = peer.read_response()
            assert (status_of(response), response[0x0100]) == (0, b"\x30\x80")


SCREEN_SHOT = {"Modality": "OT", "ConversionType": "WSD", "ImageType": ["DERIVED", "SECONDARY"]}


@pytest.mark.fault(41)
@pytest.mark.parametrize(
    ("build", "role"),
    [
        (build_cr, InstanceRole.IMAGE),
        (partial(build_dx, SOPClassUID=DigitalXRayImageStorageForProcessing), InstanceRole.IMAGE),
        (build_sc, InstanceRole.IMAGE),
        (partial(build_sc, **SCREEN_SHOT), InstanceRole.OTHER),
        (build_sr, InstanceRole.OTHER),
        (build_gsps, InstanceRole.OTHER),
        (build_pdf, InstanceRole.OTHER),
    ],
)
def test_images_belong_to_the_study_and_other_objects_are_kept_with_it(
    receiver: Receiver, store: Store, build: Callable[[], Dataset], role: InstanceRole
) -> None:
    ds = build()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    row = store.find_instance(ds.SOPInstanceUID)
    assert row is not None
    assert row.role == role


@pytest.mark.fault(42)
def test_own_results_that_come_back_are_known_and_open_no_study(receiver: Receiver, store: Store) -> None:
    ds = build_sc(Manufacturer=MANUFACTURER, ManufacturerModelName=MANUFACTURER_MODEL_NAME)
    assert status(receiver, ds) == StoreStatus.SUCCESS
    row = store.find_instance(ds.SOPInstanceUID)
    assert row is not None
    assert row.role == InstanceRole.OWN_RESULT
    assert store.open_studies() == []


@pytest.mark.fault(41)
def test_a_late_picture_of_another_program_opens_no_study_and_a_late_radiograph_does(
    receiver: Receiver, store: Store
) -> None:
    ds = build_dx()
    study = ds.StudyInstanceUID
    assert status(receiver, ds) == StoreStatus.SUCCESS
    store.close_revision(study, time.time())
    assert store.open_studies() == []
    late = build_sc(StudyInstanceUID=study, Manufacturer="Another", ManufacturerModelName="AI", **SCREEN_SHOT)
    assert status(receiver, late) == StoreStatus.SUCCESS
    assert store.open_studies() == []
    assert status(receiver, build_sc(StudyInstanceUID=study)) == StoreStatus.SUCCESS
    assert [one.study_instance_uid for one in store.open_studies()] == [study]


@pytest.mark.fault(41)
def test_a_study_of_nothing_but_pictures_of_other_programs_is_open_to_be_answered(
    receiver: Receiver, store: Store
) -> None:
    ds = build_sc(**SCREEN_SHOT)
    assert status(receiver, ds) == StoreStatus.SUCCESS
    assert [one.study_instance_uid for one in store.open_studies()] == [ds.StudyInstanceUID]


@pytest.mark.fault(54)
def test_below_the_watermark_objects_are_refused_for_now(start: StartReceiver) -> None:
    receiver = start(minimum_free_mb=1e9)
    ds = build_dx()
    response = send(receiver, ds)
    assert status_of(response) == 0xA700
    assert kept_files(receiver) == arriving(receiver) == []


def test_an_object_larger_than_allowed_is_refused_and_the_association_goes_on(start: StartReceiver) -> None:
    receiver = start(maximum_object_mb=0.3)
    large, small = build_dx(), build_dx(PixelData=bytes(2048), Rows=32, Columns=32)
    with RawPeer(receiver.port).associate() as peer:
        assert status_of(peer.store(encode(large), sop_instance=large.SOPInstanceUID)) == 0xA700
        assert arriving(receiver) == []
        assert status_of(peer.store(encode(small), sop_instance=small.SOPInstanceUID)) == 0


@pytest.mark.fault(54)
def test_a_disk_that_takes_no_more_refuses_the_object_keeps_no_half_and_recovers(receiver: Receiver) -> None:
    ds = build_dx()
    with RawPeer(receiver.port).associate() as peer:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        # A real failure of write(2): no file of this process may grow beyond 100 kB.
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        try:
            response = peer.store(encode(ds), sop_instance=ds.SOPInstanceUID)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert status_of(response) == 0xA700
        assert kept_files(receiver) == arriving(receiver) == []
        assert status_of(peer.store(encode(ds), sop_instance=ds.SOPInstanceUID)) == 0
    assert len(kept_files(receiver)) == 1


@pytest.mark.fault(54)
def test_a_database_that_takes_no_rows_refuses_the_object_and_a_resend_is_taken(
    receiver: Receiver, store: Store
) -> None:
    ds = build_dx()
    database = sqlite3.connect(receiver.archive.spool.folder.parent / "node.sqlite", isolation_level=None)
    database.execute("ALTER TABLE instances RENAME TO hidden")
    assert status(receiver, ds) == 0xA700
    database.execute("ALTER TABLE hidden RENAME TO instances")
    database.close()
    assert status(receiver, ds) == 0
    assert store.find_instance(ds.SOPInstanceUID) is not None
    assert len(kept_files(receiver)) == 1


def test_a_resend_in_other_bytes_after_a_row_that_failed_leaves_no_object_without_a_row(
    receiver: Receiver, store: Store
) -> None:
    ds = build_dx()
    database = sqlite3.connect(receiver.archive.spool.folder.parent / "node.sqlite", isolation_level=None)
    database.execute("ALTER TABLE instances RENAME TO hidden")
    first = encode(ds)
    assert status(receiver, ds) == 0xA700
    ds.PatientComments = "changed on the way"
    assert status(receiver, ds) != StoreStatus.SUCCESS
    database.execute("ALTER TABLE hidden RENAME TO instances")
    database.close()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    row = store.find_instance(ds.SOPInstanceUID)
    assert row is not None
    assert receiver.archive.spool.folder / row.path == kept_files(receiver)[0]
    assert data_set_of(kept_files(receiver)[0]) == first
    assert [study.study_instance_uid for study in store.open_studies()] == [ds.StudyInstanceUID]
    assert [data_set_of(path) for path in conflicts(receiver)] == [encode(ds)]


def test_an_object_whose_name_a_file_has_that_cannot_be_read_is_not_said_to_be_kept(receiver: Receiver) -> None:
    ds = build_dx()
    path = receiver.archive.spool.path_of(ds.StudyInstanceUID, ds.SOPInstanceUID)
    path.parent.mkdir()
    path.write_bytes(b"not a file of ours")
    assert status(receiver, ds) != StoreStatus.SUCCESS
    path.unlink()
    assert status(receiver, ds) == StoreStatus.SUCCESS


def test_pynetdicom_sends_to_it(receiver: Receiver) -> None:
    with association(receiver, (DX, ExplicitVRLittleEndian), (CR, ImplicitVRLittleEndian)) as assoc:
        assert [assoc.send_c_store(ds).Status for ds in (build_dx(), build_cr(), build_dx())] == [0, 0, 0]
    assert len(kept_files(receiver)) == 3
