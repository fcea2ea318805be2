"""Late images: what a later version supersedes, what it leaves standing, and when the old results are rejected."""

import time
from io import BytesIO

import pytest
from pydicom.uid import KeyObjectSelectionDocumentStorage
from pypdf import PdfReader
from result_bench import build_small_dx

from dicom_node.result_sets import ResultSets
from dicom_node.settings import DEFAULT_ENCODINGS
from dicom_node.store import DeliveryState, RevisionState
from dicom_node.store.schema import instances

STUDY = "1.2.3"


@pytest.fixture
def rejecting(node, pipeline):
    node.results = ResultSets(
        node.settings,
        node.store,
        pipeline,
        dict.fromkeys(("archive", "second"), DEFAULT_ENCODINGS),
        reject_superseded=True,
    )
    return node


def receive(node, number, **attributes):
    ds = build_small_dx(StudyInstanceUID=STUDY, InstanceNumber=number, **attributes)
    node.receive(ds)
    return ds


def digest_of(node):
    return node.store.status(1)[0].digest


def mark_delivering(node):
    node.store.set_revision_state(STUDY, digest_of(node), RevisionState.DELIVERING)


def make_version(node, number):
    """Receive an image, and make the results of what has come so far; they are to be delivered."""
    receive(node, number)
    made = node.make(STUDY)
    mark_delivering(node)
    return made


def deliver(node, destination, digest=None, state=DeliveryState.DELIVERED):
    """Send what is pending there, prove it where told to, and return its kinds."""
    rows = node.store.pending_results(STUDY, digest or digest_of(node), destination)
    for row in rows:
        parked = state is DeliveryState.PARKED
        node.store.record_delivery(destination, row.sop_instance_uid, state if parked else DeliveryState.SENT, "")
        if state is DeliveryState.DELIVERED:
            node.store.record_verified(destination, row.sop_instance_uid)
            node.store.settle(destination, row.sop_instance_uid, state, "")
    node.store.finish_delivered()
    return [str(row.kind) for row in rows]


def read_report(ds):
    pages = PdfReader(BytesIO(ds.EncapsulatedDocument[: ds.EncapsulatedDocumentLength])).pages
    return "\n".join(page.extract_text() for page in pages)


def test_a_late_image_supersedes_picture_by_picture(node):
    first = receive(node, 1)
    old_summary, old_picture, old_report = node.make(STUDY)
    receive(node, 2)
    summary, one, two, report = node.make(STUDY)
    *sources, predecessor = [item.ReferencedSOPInstanceUID for item in summary.ReferencedImageSequence]
    assert (len(sources), predecessor) == (2, old_summary.SOPInstanceUID)
    assert one.SourceImageSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert [item.ReferencedSOPInstanceUID for item in one.ReferencedImageSequence] == [old_picture.SOPInstanceUID]
    assert "ReferencedImageSequence" not in two
    (series,) = report.PredecessorDocumentsSequence[0].ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == old_report.SOPInstanceUID
    assert "Version 2, supersedes version 1" in read_report(report)


def test_a_late_image_of_another_issuer_s_patient_is_answered_and_so_are_the_first_ones_again(node):
    receive(node, 1, IssuerOfPatientID="CITY")
    assert len(node.make(STUDY)) == 3
    receive(node, 2, IssuerOfPatientID="TOWN")
    made = node.make(STUDY)
    assert [(ds.IssuerOfPatientID, ds.Modality) for ds in made] == [
        (issuer, modality) for issuer in ("CITY", "TOWN") for modality in ("OT", "OT", "DOC")
    ]
    assert all("Version 2" in read_report(ds) for ds in (made[2], made[5]))


def test_a_version_without_the_images_that_retention_removed_leaves_the_earlier_one_standing(rejecting):
    node = rejecting
    make_version(node, 1)
    deliver(node, "archive")
    deliver(node, "second")
    with node.store.removal(STUDY, time.time() + 1, believed=("archive", "second")) as paths:
        assert len(paths) == 1
        (node.settings.spool_dir / paths[0]).unlink()
    receive(node, 2)
    made = node.make(STUDY)
    assert [ds.Modality for ds in made] == ["OT", "OT", "DOC"]
    text = read_report(made[-1])
    assert "Version 2, beside version 1, which stays valid" in text
    assert "For images that came earlier see version 1." in text
    assert "PredecessorDocumentsSequence" not in made[-1]
    assert len(node.findings) == 1


def test_the_old_results_are_rejected_once_the_new_ones_are_proven_and_not_before(rejecting):
    node = rejecting
    old = make_version(node, 1)
    first = digest_of(node)
    assert deliver(node, "archive") == ["summary", "secondary capture", "encapsulated pdf"]
    *_, note = make_version(node, 2)
    assert note.SOPClassUID == KeyObjectSelectionDocumentStorage
    rejected = [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in note.ContentSequence[1:]]
    assert rejected == [ds.SOPInstanceUID for ds in old]
    new = ["summary", "secondary capture", "secondary capture", "encapsulated pdf"]
    # Sent is not proven: nothing is rejected yet.
    assert deliver(node, "archive", state=DeliveryState.SENT) == new
    assert deliver(node, "archive") == []
    for row in node.store.unproven_results(STUDY, digest_of(node), "archive"):
        node.store.record_verified("archive", row.sop_instance_uid)
        node.store.settle("archive", row.sop_instance_uid, DeliveryState.DELIVERED, "")
    assert deliver(node, "archive", state=DeliveryState.SENT) == ["rejection note"]
    assert deliver(node, "archive") == []
    # The second destination has not even the old ones: its note waits for them, too.
    assert deliver(node, "second") == new
    assert deliver(node, "second") == []
    assert node.store.status(1)[0].state == RevisionState.DELIVERING
    assert deliver(node, "second", first) == ["summary", "secondary capture", "encapsulated pdf"]
    assert deliver(node, "second") == ["rejection note"]
    assert [one.state for one in node.store.status(2)] == [RevisionState.DONE, RevisionState.DONE]


def test_a_note_whose_new_results_are_parked_is_parked_with_them_and_goes_after_a_retry(rejecting):
    node = rejecting
    make_version(node, 1)
    first = digest_of(node)
    make_version(node, 2)
    for destination in ("archive", "second"):
        deliver(node, destination, first)
    deliver(node, "second")
    deliver(node, "second")
    deliver(node, "archive", state=DeliveryState.PARKED)
    status = node.store.status(1)[0]
    assert status.state == RevisionState.FAILED
    assert [(one.destination, one.parked) for one in status.destinations] == [("archive", 5), ("second", 0)]
    assert node.store.retry(STUDY) == 1
    assert len(deliver(node, "archive")) == 4
    assert deliver(node, "archive") == ["rejection note"]
    assert node.store.status(1)[0].state == RevisionState.DONE


def test_a_note_waits_for_an_old_result_that_is_parked_which_would_stay_in_sight_if_it_came_after(rejecting):
    node = rejecting
    make_version(node, 1)
    first = digest_of(node)
    deliver(node, "archive", state=DeliveryState.PARKED)
    make_version(node, 2)
    assert "rejection note" not in deliver(node, "archive")
    assert deliver(node, "archive") == []
    (status, _) = node.store.status(2)
    assert [(one.parked, one.detail) for one in status.destinations if one.destination == "archive"] == [
        (1, "waits for other results of the study, which are parked")
    ]
    assert node.store.retry(STUDY, "archive") == 2
    assert deliver(node, "archive") == []
    assert deliver(node, "archive", first) == ["summary", "secondary capture", "encapsulated pdf"]
    assert deliver(node, "archive") == ["rejection note"]


def test_a_third_version_rejects_the_second_and_not_its_note(rejecting):
    node = rejecting
    receive(node, 1)
    node.make(STUDY)
    receive(node, 2)
    second = node.make(STUDY)
    receive(node, 3)
    *_, note = node.make(STUDY)
    rejected = {item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in note.ContentSequence[1:]}
    assert rejected == {ds.SOPInstanceUID for ds in second[:-1]}


def test_an_answer_that_the_version_after_it_could_not_give_is_rejected_by_the_one_that_can(rejecting):
    """Version 2 says "not analysed" and leaves version 1 in sight: version 3 takes the place of both."""
    node = rejecting
    receive(node, 1)
    first = node.make(STUDY)
    receive(node, 2)
    second = node.make(STUDY, cautious=True)
    assert [ds.Modality for ds in second] == ["OT", "DOC"]
    receive(node, 3)
    *_, report, note = node.make(STUDY)
    rejected = {item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in note.ContentSequence[1:]}
    assert rejected == {ds.SOPInstanceUID for ds in (*first, *second)}
    assert "Version 3, supersedes versions 1 and 2" in read_report(report)


@pytest.fixture
def parked(rejecting):
    """Version 1 is parked at the archive, and delivered to the second one."""
    node = rejecting
    make_version(node, 1)
    deliver(node, "archive", state=DeliveryState.PARKED)
    deliver(node, "second")
    return node


def states(node):
    return [str(one.state) for one in node.store.status(2)]


def test_what_is_parked_of_a_version_is_no_alarm_once_its_destination_has_a_later_one(parked):
    """Sent after a retry it would come after the answer that takes its place; the rejection note waits no longer."""
    make_version(parked, 2)
    assert states(parked) == ["delivering", "failed"]
    assert len(deliver(parked, "archive")) == 4
    assert states(parked) == ["delivering", "superseded"]
    _, old = parked.store.status(2)
    assert old.reason == "version 2, which holds all its images, is delivered in its place"
    (there,) = (one for one in old.destinations if one.destination == "archive")
    assert (there.left_out, there.detail) == (3, "superseded by version 2, which the destination has")
    assert parked.store.alarms() == ()
    assert parked.store.retry(STUDY) == 0
    assert deliver(parked, "archive") == ["rejection note"]
    deliver(parked, "second")
    deliver(parked, "second")
    assert states(parked) == ["done", "superseded"]
    assert [one.study_instance_uid for one in parked.store.removable_studies(time.time() + 1)] == [STUDY]


def test_it_stays_an_alarm_while_the_later_version_is_not_proven_to_be_there(parked):
    make_version(parked, 2)
    deliver(parked, "archive", state=DeliveryState.SENT)
    for row in parked.store.unproven_results(STUDY, digest_of(parked), "archive"):
        parked.store.settle("archive", row.sop_instance_uid, DeliveryState.DELIVERED, "")
    parked.store.finish_delivered()
    assert (states(parked)[1], len(parked.store.alarms())) == ("failed", 2), "the results, and the note that waits"
    # The operator's word is enough, as for the files.
    parked.store.finish_delivered(believed=["archive"])
    assert (states(parked), parked.store.alarms()) == (["delivering", "superseded"], ())


def test_it_stays_an_alarm_where_the_later_version_does_not_answer_for_its_images(parked):
    with parked.store._writing() as connection:  # noqa: SLF001  # as retention removes files
        connection.execute(instances.update().values(removed_at=time.time()))
    make_version(parked, 2)
    assert len(deliver(parked, "archive")) == 3
    assert (states(parked)[1], len(parked.store.alarms())) == ("failed", 1)


def test_what_was_taken_and_is_parked_for_want_of_proof_stays_an_alarm(rejecting):
    """It may lie under the wrong patient: a person must look."""
    node = rejecting
    make_version(node, 1)
    first = digest_of(node)
    deliver(node, "archive", state=DeliveryState.SENT)
    for row in node.store.unproven_results(STUDY, first, "archive"):
        node.store.settle("archive", row.sop_instance_uid, DeliveryState.PARKED, "C-FIND finds it elsewhere")
    deliver(node, "second")
    make_version(node, 2)
    deliver(node, "archive")
    assert states(node)[1] == "failed"
    assert node.store.alarms()[0].detail == "C-FIND finds it elsewhere"


def test_a_note_that_was_parked_with_an_old_result_goes_when_that_is_superseded(rejecting):
    """Version 1 was still on its way elsewhere when version 2 came: the note is parked, and later goes by itself."""
    node = rejecting
    make_version(node, 1)
    first = digest_of(node)
    deliver(node, "archive", state=DeliveryState.PARKED)
    make_version(node, 2)
    deliver(node, "archive")
    assert deliver(node, "archive") == []
    assert sum(alarm.objects for alarm in node.store.alarms()) == 4
    deliver(node, "second", first)
    node.store.finish_delivered()
    assert node.store.alarms() == ()
    assert deliver(node, "archive") == ["rejection note"]


def test_it_stays_an_alarm_where_the_later_version_could_not_analyse_its_image(parked):
    """The parked answer is the only one that there is."""
    receive(parked, 2)
    parked.make(STUDY, cautious=True)
    mark_delivering(parked)
    assert deliver(parked, "archive") == ["summary", "encapsulated pdf"]
    assert (states(parked)[1], parked.store.alarms()[0].objects) == ("failed", 3)
    parked.store.retry(STUDY, "archive")
    first = parked.store.status(2)[1].digest
    assert deliver(parked, "archive", first) == ["summary", "secondary capture", "encapsulated pdf"]


def test_what_was_left_out_stays_so_when_its_version_is_retried_elsewhere(rejecting):
    """Parked at both; one has the later version, and the other takes the old one after a retry: nothing is lacking."""
    node = rejecting
    make_version(node, 1)
    first = digest_of(node)
    for destination in ("archive", "second"):
        deliver(node, destination, state=DeliveryState.PARKED)
    make_version(node, 2)
    deliver(node, "archive")
    node.store.retry(STUDY, "second")
    for digest in (first, digest_of(node)):
        deliver(node, "second", digest)
    assert deliver(node, "archive") == deliver(node, "second") == ["rejection note"]
    assert states(node) == ["done", "done"]
    assert [one.study_instance_uid for one in node.store.removable_studies(time.time() + 1)] == [STUDY]


def test_the_note_of_a_version_that_is_left_out_goes_for_it_alone_rejects_the_one_before(rejecting):
    """Version 1 is there, version 2 is parked: the note of version 3 rejects what version 2 had, and nothing else."""
    node = rejecting
    (old, *_) = make_version(node, 1)
    deliver(node, "archive")
    deliver(node, "second")
    *_, note = make_version(node, 2)
    second = digest_of(node)
    deliver(node, "archive", state=DeliveryState.PARKED)
    deliver(node, "second")
    deliver(node, "second")
    assert sum(alarm.objects for alarm in node.store.alarms()) == 5, "the results, and the note that waits"
    make_version(node, 3)
    deliver(node, "archive")
    assert [str(one.state) for one in node.store.status(2)] == ["delivering", "superseded"]
    assert node.store.alarms() == ()
    assert old.SOPInstanceUID in str(note.ContentSequence)
    assert deliver(node, "archive", second) == deliver(node, "archive") == ["rejection note"]


def test_what_was_rejected_is_not_asked_for_again(rejecting):
    """An archive that heeds the note hides it: looked for, it would seem lost, and come back after a retry."""
    node = rejecting
    make_version(node, 1)
    first = digest_of(node)
    for destination in ("archive", "second"):
        deliver(node, destination, state=DeliveryState.SENT)
        for row in node.store.unproven_results(STUDY, first, destination):
            node.store.settle(destination, row.sop_instance_uid, DeliveryState.DELIVERED, "nothing proves it")
    make_version(node, 2)
    for destination in ("archive", "second"):
        deliver(node, destination)
    assert node.store.has_unproven("archive")
    assert deliver(node, "archive") == ["rejection note"]
    assert not node.store.has_unproven("archive")
    assert node.store.reopen_unproven("archive") == 0
    assert node.store.removable_studies(time.time() + 1) == [], "the second has not been told yet"
    assert deliver(node, "second") == ["rejection note"]
    assert [one.study_instance_uid for one in node.store.removable_studies(time.time() + 1)] == [STUDY]
