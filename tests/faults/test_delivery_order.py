"""Steps out of order: what comes before its time, twice, or after its end changes nothing and breaks nothing."""

import pytest
from delivery_bench import DeliveryBench
from pydicom.uid import generate_uid

from dicom_node.storage_commitment import CommitmentReport
from dicom_node.store import DeliveryState, DueDelivery, RevisionState

pytestmark = pytest.mark.fault(61)


@pytest.fixture
def bench(tmp_path):
    one = DeliveryBench(tmp_path, 1)
    yield one
    one.store.close()


def report(bench, transaction_uid, *, failed=False):
    uids = [result.sop_instance_uid for result in bench.results]
    return CommitmentReport(
        transaction_uid=transaction_uid,
        committed=frozenset(() if failed else uids),
        failed=dict.fromkeys(uids if failed else (), "storage commitment failed: 0x0112"),
    )


@pytest.mark.parametrize("failed", [False, True])
def test_a_report_before_the_acknowledgement_is_recorded_counts_for_nothing(bench, failed):
    """A commitment report for what is not yet recorded as sent: neither a proof nor a loss; it is still to be sent."""
    bench.store.begin_transaction("2.25.1", bench.due, [one.sop_instance_uid for one in bench.results])
    assert bench.store.take_report(["archive"], report(bench, "2.25.1", failed=failed))
    assert (bench.now.pending, bench.now.sent, bench.now.committed, bench.now.parked) == (2, 0, 0, 0)


def test_a_verdict_on_what_is_not_sent_is_refused(bench):
    """A delivery that is pending cannot become delivered or parked by a verdict, nor lost by a search."""
    for result in bench.results:
        for state in (DeliveryState.DELIVERED, DeliveryState.PARKED):
            bench.store.settle("archive", result.sop_instance_uid, state, "")
        bench.store.record_loss("archive", result.sop_instance_uid, "lost")
    assert (bench.now.pending, bench.now.parked) == (2, 0)
    bench.store.finish_delivered()
    assert bench.state is RevisionState.DELIVERING


@pytest.mark.parametrize("end", [DeliveryState.DELIVERED, DeliveryState.PARKED])
def test_what_has_ended_stays_ended(bench, end):
    """A verdict, a loss or a failure that comes after the end of a delivery changes nothing."""
    uid = bench.results[0].sop_instance_uid
    bench.store.record_delivery("archive", uid, DeliveryState.SENT, "")
    bench.store.begin_transaction("2.25.1", bench.due, [uid])
    bench.store.settle("archive", uid, end, "first")
    other = DeliveryState.PARKED if end is DeliveryState.DELIVERED else DeliveryState.DELIVERED
    bench.store.settle("archive", uid, other, "second")
    bench.store.record_loss("archive", uid, "lost")
    bench.store.take_report(["archive"], report(bench, "2.25.1", failed=True))
    assert bench.now.parked == (end is DeliveryState.PARKED)
    assert bench.now.pending == 1
    assert bench.now.detail == "first"


def test_what_nobody_planned_is_not_recorded(bench):
    """Answers for an object or a destination that no row knows: no row, no crash."""
    stranger, uid = generate_uid(), bench.results[0].sop_instance_uid
    for destination, sop_instance_uid in (("archive", stranger), ("nobody", uid)):
        bench.store.record_delivery(destination, sop_instance_uid, DeliveryState.SENT, "")
        bench.store.settle(destination, sop_instance_uid, DeliveryState.DELIVERED, "")
        bench.store.record_verified(destination, sop_instance_uid)
        bench.store.record_loss(destination, sop_instance_uid, "lost")
        assert bench.store.count_silence(destination, sop_instance_uid) == 0
    assert not bench.store.take_report(["archive"], report(bench, "2.25.1"))
    assert [one.destination for one in bench.store.status(1)[0].destinations] == ["archive"]
    assert (bench.now.objects, bench.now.pending, bench.now.sent, bench.now.verified) == (2, 2, 0, 0)


def test_a_delivery_before_there_are_results_sends_nothing(bench):
    """A try for a revision without results: nothing is sent, asked or recorded."""
    bench.due = DueDelivery(study_instance_uid=generate_uid(), digest="0", destination="archive", tries=0)
    bench.send()
    bench.prove()
    assert (bench.now.pending, bench.now.attempts) == (2, 0)


def test_a_revision_that_nobody_closed_cannot_be_made(bench):
    """Results asked for before the study is complete: an error that says so, and no rows."""
    with pytest.raises(KeyError):
        bench.store.revision(bench.study, "0")
    bench.store.close_revision(generate_uid(), 100)
    assert len(bench.store.status(10)) == 1
