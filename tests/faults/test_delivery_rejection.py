"""Old results are rejected once the new ones are proven to be there; not where an archive was merely believed."""

import pytest

from dicom_node.settings import Proof
from dicom_node.store import RevisionState
from dicom_node.values import ResultKind

pytestmark = pytest.mark.fault(25, 63)

NOTHING_ASKED = {"commitment": Proof.NEVER, "verify": Proof.NEVER}


def deliver(archive, bench, **options):
    """Send a new result and the rejection note of the old one, in as many tries as it takes."""
    offers = options.pop("offers", ("store",))
    taking = archive(offers=offers, keeps=options.pop("keeps", True))
    one = bench(taking.port, kinds=("result", ResultKind.REJECTION_NOTE), **options)
    for _ in range(3):
        one.attempt()
    return taking, one


def is_rejected(taking, one):
    """Tell whether the archive was told to reject the old result."""
    return one.results[1].sop_instance_uid in taking.received


@pytest.mark.parametrize("options", [{}, {"commitment": Proof.NEVER}, {"offers": ("store", "find"), "verify": "never"}])
def test_what_was_merely_believed_rejects_nothing(archive, bench, options):
    """The note is left out, which the status says; the revision is done, and nothing is an alarm."""
    taking, one = deliver(archive, bench, **options)
    assert taking.received == [one.results[0].sop_instance_uid]
    assert (one.now.sent, one.now.pending, one.now.parked, one.now.left_out) == (1, 0, 0, 1)
    assert "the old results are not rejected" in one.now.detail
    assert one.state is RevisionState.DONE
    assert one.store.alarms() == ()


def test_an_archive_that_keeps_nothing_is_not_told_to_reject_what_it_has(archive, bench):
    """Success and nothing kept: sent again, then parked, and the old result stays in sight all the while."""
    taking, one = deliver(archive, bench, offers=("store", "find"), keeps=False, verify_deadline_s=0.001)
    assert not is_rejected(taking, one)
    assert one.now.parked == 2


def test_believed_the_same_archive_loses_both(archive, bench):
    """The control: without the wait for proof, the old result is rejected for a new one that is nowhere."""
    taking, one = deliver(archive, bench, keeps=False, **NOTHING_ASKED)
    assert is_rejected(taking, one)
    assert taking.kept == {}


@pytest.mark.parametrize("way", ["find", "commitment"])
def test_proof_lets_the_note_go(archive, bench, way):
    taking = archive(offers=("store", way), report="same")
    one = bench(taking.port, kinds=("result", ResultKind.REJECTION_NOTE), report_wait_s=5)
    one.attempt()
    assert not is_rejected(taking, one)
    one.attempt()
    assert is_rejected(taking, one)
    assert one.state is RevisionState.DONE


def test_a_note_that_was_left_out_goes_when_the_operator_believes_the_archive(archive, bench):
    taking, one = deliver(archive, bench)
    one.store.release_notes(believed=one.believed)
    assert one.state is RevisionState.DONE
    one.destination = one.destination.model_copy(update=NOTHING_ASKED)
    one.store.release_notes(believed=one.believed)
    assert one.state is RevisionState.DELIVERING
    assert one.is_due
    assert one.store.removable_studies(1e12, believed=one.believed) == [], "its file is still to be sent"
    one.attempt()
    assert is_rejected(taking, one)
    assert one.state is RevisionState.DONE
    assert one.now.left_out == 0
    assert "not rejected" not in one.now.detail


@pytest.mark.parametrize(("status", "parked"), [(0xA770, 0), (0xA772, 1), (0xA774, 1)])
def test_a_note_that_dcm4chee_refuses_is_not_tried_for_ever(archive, bench, status, parked):
    """It has the note already (A770): delivered. It lacks what the note names (A772): parked, with an alarm."""
    taking = archive(offers=("store", "find"), store=(0x0000, status))
    one = bench(taking.port, kinds=("result", ResultKind.REJECTION_NOTE))
    one.attempt()
    assert (one.attempt().parked, one.now.pending) == (parked, 0)
    assert f"C-STORE status 0x{status:04X}" in one.now.detail
    assert one.state is (RevisionState.FAILED if parked else RevisionState.DONE)


def test_the_same_answer_to_a_result_says_that_the_archive_is_full(archive, bench):
    one = bench(archive(store=(0xA772,)).port)
    assert one.attempt().pending == 2
