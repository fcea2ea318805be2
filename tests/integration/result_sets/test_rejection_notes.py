"""Two archives of different languages, one without PDF, that refuse a note for one instance that they do not have."""

import json
import time
from types import SimpleNamespace

import pytest
from delivery_bench import ScriptedArchive
from pydicom import dcmread
from pydicom.uid import KeyObjectSelectionDocumentStorage
from result_bench import build_small_dx

from dicom_node.deliver import Prover, send_pending, sending
from dicom_node.identity import is_result_uid
from dicom_node.result_sets import ResultSets
from dicom_node.settings import Destination, Encoding
from dicom_node.store import DeliveryState, DueDelivery, RevisionState
from dicom_node.values import ResultKind

STUDY = "1.2.3"
FORMS = {
    "here": (Encoding.SECONDARY_CAPTURE, Encoding.REPORT),
    "there": (Encoding.SECONDARY_CAPTURE, Encoding.REPORT, Encoding.STRUCTURED_REPORT),
}
"""What each destination is to get; the archive of the second one takes no PDF."""
ACCEPTED = {"here": ("store", "forms", "find"), "there": ("capture", "forms", "find")}


class StrictArchive(ScriptedArchive):
    """Takes a rejection note whole or, where it lacks one instance of it, not at all, as dcm4chee does (A772)."""

    def __init__(self, **options):
        self.notes = []
        super().__init__(**options)

    def _store(self, event):
        ds = event.dataset
        if ds.SOPClassUID != KeyObjectSelectionDocumentStorage:
            return super()._store(event)
        ds.file_meta = event.file_meta
        self.notes.append(ds)
        return 0x0000 if set(named_in(ds)) <= set(self.kept) else 0xA772


def named_in(note):
    return [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in note.ContentSequence[1:]]


def evidence_of(note):
    (study,) = note.CurrentRequestedProcedureEvidenceSequence
    assert all(series.ReferencedSOPSequence for series in study.ReferencedSeriesSequence)
    return [
        one.ReferencedSOPInstanceUID
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    ]


@pytest.fixture
def line(node, pipeline):
    """A node between two such archives."""
    node.results = ResultSets(
        node.settings, node.store, pipeline, FORMS, languages={"here": "de", "there": "fr"}, reject_superseded=True
    )
    archives = {name: StrictArchive(offers=offers) for name, offers in ACCEPTED.items()}
    place = {"ae_title": "ARCHIVE", "host": "127.0.0.1"}
    destinations = {
        name: Destination(name=name, port=one.port, results=FORMS[name], **place) for name, one in archives.items()
    }
    yield SimpleNamespace(node=node, store=node.store, archives=archives, destinations=destinations)
    for one in archives.values():
        one.stop()


def make(line, number):
    """Receive one more image and make the next version; returns its digest."""
    line.node.receive(build_small_dx(StudyInstanceUID=STUDY, InstanceNumber=number))
    line.node.paths(STUDY)
    digest = line.store.status(1)[0].digest
    line.store.set_revision_state(STUDY, digest, RevisionState.DELIVERING)
    return digest


def attempt(line, digest, names=("here", "there")):
    """Make one try at each destination, as the workflow does."""
    for name in names:
        due = DueDelivery(study_instance_uid=STUDY, digest=digest, destination=name, tries=0)
        send_pending(line.destinations[name], line.node.settings, line.store, due)
        Prover(line.destinations[name], line.node.settings, line.store, due).prove()
    line.store.finish_delivered()


def supersede(line):
    """Deliver version 1, then version 2 and its notes; returns what each archive had of version 1."""
    attempt(line, make(line, 1))
    old = {name: set(one.kept) for name, one in line.archives.items()}
    second = make(line, 2)
    for _ in range(2):
        attempt(line, second)
    return old


def states(line):
    return [str(one.state) for one in line.store.status(10)]


def test_each_note_names_exactly_what_its_archive_has(line):
    old = supersede(line)
    assert not old["here"] & old["there"]
    assert [len(old[name]) for name in ("here", "there")] == [3, 3]
    notes = {name: one.notes for name, one in line.archives.items()}
    assert [len(sent) for sent in notes.values()] == [1, 1]
    for name, (note,) in notes.items():
        assert set(named_in(note)) == old[name]
        assert sorted(evidence_of(note)) == sorted(named_in(note))
        assert note.ConceptNameCodeSequence[0].CodeValue == "113037"
    assert states(line) == ["done", "done"]
    assert line.store.alarms() == ()


def test_with_notes_that_name_everything_both_archives_go_on_showing_the_old_results(line, monkeypatch):
    """The control: what was sent before notes were fitted."""
    monkeypatch.setattr(sending, "fit_note", lambda *_: True)
    supersede(line)
    assert states(line)[0] == "failed"
    (alarm_here, alarm_there) = line.store.alarms()
    assert alarm_here.detail == alarm_there.detail == "C-STORE status 0xA772"


def test_a_note_that_was_refused_as_a_whole_is_taken_after_a_retry(line, monkeypatch):
    """One that an earlier release of this software sent."""
    with monkeypatch.context() as patched:
        patched.setattr(sending, "fit_note", lambda *_: True)
        old = supersede(line)
    assert line.store.retry(STUDY) == 1
    attempt(line, line.store.status(1)[0].digest)
    assert [set(named_in(line.archives[name].notes[-1])) for name in old] == [*old.values()]
    assert (states(line), line.store.alarms()) == (["done", "done"], ())


def test_a_note_that_names_less_is_another_object_and_known_as_the_nodes_own(line):
    supersede(line)
    here, there = (line.archives[name].notes[0] for name in ("here", "there"))
    (made,) = (
        row for row in line.store.results_of(STUDY, line.store.status(1)[0].digest) if row.kind == "rejection note"
    )
    whole = dcmread(line.node.settings.results_dir / made.path)
    assert len({here.SOPInstanceUID, there.SOPInstanceUID, whole.SOPInstanceUID}) == 3
    assert here.file_meta.MediaStorageSOPInstanceUID == here.SOPInstanceUID
    for note in (here, there):
        assert is_result_uid(note.SOPInstanceUID)
        assert line.store.is_result(note.SOPInstanceUID, note.SeriesInstanceUID)
        changed = {elem.keyword for elem in whole if elem != note[elem.tag]}
        assert changed == {"SOPInstanceUID", "ContentSequence", "CurrentRequestedProcedureEvidenceSequence"}


def test_the_audit_trail_names_the_note_that_was_sent(line):
    supersede(line)
    (file,) = line.node.settings.audit_dir.glob("*.jsonl")
    events = [json.loads(written) for written in file.read_text().splitlines()]
    for name, one in line.archives.items():
        sent = [event for event in events if event.get("destination") == name and "results" in event]
        assert [result["sop_instance_uid"] for result in sent[-1]["results"]] == [one.notes[0].SOPInstanceUID]


def test_a_note_whose_answer_was_lost_comes_again_as_the_same_object(line):
    attempt(line, make(line, 1))
    second = make(line, 2)
    attempt(line, second)
    record = line.store.record_delivery
    line.store.record_delivery = lambda *_: None  # killed between the answer and its record
    attempt(line, second)
    line.store.record_delivery = record
    for _ in range(2):
        attempt(line, second)
    for one in line.archives.values():
        first, again = one.notes
        assert first == again
    assert states(line) == ["done", "done"]


def test_an_archive_that_has_none_of_the_old_results_gets_no_note_and_that_is_no_alarm(line):
    """Version 1 was parked there, and left out when version 2 was proven to be there."""
    first = make(line, 1)
    attempt(line, first, ["here"])
    for row in line.store.pending_results(STUDY, first, "there"):
        line.store.record_delivery("there", row.sop_instance_uid, DeliveryState.PARKED, "refused")
    line.store.finish_delivered()
    second = make(line, 2)
    for _ in range(3):
        attempt(line, second)
    assert [len(line.archives[name].notes) for name in ("here", "there")] == [1, 0]
    (now,) = (one for one in line.store.status(1)[0].destinations if one.destination == "there")
    assert "the destination has none of the old results" in now.detail
    assert (states(line), line.store.alarms()) == (["done", "superseded"], ())
    line.store.release_notes()
    assert states(line) == ["done", "superseded"], "it is left out for good"
    assert [one.study_instance_uid for one in line.store.removable_studies(time.time() + 1)] == [STUDY]


def test_a_note_whose_file_cannot_be_read_waits_and_says_so(line):
    attempt(line, make(line, 1))
    second = make(line, 2)
    attempt(line, second)
    (made,) = (row for row in line.store.results_of(STUDY, second) if row.kind == ResultKind.REJECTION_NOTE)
    (line.node.settings.results_dir / made.path).write_bytes(b"no DICOM")
    attempt(line, second)
    assert [(one.pending, one.parked) for one in line.store.status(1)[0].destinations] == [(1, 0), (1, 0)]
    assert "could not be sent (InvalidDicomError); see the log" in line.store.status(1)[0].destinations[0].detail
    assert not any(one.notes for one in line.archives.values())
