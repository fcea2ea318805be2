"""Objects over real associations: what is kept, and what is answered."""

import resource
import sqlite3
import threading
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
    generate_uid,
)
from pynetdicom import AE
from pynetdicom.association import Association
from raw_peer import COMMAND, CR, DX, EXPLICIT, IMPLICIT, LAST, RawPeer, echo_command, status_of, store_command
from receiving import arriving, conflicts, data_set_of, encode, kept_files, send, status

from dicom_node.identity import MANUFACTURER, MANUFACTURER_MODEL_NAME
from dicom_node.receive.presentation import STORAGE_CLASSES, TRANSFER_SYNTAXES
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


# What is kept


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


@pytest.mark.parametrize("piece", [1, 7, 1000, 16000, 130_000])
def test_the_size_of_the_pieces_does_not_change_the_bytes(receiver: Receiver, piece: int) -> None:
    ds = build_dx(PixelData=bytes(range(256)) * 8, Rows=32, Columns=32)
    sent = encode(ds)
    with RawPeer(receiver.port).associate() as peer:
        request = store_command(DX, ds.SOPInstanceUID)
        for part in (request[:10], request[10:11]):
            peer.send_values((1, COMMAND, part))
        peer.send_values((1, COMMAND | LAST, request[11:]))
        peer.send_data_set(sent, piece=piece)
        assert status_of(peer.read_response()) == StoreStatus.SUCCESS
    assert data_set_of(kept_files(receiver)[0]) == sent


def test_command_and_data_set_may_come_in_one_pdu(receiver: Receiver) -> None:
    ds = build_dx(PixelData=bytes(2048), Rows=32, Columns=32)
    sent = encode(ds)
    with RawPeer(receiver.port).associate() as peer:
        command = store_command(DX, ds.SOPInstanceUID)
        peer.send_values((1, COMMAND | LAST, command), (1, 0, sent[:100]), (1, LAST, sent[100:]))
        assert status_of(peer.read_response()) == StoreStatus.SUCCESS
    assert data_set_of(kept_files(receiver)[0]) == sent


@pytest.mark.parametrize("maximum_length", [0, 64, 4096, 1 << 20])
def test_answers_fit_the_longest_pdu_that_the_peer_takes(receiver: Receiver, maximum_length: int) -> None:
    ds = build_dx()
    with RawPeer(receiver.port).associate(maximum_length=maximum_length) as peer:
        response = peer.store(encode(ds), sop_instance=ds.SOPInstanceUID)
        assert response[0x1000].rstrip(b"\0").decode() == ds.SOPInstanceUID
        assert status_of(response) == StoreStatus.SUCCESS


# Negotiation


@pytest.mark.parametrize("transfer_syntax", TRANSFER_SYNTAXES)
def test_every_transfer_syntax_of_the_list_is_accepted_and_recorded(receiver: Receiver, transfer_syntax: UID) -> None:
    ds = build_cr()
    sent = encode(ds, transfer_syntax)
    with RawPeer(receiver.port).associate([(CR, [transfer_syntax])]) as peer:
        assert status_of(peer.store(sent, sop_class=CR, sop_instance=ds.SOPInstanceUID)) == StoreStatus.SUCCESS
    (path,) = kept_files(receiver)
    assert pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID == transfer_syntax
    assert data_set_of(path) == sent


def test_explicit_little_endian_is_preferred_whatever_the_peer_names_first(receiver: Receiver) -> None:
    offers = ["1.2.840.10008.1.2.4.90", IMPLICIT, EXPLICIT]
    with RawPeer(receiver.port) as peer:
        _, answer = peer.request([(CR, offers)])
    assert EXPLICIT.encode() in answer
    assert b"1.2.840.10008.1.2.4.90" not in answer


def results_of(answer: bytes) -> list[int]:
    """Find result of each presentation context in an A-ASSOCIATE-AC (PS3.8 9.3.3.2)."""
    results, rest = [], answer[68:]
    while rest:
        length = int.from_bytes(rest[2:4], "big")
        if rest[0] == 0x21:
            results.append(rest[6])
        rest = rest[4 + length :]
    return results


def test_other_sop_classes_and_transfer_syntaxes_are_refused_each_for_its_context(receiver: Receiver) -> None:
    mammography, ct = "1.2.840.10008.5.1.4.1.1.1.2", "1.2.840.10008.5.1.4.1.1.2"
    deflated, big_endian = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
    with RawPeer(receiver.port) as peer:
        _, answer = peer.request(
            [(DX, [EXPLICIT]), (mammography, [EXPLICIT]), (ct, [EXPLICIT]), (CR, [deflated, big_endian])]
        )
    assert results_of(answer) == [0, 3, 3, 4]


def test_a_request_as_long_as_the_standard_allows_is_answered(receiver: Receiver) -> None:
    syntaxes = [f"1.2.840.10008.1.2.4.{number}.{'1' * 30}" for number in range(24)]
    with RawPeer(receiver.port) as peer:
        _, answer = peer.request([(DX, [*syntaxes, EXPLICIT])] * 128)
    assert results_of(answer) == [0] * 128


def test_echo_is_answered(receiver: Receiver) -> None:
    with RawPeer(receiver.port).associate() as peer:
        for _ in range(3):
            peer.send_values((3, COMMAND | LAST, echo_command()))
            response = peer.read_response()
            assert (status_of(response), response[0x0100]) == (0, b"\x30\x80")


# Duplicates and conflicts


def test_the_same_object_again_is_success_and_changes_nothing(receiver: Receiver, store: Store) -> None:
    ds = build_dx()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    first = store.find_instance(ds.SOPInstanceUID)
    assert status(receiver, ds) == StoreStatus.SUCCESS
    assert store.find_instance(ds.SOPInstanceUID) == first
    assert len(kept_files(receiver)) == 1
    assert conflicts(receiver) == arriving(receiver) == []


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


def test_the_same_uid_in_another_study_is_kept_aside(
    receiver: Receiver, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    ds = build_dx()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    (first,) = kept_files(receiver)
    ds.StudyInstanceUID = generate_uid()
    assert status(receiver, ds) == StoreStatus.SUCCESS
    assert kept_files(receiver) == [first]
    assert len(conflicts(receiver)) == 1
    assert [study.study_instance_uid for study in store.open_studies()] == [first.parent.name]
    assert "relational_mismatch" in caplog.text


def events(receiver: Receiver) -> list[tuple[str, str]]:
    database = sqlite3.connect(receiver.archive.spool.folder.parent / "node.sqlite", isolation_level=None)
    rows = database.execute("SELECT study_instance_uid, what FROM events ORDER BY id").fetchall()
    database.close()
    return rows


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


# Roles

SCREEN_SHOT = {"Modality": "OT", "ConversionType": "WSD", "ImageType": ["DERIVED", "SECONDARY"]}


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


def test_own_results_that_come_back_are_known_and_open_no_study(receiver: Receiver, store: Store) -> None:
    ds = build_sc(Manufacturer=MANUFACTURER, ManufacturerModelName=MANUFACTURER_MODEL_NAME)
    assert status(receiver, ds) == StoreStatus.SUCCESS
    row = store.find_instance(ds.SOPInstanceUID)
    assert row is not None
    assert row.role == InstanceRole.OWN_RESULT
    assert store.open_studies() == []


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


def test_a_study_of_nothing_but_pictures_of_other_programs_is_open_to_be_answered(
    receiver: Receiver, store: Store
) -> None:
    ds = build_sc(**SCREEN_SHOT)
    assert status(receiver, ds) == StoreStatus.SUCCESS
    assert [one.study_instance_uid for one in store.open_studies()] == [ds.StudyInstanceUID]


def test_all_kinds_of_objects_are_accepted(receiver: Receiver) -> None:
    with RawPeer(receiver.port) as peer:
        _, answer = peer.request([(sop_class, [EXPLICIT]) for sop_class in STORAGE_CLASSES])
    assert set(results_of(answer)) == {0}


# What is refused


def test_a_data_set_of_another_instance_than_the_command_says_is_a_mismatch(receiver: Receiver) -> None:
    ds = build_dx()
    with RawPeer(receiver.port).associate() as peer:
        assert status_of(peer.store(encode(ds), sop_instance="1.2.3")) == 0xA900
        ds.SOPClassUID = CR
        assert status_of(peer.store(encode(ds), sop_instance=ds.SOPInstanceUID)) == 0xA900
    assert kept_files(receiver) == arriving(receiver) == []


def test_a_sop_class_other_than_its_presentation_context_s_is_not_supported(receiver: Receiver) -> None:
    ds = build_cr()
    with RawPeer(receiver.port).associate() as peer:
        assert status_of(peer.store(encode(ds), sop_class=CR, sop_instance=ds.SOPInstanceUID, context=1)) == 0x0122
        assert status_of(peer.store(encode(ds), sop_class=CR, sop_instance=ds.SOPInstanceUID, context=5)) == 0


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


@pytest.mark.parametrize(
    "uid", ["../../../x", "/etc/cron.d/x", "1.2\0.3", "1.2\n.3", "1." + "2" * 64, "1..2", ".1", "1.", "1.2a", "²"]
)
def test_what_is_no_uid_is_refused_and_the_association_goes_on(receiver: Receiver, uid: str) -> None:
    ds = build_dx()
    with RawPeer(receiver.port).associate() as peer:
        assert status_of(peer.store(encode(ds), sop_instance=uid)) == 0x0117
        assert status_of(peer.store(encode(ds), sop_instance=ds.SOPInstanceUID)) == 0
    assert len(kept_files(receiver)) == 1


def test_a_study_uid_that_is_none_never_becomes_a_path(receiver: Receiver) -> None:
    ds = build_dx()
    spoiled = encode(ds).replace(
        ds.StudyInstanceUID.encode(), b"../" * (len(ds.StudyInstanceUID) // 3) + b"x" * (len(ds.StudyInstanceUID) % 3)
    )
    assert status(receiver, ds, data_set=spoiled) == 0x0117
    assert kept_files(receiver) == []


def test_leading_zeros_and_trailing_padding_are_tolerated(receiver: Receiver, store: Store) -> None:
    ds = build_dx()
    spoiled = encode(ds).replace(ds.SOPInstanceUID.encode(), b"1.02.3".ljust(len(ds.SOPInstanceUID), b" "))
    with RawPeer(receiver.port).associate() as peer:
        assert status_of(peer.store(spoiled, sop_instance="1.02.3 ")) == 0
    assert store.find_instance("1.02.3") is not None


def nested(depth: int) -> bytes:
    """Encode sequences of undefined length inside each other, Explicit VR Little Endian."""
    opening = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return opening * depth + closing * depth


@pytest.mark.parametrize("depth", [2, 300, 30_000])
def test_sequences_nested_beyond_reason_are_not_understood(receiver: Receiver, depth: int) -> None:
    ds = build_dx()
    head, tail = (
        encode(Dataset({element.tag: element for element in ds if element.tag < 0x00081140})),
        encode(Dataset({element.tag: element for element in ds if element.tag > 0x00081140})),
    )
    expected = StoreStatus.SUCCESS if depth == 2 else StoreStatus.CANNOT_UNDERSTAND
    assert status(receiver, ds, data_set=head + nested(depth) + tail) == expected


def test_a_data_set_in_another_transfer_syntax_is_not_understood(receiver: Receiver) -> None:
    ds = build_dx()
    assert status(receiver, ds, data_set=encode(ds, ImplicitVRLittleEndian)) == StoreStatus.CANNOT_UNDERSTAND
    big_endian = bytearray(encode(ds)[:8])
    big_endian[:4] = b"\0\x08\0\x05"
    assert status(receiver, ds, data_set=bytes(big_endian) + encode(ds)) == StoreStatus.CANNOT_UNDERSTAND
    with RawPeer(receiver.port).associate([(DX, [IMPLICIT])]) as peer:
        assert status_of(peer.store(encode(ds), sop_instance=ds.SOPInstanceUID)) == StoreStatus.CANNOT_UNDERSTAND


@pytest.mark.parametrize("content", [b"", b"\x08\0", b"\x08\0\x16\0UI\xff\xff", bytes(100), b"\xff" * 1000])
def test_what_is_no_data_set_is_not_understood(receiver: Receiver, content: bytes) -> None:
    assert status(receiver, build_dx(), data_set=content) & 0xF000 == 0xC000
    assert kept_files(receiver) == arriving(receiver) == []


def test_a_data_set_cut_off_in_its_pixels_is_kept(receiver: Receiver) -> None:
    ds = build_dx()
    assert status(receiver, ds, data_set=encode(ds)[:-1000]) == StoreStatus.SUCCESS


def test_a_header_longer_than_the_first_look_is_read(receiver: Receiver) -> None:
    ds = build_dx()
    block = ds.private_block(0x0009, "TEST", create=True)
    block.add_new(0x01, "OB", bytes(200_000))
    assert status(receiver, ds) == StoreStatus.SUCCESS


def test_refusals_say_why_in_64_characters_without_patient_data(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    ds = build_dx(PatientName="Zyxwv^Canary", PatientID="CANARY-1", StudyInstanceUID=None)
    response = send(receiver, build_dx(SOPInstanceUID=ds.SOPInstanceUID), data_set=encode(ds))
    assert 0 < len(response[0x0902]) <= 64
    assert b"CANARY" not in response[0x0902].upper()
    assert "CANARY" not in caplog.text.upper()


# Disk


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


# What libraries do


def test_pynetdicom_sends_to_it(receiver: Receiver) -> None:
    with association(receiver, (DX, ExplicitVRLittleEndian), (CR, ImplicitVRLittleEndian)) as assoc:
        assert [assoc.send_c_store(ds).Status for ds in (build_dx(), build_cr(), build_dx())] == [0, 0, 0]
    assert len(kept_files(receiver)) == 3
