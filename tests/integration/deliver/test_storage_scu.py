import socket
import threading
import time
from io import BytesIO

import pytest
from builders import build_dx, write_part10
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import DigitalXRayImageStorageForPresentation, Verification

from dicom_node.deliver import ResultFile, send_results, verify_destination
from dicom_node.deliver.storage_scu import classify_status
from dicom_node.errors import AssociationError
from dicom_node.settings import Destination
from dicom_node.store import DeliveryState


def destination(port, **limits):
    return Destination(name="archive", ae_title="ARCHIVE", host="127.0.0.1", port=port, **limits)


@pytest.fixture
def files(tmp_path):
    made = []
    for number in range(3):
        ds = build_dx(InstanceNumber=number)
        path = tmp_path / f"{number}.dcm"
        write_part10(ds, path)
        made.append(ResultFile(sop_instance_uid=ds.SOPInstanceUID, sop_class_uid=ds.SOPClassUID, path=path))
    return made


@pytest.fixture
def archive():
    servers = []

    def start(answer, *, contexts=(DigitalXRayImageStorageForPresentation,), syntaxes=(ExplicitVRLittleEndian,)):
        ae = AE(ae_title="ARCHIVE")
        ae.add_supported_context(Verification)
        for context in contexts:
            ae.add_supported_context(context, list(syntaxes))
        handlers = [(evt.EVT_C_STORE, answer)]
        server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        servers.append(server)
        return server.server_address[1]

    yield start
    for server in servers:
        server.shutdown()


@pytest.mark.fault(62)
def test_every_object_gets_its_own_answer(archive, files):
    """Each object is judged by its own answer, not by that of its association."""
    answers = iter([0x0000, 0xA700, 0xC000])
    port = archive(lambda _event: next(answers))
    deliveries = send_results(destination(port), "NODE", files)
    assert [delivery.sop_instance_uid for delivery in deliveries] == [file.sop_instance_uid for file in files]
    assert [delivery.state for delivery in deliveries] == [
        DeliveryState.SENT,
        DeliveryState.PENDING,
        DeliveryState.PARKED,
    ]
    assert "0xA700" in deliveries[1].detail


def test_an_archive_that_takes_only_implicit_vr_gets_the_same_object(archive, files):
    received = []

    def keep(event):
        received.append(dcmread(BytesIO(event.encoded_dataset())))
        return 0x0000

    port = archive(keep, syntaxes=[ImplicitVRLittleEndian])
    send_results(destination(port), "NODE", files)
    assert [ds.SOPInstanceUID for ds in received] == [file.sop_instance_uid for file in files]
    assert received[0].pixel_array.any()


def test_a_refused_sop_class_is_refused_for_good_without_touching_the_others(archive, files):
    port = archive(lambda _event: 0x0000, contexts=[])
    deliveries = send_results(destination(port), "NODE", files)
    assert {delivery.state for delivery in deliveries} == {DeliveryState.PARKED}


@pytest.mark.fault(62)
def test_an_archive_that_aborts_half_way_leaves_the_rest_to_a_retry(archive, files):
    """An association that the archive aborts half-way: what was not answered is tried again."""

    def abort_second(event):
        if event.request.AffectedSOPInstanceUID == files[1].sop_instance_uid:
            event.assoc.abort()
        return 0x0000

    deliveries = send_results(destination(archive(abort_second)), "NODE", files)
    assert [delivery.state for delivery in deliveries] == [
        DeliveryState.SENT,
        DeliveryState.PENDING,
        DeliveryState.PENDING,
    ]


@pytest.mark.fault(62)
def test_nobody_listening_is_an_association_error(files):
    """Connection refused: an error that says so, and nothing is marked as sent."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with pytest.raises(AssociationError, match="archive:"):
        send_results(destination(port), "NODE", files)


@pytest.mark.fault(62)
def test_a_peer_that_accepts_and_stays_silent_costs_bounded_time(files):
    """A peer that never answers the association request costs one time-out."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted = []
        thread = threading.Thread(target=lambda: accepted.append(listener.accept()))
        thread.start()
        before = time.monotonic()
        with pytest.raises(AssociationError):
            send_results(destination(listener.getsockname()[1], response_timeout_s=1), "NODE", files)
        assert time.monotonic() - before < 5
        thread.join()
        accepted[0][0].close()


def test_echo_answers_or_says_why_not(archive):
    port = archive(lambda _event: 0x0000)
    verify_destination(destination(port), "NODE")


@pytest.mark.fault(62)
@pytest.mark.parametrize(
    ("status", "state"),
    [
        (0x0000, DeliveryState.SENT),
        (0xB000, DeliveryState.SENT),
        (0xB006, DeliveryState.SENT),
        (0xB007, DeliveryState.SENT),
        (0x0111, DeliveryState.SENT),
        (0xA700, DeliveryState.PENDING),
        (0xA7FF, DeliveryState.PENDING),
        (0x0110, DeliveryState.PENDING),
        (None, DeliveryState.PENDING),
        (0xA900, DeliveryState.PARKED),
        (0xC123, DeliveryState.PARKED),
        (0x0122, DeliveryState.PARKED),
        (0x0124, DeliveryState.PARKED),
    ],
)
def test_each_status_asks_for_one_thing(status, state):
    """Every C-STORE status asks for one of three: another try, delivered, parked."""
    assert classify_status(status)[0] is state
