"""A further form of the results that an archive does not accept: left out, said, and in nobody's way."""

from dataclasses import replace

import pytest
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.operate.forms import check_forms
from dicom_node.settings import DEFAULT_ENCODINGS, Encoding
from dicom_node.store import RevisionState
from dicom_node.values import ResultKind

pytestmark = pytest.mark.fault(62)


def make_bench(archive, bench, kind):
    """A revision on its way whose PDF, which the archive does not accept, is of a kind."""
    one_archive = archive(offers=("capture", "find"))
    one = bench(one_archive.port, kinds=("secondary capture", kind))
    return one_archive, one


@pytest.mark.parametrize("kind", [ResultKind.ENCAPSULATED_PDF, ResultKind.STRUCTURED_REPORT])
def test_what_is_not_accepted_is_left_out_and_the_rest_is_delivered(archive, bench, kind):
    one_archive, one = make_bench(archive, bench, kind)
    now = one.attempt()
    assert (now.sent, now.verified, now.pending, now.parked, now.left_out) == (1, 1, 0, 0, 1)
    assert one.state is RevisionState.DONE
    assert one.store.alarms() == ()
    assert not one.store.due_deliveries(1e12)
    assert len(one_archive.received) == 1
    assert "the destination accepts not this SOP class" in now.detail
    assert one.store.oldest_undelivered() is None


def test_a_summary_that_is_not_accepted_is_parked_as_ever(archive, bench):
    """The control: without captures a destination has no answer, and their refusal is an alarm."""
    _, one = make_bench(archive, bench, ResultKind.SUMMARY)
    now = one.attempt()
    assert (now.parked, now.left_out) == (1, 0)
    assert one.state is RevisionState.FAILED


def test_an_answer_that_rejects_one_object_still_parks_it(archive, bench):
    """The class is accepted, the object is not: a person must look."""
    one_archive = archive(store=[0xA900])
    one = bench(one_archive.port, kinds=("secondary capture", ResultKind.STRUCTURED_REPORT))
    assert one.attempt().parked == 2


def test_the_status_says_what_was_left_out(archive, bench, tmp_path):
    _, one = make_bench(archive, bench, ResultKind.STRUCTURED_REPORT)
    one.attempt()
    config = tmp_path / "node.toml"
    config.write_text(
        f'[node]\nae_title = "FRACTUREAI"\ndata_dir = "{tmp_path}"\n[[senders]]\nae_title = "A"\n'
        '[[destinations]]\nname = "archive"\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\nport = 104\n'
    )
    shown = CliRunner().invoke(app, ["status", "--config", str(config)], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert "1 sent, 1 verified, 1 left out" in " ".join(shown.output.split())
    assert "accepts not this SOP class" in " ".join(shown.output.split())


def test_a_rejection_note_does_not_wait_for_what_was_left_out(archive, bench):
    _, one = make_bench(archive, bench, ResultKind.STRUCTURED_REPORT)
    one.attempt()
    note = replace(one.results[0], sop_instance_uid="2.25.99", kind=ResultKind.REJECTION_NOTE)
    one.store.add_results(one.study, one.due.digest, [*one.results, note], [], ["archive"])
    (waiting,) = one.store.pending_results(one.study, one.due.digest, "archive")
    assert waiting.sop_instance_uid == "2.25.99"


def test_left_out_is_no_obstacle_to_retention(archive, bench):
    _, one = make_bench(archive, bench, ResultKind.KEY_OBJECTS)
    one.attempt()
    assert [study.study_instance_uid for study in one.store.removable_studies(1e12)] == [one.study]


@pytest.mark.parametrize(
    ("offers", "is_well", "said"),
    [
        ("store", True, "accepts: secondary capture, report; not accepted, and left out: structured report"),
        ("capture", True, "accepts: secondary capture; not accepted, and left out: report, structured report"),
        ("find", False, "does not accept: secondary capture, report, structured report; captures will be parked"),
    ],
)
def test_the_doctor_says_beforehand_what_is_not_accepted(archive, bench, offers, is_well, said):
    one = bench(archive(offers=(offers,)).port, results=[*DEFAULT_ENCODINGS, Encoding.STRUCTURED_REPORT])
    finding = check_forms(one.destination, "FRACTUREAI")
    assert (finding.ok, finding.says) == (is_well, said)
