"""Proof that an archive keeps what it answered Success for: storage commitment, and C-FIND where it is to be found."""

import time

import pytest
from running import wait_for

from dicom_node.deliver.verdict import MOST_ASKS
from dicom_node.operate.doctor import check_destinations
from dicom_node.settings import Archive, ResultSettings, Sender, Settings
from dicom_node.store import RevisionState

pytestmark = pytest.mark.fault(63)

SOON = 0.01
"""A deadline that has passed when the next try begins."""


def counts(now):
    return now.sent, now.committed, now.verified, now.pending, now.parked


# Storage commitment


def test_a_report_on_the_association_of_the_request_is_taken(archive, bench):
    """N-EVENT-REPORT on the association of the N-ACTION: committed and verified in one try."""
    one = bench(archive(report="same").port, report_wait_s=60)
    assert counts(one.attempt()) == (2, 2, 2, 0, 0)
    assert one.state is RevisionState.DONE
    assert one.now.detail == ""


def test_a_report_on_a_new_association_is_taken(archive, bench):
    """N-EVENT-REPORT on an association of the archive's own: committed, and the node does not wait in vain."""
    one_archive = archive()
    one = bench(one_archive.port, report_wait_s=60)
    with one.receiver() as receiver:
        one_archive.report = receiver.port
        before = time.monotonic()
        assert counts(one.attempt()) == (2, 2, 2, 0, 0)
        assert time.monotonic() - before < 50
    assert one.state is RevisionState.DONE


def test_a_report_that_comes_after_the_association_makes_the_delivery_due_at_once(archive, bench):
    """A report that comes later: what waits for it is put off until its deadline, and due the moment it comes."""
    one_archive = archive()
    one = bench(one_archive.port)
    with one.receiver() as receiver:
        now = one.attempt()
        assert counts(now) == (2, 0, 2, 0, 0)
        assert "waits for its storage commitment report" in now.detail
        assert one.state is RevisionState.DELIVERING
        assert not one.store.due_deliveries(time.time() + 3000)
        assert one.store.due_deliveries(time.time() + 3700)
        one_archive.report = receiver.port
        one_archive._report(None, one_archive.asked[0])  # noqa: SLF001  # the report of the request before
    assert one.is_due
    assert counts(one.attempt()) == (2, 2, 2, 0, 0)
    assert one.state is RevisionState.DONE


def test_an_archive_that_answers_success_and_keeps_nothing_is_caught(archive, bench):
    """Storage commitment fails (0112): sent again, and the second time parked with an alarm."""
    one_archive = archive(keeps=False, report="same")
    one = bench(one_archive.port, report_wait_s=60)
    assert counts(one.attempt()) == (0, 0, 0, 2, 0)
    assert one.is_due
    assert counts(one.attempt()) == (2, 0, 0, 0, 2)
    assert len(one_archive.received) == 4
    assert "0x0112" in one.store.alarms()[0].detail
    assert one.state is RevisionState.FAILED
    one_archive.keeps = True
    assert one.store.retry(one.study) == 1
    assert counts(one.attempt()) == (2, 2, 2, 0, 0)
    assert one.state is RevisionState.DONE


def test_without_any_proof_the_same_archive_is_believed(archive, bench):
    """The negative control: with both proofs off, Success alone is a delivery, and nothing is kept."""
    one_archive = archive(keeps=False, report="same")
    one = bench(one_archive.port, commitment="never", verify="never")
    assert counts(one.attempt()) == (2, 0, 0, 0, 0)
    assert one.state is RevisionState.DONE
    assert (one_archive.kept, one_archive.asked) == ({}, [])


def test_only_what_was_lost_is_sent_again(archive, bench):
    """A report that names one object as failed: that one is sent again, the other is not."""
    one_archive = archive(report="same")
    one = bench(one_archive.port, report_wait_s=60, verify="never")
    one.send()
    lost = one.results[1].sop_instance_uid
    kept = one_archive.kept.pop(lost)
    assert counts(one.attempt()) == (1, 1, 0, 1, 0)
    one_archive.kept[lost] = kept
    assert counts(one.attempt()) == (2, 2, 0, 0, 0)
    assert one_archive.received.count(lost) == 2
    assert len(one_archive.received) == 3


def test_what_was_not_taken_is_sent_again_without_waiting_for_reports_on_what_was(archive, bench):
    """One object taken, one refused for now: its retry keeps its time, however long the report on the first is out."""
    one_archive = archive(store=[0x0000, 0xA700])
    one = bench(one_archive.port, commitment_deadline_s=100_000)
    assert counts(one.attempt()) == (1, 0, 1, 1, 0)
    retried_at = time.time() + 1001
    assert one.store.due_deliveries(retried_at)
    # When both are there, there is nothing to do but to wait.
    one_archive.statuses = [0x0000]
    assert counts(one.attempt()) == (2, 0, 2, 0, 0)
    assert not one.store.due_deliveries(retried_at)


@pytest.mark.parametrize(
    ("wanted", "outcome", "said"),
    [
        ({"verify": "when offered"}, RevisionState.DONE, f"no storage commitment after {MOST_ASKS} requests"),
        ({"commitment": "required"}, RevisionState.FAILED, "which is required"),
        ({"verify": "never"}, RevisionState.FAILED, "and nothing else proves it"),
    ],
)
def test_an_archive_that_never_reports_is_asked_again_and_then_not_waited_for(archive, bench, wanted, outcome, said):
    """No report by the deadline: asked again under new transactions; then C-FIND alone counts, or it is parked."""
    one_archive = archive()
    one = bench(one_archive.port, commitment_deadline_s=SOON, **wanted)
    for number in range(1, MOST_ASKS + 1):
        one.attempt()
        assert len(one_archive.asked) == number
        time.sleep(2 * SOON)
    now = one.attempt()
    assert len(one_archive.asked) == MOST_ASKS
    assert len({ds.TransactionUID for ds in one_archive.asked}) == MOST_ASKS
    assert said in now.detail
    assert one.state is outcome
    assert len(one_archive.received) == 2


def test_a_late_report_still_counts(archive, bench):
    """A report that comes after its deadline, for a transaction that was begun: Success, and recorded."""
    one_archive = archive()
    one = bench(one_archive.port, commitment_deadline_s=SOON)
    for _ in range(MOST_ASKS + 1):
        one.attempt()
        time.sleep(2 * SOON)
    assert one.state is RevisionState.DONE
    with one.receiver() as receiver:
        one_archive.report = receiver.port
        one_archive._report(None, one_archive.asked[0])  # noqa: SLF001  # the report of the first request
    assert counts(one.now) == (2, 2, 2, 0, 0)


@pytest.mark.parametrize("status", [0x0110, 0x0123])
def test_a_request_that_is_refused_is_made_again_a_few_times(archive, bench, status):
    """N-ACTION refused: asked again, in the end C-FIND alone counts, and that is stated."""
    one_archive = archive(action=status)
    one = bench(one_archive.port)
    now = one.attempt()
    assert f"0x{status:04X}" in now.detail
    for _ in range(MOST_ASKS):
        now = one.attempt()
    assert len(one_archive.asked) == MOST_ASKS
    assert counts(now) == (2, 0, 2, 0, 0)
    assert "no storage commitment" in now.detail
    assert one.state is RevisionState.DONE


def test_a_transaction_is_in_the_database_before_its_request_is_sent(archive, bench):
    """The worker dies between record and request, or after it: the deadline passes, and it asks again."""
    one_archive = archive(report="same")
    one = bench(one_archive.port, report_wait_s=60)
    one.send()
    one.store.begin_transaction("2.25.1", one.due, [result.sop_instance_uid for result in one.results])
    assert counts(one.attempt()) == (2, 0, 2, 0, 0)
    assert one_archive.asked == []
    one.destination = one.destination.model_copy(update={"commitment_deadline_s": SOON})
    assert counts(one.attempt()) == (2, 2, 2, 0, 0)
    assert len(one_archive.asked) == 1


# C-FIND


@pytest.mark.parametrize("offers", [("store", "find"), ("store", "study root find")])
@pytest.mark.parametrize("patient_id", ["PHANTOM-1", "", "P*1", "ПАЦИЕНТ"])
def test_an_archive_without_commitment_is_searched_instead(archive, bench, offers, patient_id):
    """Storage commitment not offered: C-FIND in the right study of the right patient, and the status says so."""
    one = bench(archive(offers=offers).port, patient_id=patient_id)
    now = one.attempt()
    assert counts(now) == (2, 0, 2, 0, 0)
    assert now.detail == "storage commitment is not offered"
    assert one.state is RevisionState.DONE


def test_an_archive_that_offers_no_proof_is_believed_and_that_is_stated(archive, bench):
    """Neither storage commitment nor C-FIND: delivered, and the status says that nothing proves it."""
    one = bench(archive(offers=["store"]).port)
    now = one.attempt()
    assert counts(now) == (2, 0, 0, 0, 0)
    assert now.detail == "storage commitment is not offered; C-FIND is not offered"
    assert one.state is RevisionState.DONE


@pytest.mark.parametrize("proof", ["commitment", "verify"])
def test_a_proof_that_is_required_and_not_offered_parks_and_alarms(archive, bench, proof):
    """A proof that is required but not offered: parked with an alarm, although C-STORE was answered with Success."""
    one = bench(archive(offers=["store"]).port, **{proof: "required"})
    assert one.attempt().parked == 2
    assert "is not offered, which is required" in one.store.alarms()[0].detail


def test_what_is_not_found_yet_is_looked_for_again(archive, bench):
    """An archive that files slowly: looked for again, not sent again."""
    one_archive = archive(offers=("store", "find"))
    one = bench(one_archive.port)
    one.send()
    kept, one_archive.kept = one_archive.kept, {}
    now = one.attempt()
    assert counts(now) == (2, 0, 0, 0, 0)
    assert "does not find it yet" in now.detail
    assert one.state is RevisionState.DELIVERING
    one_archive.kept = kept
    assert counts(one.attempt()) == (2, 0, 2, 0, 0)
    assert len(one_archive.received) == 2


def test_what_is_not_found_in_the_end_is_sent_again_and_then_parked(archive, bench):
    """An archive that keeps nothing and knows no storage commitment: C-FIND catches it."""
    one_archive = archive(offers=("store", "find"), keeps=False)
    one = bench(one_archive.port, verify_deadline_s=SOON, commitment="never")
    wait_for("it counts as lost", lambda: one.attempt().pending == 2)
    assert len(one_archive.received) == 2
    wait_for("it counts as lost again", lambda: one.attempt().parked == 2)
    assert len(one_archive.received) == 4
    assert "C-FIND does not find" in one.store.alarms()[0].detail


@pytest.mark.parametrize("offers", [("store", "find"), ("store", "study root find")])
def test_a_result_under_another_patient_parks_and_alarms(archive, bench, offers):
    """A result that the archive files under another PatientID: parked with an alarm at once."""
    one = bench(archive(offers=offers, patient_id="SOMEBODY").port)
    assert counts(one.attempt()) == (2, 0, 0, 0, 2)
    (alarm,) = one.store.alarms()
    assert "not of this patient" in alarm.detail
    assert "SOMEBODY" not in alarm.detail
    assert "PHANTOM" not in alarm.detail


@pytest.mark.parametrize(("status", "parked"), [(0xA700, 0), (0x0110, 0), (0xC001, 2), (0xA900, 2)])
def test_a_search_that_fails_is_made_again_and_parked_only_where_that_would_not_help(archive, bench, status, parked):
    """C-FIND answered with A700 or 0110: asked again for ever; with another failure: parked after the deadline."""
    one_archive = archive(offers=("store", "find"), find=status)
    one = bench(one_archive.port)
    now = one.attempt()
    assert f"0x{status:04X}" in now.detail
    assert counts(now) == (2, 0, 0, 0, 0)
    one.destination = one.destination.model_copy(update={"verify_deadline_s": SOON})
    time.sleep(2 * SOON)
    assert one.attempt().parked == parked
    assert len(one_archive.received) == 2


@pytest.mark.parametrize("bound", ["_MOST_MATCHES", "_PATIENCE"])
def test_a_search_without_an_end_is_given_up(archive, bench, monkeypatch, bound):
    """C-FIND answered with match after match: the association is aborted, and the archive asked again."""
    one = bench(archive(offers=("store", "find")).port)
    monkeypatch.setattr(f"dicom_node.c_find.{bound}", 0)
    now = one.attempt()
    assert "C-FIND was answered with" in now.detail
    assert counts(now) == (2, 0, 0, 0, 0)
    monkeypatch.undo()
    assert counts(one.attempt()) == (2, 0, 2, 0, 0)


def test_an_archive_that_goes_away_before_the_proof_is_asked_when_it_is_back(archive, bench):
    """An archive that is down when the proof is asked for: no alarm; the proof comes when it is back."""
    one_archive = archive()
    one = bench(one_archive.port, commitment="never")
    one.send()
    one.destination = one.destination.model_copy(update={"port": 1})
    now = one.attempt()
    assert counts(now) == (2, 0, 0, 0, 0)
    assert "archive" in now.detail
    one.destination = one.destination.model_copy(update={"port": one_archive.port})
    assert counts(one.attempt()) == (2, 0, 2, 0, 0)


@pytest.mark.parametrize("content", [None, b"no DICOM"], ids=["gone", "damaged"])
def test_a_result_whose_file_is_gone_keeps_no_proof_from_the_others(archive, bench, content):
    """Whose it is, only its file says: it is parked with an alarm once it should have been found."""
    one = bench(archive().port, commitment="never")
    one.send()
    file = one.node.results_dir / one.results[0].path
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    assert counts(one.attempt()) == (2, 0, 1, 0, 0)
    assert one.now.detail == "The stored file is missing or cannot be read."
    one.destination = one.destination.model_copy(update={"verify_deadline_s": 0.001})
    assert one.attempt().parked == 1
    assert (one.state, len(one.store.alarms())) == (RevisionState.FAILED, 1)


# Another address for the questions


@pytest.fixture
def elsewhere(archive):
    """A PACS that takes results at one port and answers each question at another one."""
    ports = [archive(offers=("store",)), archive(offers=("find",)), archive(offers=("commitment",), report="same")]
    for one in ports[1:]:
        one.kept = ports[0].kept
    taking, found, committing = ports
    ask = {"name": "ask", "ae_title": "ARCHIVE", "host": "127.0.0.1"}
    at = {"verify_at": Archive(**ask, port=found.port), "commitment_at": Archive(**ask, port=committing.port)}
    return taking, {"report_wait_s": 60, **at}


def test_proofs_are_asked_for_where_the_destination_says(elsewhere, bench):
    """Query and storage commitment at other ports than the results: committed and verified in one try."""
    taking, options = elsewhere
    one = bench(taking.port, **options)
    assert counts(one.attempt()) == (2, 2, 2, 0, 0)
    assert (one.state, one.now.detail) == (RevisionState.DONE, "")


def test_without_saying_so_they_are_not_offered(elsewhere, bench):
    """The negative control: the port that takes results offers no proof."""
    taking, _ = elsewhere
    one = bench(taking.port)
    assert counts(one.attempt()) == (2, 0, 0, 0, 0)
    assert "not offered" in one.now.detail


@pytest.mark.parametrize(("away", "got"), [("verify_at", (2, 2, 0, 0, 0)), ("commitment_at", (2, 0, 2, 0, 0))])
def test_one_that_is_away_keeps_no_proof_from_the_other(elsewhere, bench, away, got):
    """The one that is searched, or asked for commitment, is down: the other proof comes, and it is asked again."""
    taking, options = elsewhere
    one = bench(taking.port, **{**options, away: options[away].model_copy(update={"port": 1})})
    assert counts(one.attempt()) == got
    assert one.state is RevisionState.DELIVERING
    assert "ask: " in one.now.detail
    one.destination = one.destination.model_copy(update={away: options[away]})
    assert counts(one.attempt()) == (2, 2, 2, 0, 0)
    assert one.state is RevisionState.DONE


# The doctor


def test_the_doctor_asks_where_the_destination_says(elsewhere, bench):
    taking, options = elsewhere
    one = bench(taking.port, **options)
    node = Settings(node=one.node, senders=(Sender(ae_title="A"),), destinations=(one.destination,))
    *_, proof = check_destinations(node)
    assert proof.says == "by storage commitment and C-FIND"


@pytest.mark.parametrize(
    ("offers", "settings", "says"),
    [
        (("commitment", "find"), {}, "by storage commitment and C-FIND"),
        (("find",), {}, "by C-FIND"),
        (("commitment", "find"), {"verify": "never"}, "by storage commitment"),
        (("store",), {}, "none: files of its studies will be kept"),
        (("store",), {"commitment": "never", "verify": "never"}, "none wanted: Success is believed"),
        (("find",), {"commitment": "required"}, "storage commitment is required and not offered"),
        (("commitment",), {"verify": "required"}, "C-FIND is required and not offered"),
    ],
)
def test_the_doctor_says_which_proof_a_destination_offers(archive, bench, offers, settings, says):
    """A proof that is required and not offered is found by the doctor, before any result is parked for it."""
    one = bench(archive(offers=offers).port, **settings)
    node = Settings(node=one.node, senders=(Sender(ae_title="A"),), destinations=(one.destination,))
    *_, proof = check_destinations(node)
    assert proof.says == says
    assert proof.ok == ("required" not in says) == (not proof.remedy)
    rejecting = node.model_copy(update={"results": ResultSettings(reject_superseded=True)})
    *_, proof = check_destinations(rejecting)
    assert proof.says == says.replace("kept", "kept, and superseded results not rejected")
