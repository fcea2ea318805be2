"""What each answer of an archive leads to: another try, delivery with a warning, or a parked result and an alarm."""

import socket

import pytest
from delivery_bench import rejecting
from pydicom.uid import JPEGBaseline8Bit
from pynetdicom.acse import ACSE
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.deliver.sending import FILE_MISSING
from dicom_node.demo.archives import find_free_port
from dicom_node.store import RevisionState

pytestmark = pytest.mark.fault(62)

UNPROVEN = {"commitment": "never", "verify": "never"}


@pytest.mark.parametrize("status", [0xA700, 0xA7FF, 0x0110, 0x0213])
def test_an_archive_that_may_take_it_later_gets_it_later(archive, bench, status):
    """A7xx, 0110, 0213: tried again for ever, the same objects under the same UIDs; no alarm."""
    one_archive = archive(store=[status])
    one = bench(one_archive.port, **UNPROVEN)
    for number in range(1, 4):
        now = one.attempt()
        assert (now.pending, now.sent, now.parked, now.attempts) == (2, 0, 0, number)
    assert f"0x{status:04X}" in now.detail
    assert one.store.alarms() == ()
    one_archive.statuses = [0x0000]
    assert one.attempt().sent == 2
    assert one.state is RevisionState.DONE
    assert len(one_archive.received) == 4 * 2
    assert len(set(one_archive.received)) == 2


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007])
def test_a_warning_is_a_delivery_and_stays_visible(archive, bench, status):
    """B000, B006, B007: delivered, proven like any other, and the warning stays in the status."""
    one = bench(archive(store=[status], report=None).port, commitment="never")
    now = one.attempt()
    assert (now.sent, now.verified, now.pending, now.parked) == (2, 2, 0, 0)
    assert f"0x{status:04X}" in now.detail
    assert one.state is RevisionState.DONE


@pytest.mark.parametrize("status", [0xA900, 0xA9FF, 0xC000, 0xC123, 0x0122, 0x0124, 0x0117])
def test_an_answer_that_a_retry_would_not_change_parks_and_alarms(archive, bench, status):
    """A9xx, Cxxx, 0122 and other failures: parked with an alarm; nothing more is sent until an operator says so."""
    one_archive = archive(store=[status])
    one = bench(one_archive.port, **UNPROVEN)
    now = one.attempt()
    assert (now.pending, now.sent, now.parked) == (0, 0, 2)
    assert not one.store.due_deliveries(1e12)
    (alarm,) = one.store.alarms()
    assert (alarm.destination, alarm.objects, alarm.studies) == ("archive", 2, 1)
    assert f"0x{status:04X}" in alarm.detail
    assert one.state is RevisionState.FAILED
    one_archive.statuses = [0x0000]
    assert one.store.retry(None, "another") == 0
    assert one.store.retry(None, "archive") == 1
    assert one.is_due
    assert one.attempt().sent == 2
    assert one.store.alarms() == ()
    assert one.state is RevisionState.DONE


@pytest.mark.parametrize(("options", "result"), [({"offers": ()}, 3), ({"syntaxes": [JPEGBaseline8Bit]}, 4)])
def test_a_presentation_context_that_is_refused_parks_and_alarms(archive, bench, options, result):
    """Presentation context result 3 or 4: parked with an alarm that says which."""
    one_archive = archive(**options)
    one = bench(one_archive.port, **UNPROVEN)
    assert one.attempt().parked == 2
    assert f"presentation context result {result}" in one.store.alarms()[0].detail
    assert one_archive.received == []


def test_a_result_whose_file_is_gone_waits_alone_and_goes_when_it_is_restored(archive, bench):
    """A missing file keeps no other result waiting; the status says which is missing."""
    one_archive = archive()
    one = bench(one_archive.port, **UNPROVEN)
    file = one.node.results_dir / one.results[0].path
    content = file.read_bytes()
    file.unlink()
    now = one.attempt()
    assert (now.pending, now.sent, now.parked) == (1, 1, 0)
    assert FILE_MISSING in now.detail
    file.write_bytes(content)
    assert one.attempt().sent == 2
    assert one.state is RevisionState.DONE


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("length", [0, 100, 600])
def test_a_result_whose_file_is_damaged_waits_alone_and_goes_when_it_is_restored(archive, bench, number, length):
    """What has broken on the disk keeps no other result waiting, and what was taken is not sent again and again."""
    one_archive = archive()
    one = bench(one_archive.port, **UNPROVEN)
    file = one.node.results_dir / one.results[number].path
    content = file.read_bytes()
    file.write_bytes(content[:length])
    for _ in range(2):
        now = one.attempt()
        assert (now.pending, now.sent, now.parked) == (1, 1, 0)
        assert len(one_archive.received) == 1
    assert now.detail == "The stored file is missing or cannot be read."
    file.write_bytes(content)
    assert one.attempt().sent == 2
    assert one.state is RevisionState.DONE


@pytest.mark.parametrize("rejection", [(1, 1, 3), (1, 1, 7), (1, 2, 2)])
def test_a_permanent_rejection_parks_and_alarms(bench, rejection):
    """A-ASSOCIATE-RJ (1,…), permanent: parked with an alarm that says what the archive does not recognise."""
    with rejecting(*rejection) as port:
        one = bench(port)
        now = one.attempt()
    assert (now.pending, now.parked) == (0, 2)
    assert "rejected the association for good" in one.store.alarms()[0].detail


def test_a_rejection_that_is_over_before_anybody_looks_is_one_all_the_same(bench, monkeypatch):
    """On a busy machine the connection may be closed again before pynetdicom looks whether it was ever made."""
    send_request = ACSE.send_request

    def send_and_lag(acse):
        send_request(acse)
        acse.dul.join(60)

    monkeypatch.setattr(ACSE, "send_request", send_and_lag)
    with rejecting(1, 1, 7) as port:
        one = bench(port)
        now = one.attempt()
    assert (now.pending, now.parked) == (0, 2)
    assert "rejected the association for good" in one.store.alarms()[0].detail


@pytest.mark.parametrize("rejection", [(2, 3, 1), (2, 3, 2), (2, 1, 1)])
def test_a_transient_rejection_is_tried_again(archive, bench, rejection):
    """A-ASSOCIATE-RJ (2,…), transient: tried again for ever; no alarm."""
    with rejecting(*rejection) as port:
        one = bench(port, **UNPROVEN)
        assert one.attempt().pending == 2
    assert one.store.alarms() == ()
    one.destination = one.destination.model_copy(update={"port": archive().port})
    assert one.attempt().sent == 2


def test_an_archive_that_is_down_gets_everything_when_it_is_back(archive, bench):
    """Connection refused, an archive that is down for hours: tried again for ever, no alarm."""
    one = bench(find_free_port(), **UNPROVEN)
    for _ in range(5):
        now = one.attempt()
    assert (now.pending, now.parked, now.attempts) == (2, 0, 5)
    assert one.store.alarms() == ()
    assert len(one.store.due_deliveries(1e12)) == 1
    back = archive()
    one.destination = one.destination.model_copy(update={"port": back.port})
    assert one.attempt().sent == 2


def test_an_address_that_swallows_everything_costs_bounded_time_and_is_tried_again(bench):
    """A connection that is accepted and never answered: a time-out, and another try."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        one = bench(silent.getsockname()[1], response_timeout_s=0.5)
        assert one.attempt().pending == 2


def test_a_timeout_after_storing_sends_the_same_objects_again(archive, bench):
    """No answer although the object was stored: sent again under the same UID, and there is one of it."""
    one_archive = archive(delay_s=4)
    one = bench(one_archive.port, response_timeout_s=2, **UNPROVEN)
    now = one.attempt()
    assert (now.pending, now.sent) == (2, 0)
    assert len(one_archive.kept) == 1
    # Where it says so instead of Success (0111, Duplicate SOP Instance), that is a delivery too.
    one_archive.delay_s, one_archive.statuses = 0, [0x0111, 0x0000]
    one.destination = one.destination.model_copy(update={"response_timeout_s": 20})
    now = one.attempt()
    assert (now.pending, now.sent) == (0, 2)
    assert set(one_archive.received) == set(one_archive.kept)
    assert one.state is RevisionState.DONE


def test_an_operator_sees_the_alarm_and_what_to_do_and_ends_it(archive, bench, tmp_path):
    """`dicom-node status` shows what is parked and why; `dicom-node retry` without a study tries all of it again."""
    one_archive = archive(store=[0xA900])
    one = bench(one_archive.port, **UNPROVEN)
    one.attempt()
    config = tmp_path / "node.toml"
    config.write_text(
        f'[node]\nae_title = "FRACTUREAI"\ndata_dir = "{tmp_path}"\n[[senders]]\nae_title = "A"\n'
        f'[[destinations]]\nname = "archive"\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\nport = {one_archive.port}\n'
    )
    run = CliRunner()
    shown = run.invoke(app, ["status", "--config", str(config)]).output
    assert "ALARM" in shown
    assert "archive: 2 results are parked" in shown
    assert "0xA900" in shown
    assert "dicom-node retry --destination archive" in shown
    assert run.invoke(app, ["retry", "--destination", "archive", "--config", str(config)]).exit_code == 0
    shown = run.invoke(app, ["status", "--config", str(config)]).output
    assert "ALARM" not in shown
    assert "2 pending" in shown
    assert run.invoke(app, ["retry", "--config", str(config)]).exit_code == 1
