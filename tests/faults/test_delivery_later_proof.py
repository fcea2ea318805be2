"""An archive that takes results and offers no proof is asked again: what it took is proven when it can."""

import json
import time
from contextlib import closing
from pathlib import Path

import pytest
from many_studies import fill
from running import NODE, Node, dcmsend, wait_for
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.deliver import LaterProof
from dicom_node.demo.archives import find_free_port
from dicom_node.errors import AssociationError
from dicom_node.settings import Archive, Proof
from dicom_node.store import RevisionState, Store, UnprovenFiles
from dicom_node.store.later_proof import MOST_AT_ONCE
from dicom_node.store.schema import deliveries
from dicom_node.values import ResultKind

pytestmark = pytest.mark.fault(63)

KEPT = [UnprovenFiles(destination="archive", studies=1)]
BUSY_S = 240
SAMPLES = Path(__file__).resolve().parents[2] / "sample_studies"


def ask(one):
    return LaterProof(one.destination, one.node.ae_title, one.store).ask()


def deliver(archive, bench, **options):
    """Deliver to an archive that offers no proof."""
    taking = archive(offers=("store",), report="same")
    one = bench(taking.port, report_wait_s=5, **options)
    one.attempt()
    assert (one.state, one.store.unproven_files()) == (RevisionState.DONE, KEPT)
    return taking, one


@pytest.mark.parametrize("way", ["find", "commitment"])
def test_what_was_believed_is_proven_when_the_archive_offers_a_proof(archive, bench, way):
    """Nothing is sent again; the days of retention begin with the proof."""
    taking, one = deliver(archive, bench)
    taking.offer(way)
    begun = time.time()
    assert ask(one) == 1
    assert one.is_due
    now = one.attempt()
    assert (now.sent, now.verified + now.committed, one.state) == (2, 2, RevisionState.DONE)
    assert len(taking.received) == 2
    assert one.store.unproven_files() == []
    assert one.store.removable_studies(begun) == []
    assert [each.study_instance_uid for each in one.store.removable_studies(time.time() + 1)] == [one.study]
    assert ask(one) == 0


def test_without_the_question_nothing_would_ever_be_proven(archive, bench):
    """The negative control: delivered is delivered, and no sweep looks at it again."""
    taking, one = deliver(archive, bench)
    taking.offer("find", "commitment")
    assert not one.store.due_deliveries(1e12)
    assert one.attempt().verified == 0
    assert one.store.unproven_files() == KEPT


def test_an_archive_that_offers_none_is_asked_once_for_all_and_nothing_changes(archive, bench):
    _, one = deliver(archive, bench)
    before = one.store.status(1)
    assert ask(one) == 0
    assert one.store.status(1) == before
    one.destination = one.destination.model_copy(update={"port": find_free_port()})
    with pytest.raises(AssociationError):
        ask(one)
    LaterProof(one.destination, one.node.ae_title, one.store)()
    assert one.store.status(1) == before


@pytest.mark.parametrize("wanted", [{"verify": Proof.NEVER}, {"commitment": Proof.NEVER, "verify": Proof.NEVER}])
def test_a_proof_that_is_not_wanted_is_not_asked_for(archive, bench, wanted):
    taking, one = deliver(archive, bench)
    taking.offer("find")
    one.destination = one.destination.model_copy(update=wanted)
    assert ask(one) == 0


def test_who_would_give_a_proof_that_is_not_wanted_may_be_away(archive, bench):
    """Nobody answers where storage commitment would be asked for, which is not wanted: C-FIND proves it."""
    nobody = Archive(name="nobody", ae_title="NOBODY", host="127.0.0.1", port=find_free_port())
    taking, one = deliver(archive, bench, commitment=Proof.NEVER, commitment_at=nobody)
    taking.offer("find")
    assert ask(one) == 1
    assert (one.attempt().verified, one.state) == (2, RevisionState.DONE)


def test_what_an_archive_no_longer_has_is_parked_and_not_sent_by_itself(archive, bench):
    """It was lost, or removed on purpose: a person decides, and a retry sends it."""
    taking, one = deliver(archive, bench, verify_deadline_s=0.001)
    taking.kept.clear()
    taking.offer("find")
    assert ask(one) == 1
    now = one.attempt()
    assert (now.parked, one.state, len(taking.received)) == (2, RevisionState.FAILED, 2)
    assert "C-FIND does not find" in one.store.alarms()[0].detail
    assert one.store.retry(one.study) == 1
    assert (one.attempt().verified, one.state, len(taking.received)) == (2, RevisionState.DONE, 4)


def test_a_rejection_note_goes_when_the_proof_comes(archive, bench):
    taking, one = deliver(archive, bench, kinds=("result", ResultKind.REJECTION_NOTE))
    taking.offer("find")
    assert ask(one) == 1
    one.attempt()
    assert len(taking.received) == 1
    one.store.release_notes()
    one.attempt()
    assert (len(taking.received), one.state) == (2, RevisionState.DONE)


def test_so_many_at_once_and_no_more_while_their_proof_is_open_or_parked(tmp_path):
    """An archive whose new proof is worth nothing parks no thousands; the newest are taken up first."""
    now = time.time()
    with closing(Store(f"sqlite:///{tmp_path / 'node.sqlite'}")) as store:
        fill(store, MOST_AT_ONCE + 50, until=now, every_s=60)
        with store._writing() as connection:  # noqa: SLF001  # as they were sent, one after another
            connection.execute(deliveries.update().values(sent_at=deliveries.c.changed_at, verified_at=None))
        assert store.reopen_unproven("archive") == MOST_AT_ONCE
        assert store.reopen_unproven("archive") == 0
        with store._writing() as connection:  # noqa: SLF001  # ten are proven
            (newest, *_) = store.due_deliveries(now + 1)
            mine = deliveries.c.study_instance_uid == newest.study_instance_uid
            connection.execute(deliveries.update().where(mine).values(state="delivered", verified_at=now))
        assert store.reopen_unproven("archive") == 1


@pytest.mark.dcmtk
def test_a_node_finds_out_by_itself_and_then_removes_the_files(archive, tmp_path):
    """The whole node: done and kept, file by file; from when the archive answers C-FIND, verified, and removed."""
    taking = archive(offers=("store",))
    node = Node(tmp_path / "node", {"archive": taking.port}, more="[retention]\nfiles_days = 0.00001\nevery_s = 1")
    node.start()
    try:
        dcmsend(node.port, next((SAMPLES / "tibia_jpeg_ls").rglob("*.dcm")), calling="ARCHIVE", called=NODE)
        wait_for("it is delivered", lambda: node.states() == ["done"], within_s=BUSY_S)
        sent = status_of(node)["sent"]
        assert (sent, status_of(node)["verified"], kept_by(node)) == (3, 0, 1)
        taking.offer("find")
        wait_for("all is verified", lambda: status_of(node)["verified"] == sent, within_s=BUSY_S)
        wait_for("the files go", lambda: not kept_by(node) and not list(node.folder.glob("var/spool/*/*.dcm")))
        assert (node.states(), len(taking.received)) == (["done"], sent)
    finally:
        node.kill()


def status_of(node):
    (destination,) = say_status(node)["revisions"][0]["destinations"]
    return destination


def kept_by(node):
    return sum(one["studies"] for one in say_status(node)["kept_unproven"])


def say_status(node):
    shown = CliRunner().invoke(app, ["status", "--json", "--config", str(node.config)])
    assert shown.exit_code == 0, shown.output
    return json.loads(shown.output)
