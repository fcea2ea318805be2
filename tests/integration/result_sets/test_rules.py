"""What a rule of the configuration does to a study: no results, a report that says so, other destinations, its turn."""

import time

import pytest
from pydicom import dcmread
from report_pages import open_pages
from result_bench import build_small_dx

from dicom_node.result_sets import ResultSets, describe_exclusion
from dicom_node.settings import DEFAULT_ENCODINGS, Condition, Rule
from dicom_node.store import RevisionState

PROFILES = dict.fromkeys(("archive", "other"), DEFAULT_ENCODINGS)
NO_INFANTS = Condition(keyword="PatientAge", operator="below", values=("2",))


def infant(node):
    ds = build_small_dx(PatientAge="008M")
    node.receive(ds)
    return ds


def set_rules(node, pipeline, *rules):
    node.results = ResultSets(node.settings, node.store, pipeline, PROFILES, rules=rules)


def make_again(node, study_instance_uid):
    """Make the results of the newest version, which a retry has added, and read them."""
    digest = node.store.status(1)[0].digest
    node.results.make(study_instance_uid, digest)
    made = node.store.results_of(study_instance_uid, digest)
    return [dcmread(node.settings.results_dir / row.path) for row in made]


def test_an_excluded_study_gets_no_result_object_and_says_why_in_the_store(node, pipeline):
    rule = Rule(name="no infants", when=(NO_INFANTS,), action="exclude")
    set_rules(node, pipeline, rule)
    ds = infant(node)
    assert node.make(ds.StudyInstanceUID) == []
    assert [(one.decision, one.reason) for one in node.findings] == [
        ("not analysed", "Not analysed by rule 'no infants' of this site.")
    ]
    assert node.store.due_deliveries(time.time()) == []
    assert not node.settings.results_dir.exists()


def test_an_excluded_study_with_say_gets_summary_and_report_alone(node, pipeline):
    set_rules(node, pipeline, Rule(name="no infants", when=(NO_INFANTS,), action="exclude", say=True))
    made = node.make(infant(node).StudyInstanceUID)
    assert [ds.Modality for ds in made] == ["OT", "DOC"], "the summary, no overlay, the report"
    assert [one.decision for one in node.findings] == ["not analysed"]
    assert {due.destination for due in node.store.due_deliveries(time.time())} == {"archive", "other"}


def test_an_excluded_study_that_took_the_worker_down_gets_no_result_either(node, pipeline):
    set_rules(node, pipeline, Rule(name="no infants", when=(NO_INFANTS,), action="exclude"))
    assert node.make(infant(node).StudyInstanceUID, cautious=True) == []


def test_without_a_rule_that_holds_a_study_is_analysed_for_every_destination(node, pipeline):
    set_rules(node, pipeline, Rule(name="no infants", when=(NO_INFANTS,), action="exclude"))
    ds = build_small_dx(PatientAge="034Y")
    node.receive(ds)
    assert [made.Modality for made in node.make(ds.StudyInstanceUID)] == ["OT", "OT", "DOC"]
    assert {due.destination for due in node.store.due_deliveries(time.time())} == {"archive", "other"}


def test_a_rule_names_the_destinations_and_the_priority(node, pipeline):
    set_rules(node, pipeline, Rule(name="infants", when=(NO_INFANTS,), destinations=("other",), priority=2))
    ds = infant(node)
    assert len(node.make(ds.StudyInstanceUID)) == 3
    assert {due.destination for due in node.store.due_deliveries(time.time())} == {"other"}
    assert node.results.find_priority(ds.StudyInstanceUID, node.store.status(1)[0].digest) == 2


def test_the_priority_of_a_study_whose_file_is_gone_is_that_of_any(node, pipeline):
    set_rules(node, pipeline, Rule(name="infants", when=(NO_INFANTS,), priority=2))
    ds = build_small_dx(PatientAge="008M")
    node.receive(ds).unlink()
    node.store.close_revision(ds.StudyInstanceUID, 200.0)
    assert node.results.find_priority(ds.StudyInstanceUID, node.store.status(1)[0].digest) == 5


def test_rules_that_cannot_be_applied_silence_nothing(node, pipeline, monkeypatch, caplog):
    """A defect in the rules costs no study its answer; it is analysed, and the log says what happened."""

    name = "Wren^Jenny"

    def fail(*_):
        raise ValueError(name)

    monkeypatch.setattr("dicom_node.result_sets.choose_rule", fail)
    set_rules(node, pipeline, Rule(name="all", action="exclude"))
    assert len(node.make(infant(node).StudyInstanceUID)) == 3
    assert "no rule can be applied" in caplog.text
    assert name not in caplog.text


def test_after_a_change_of_the_rules_a_retry_analyses_what_was_excluded(node, pipeline):
    rule = Rule(name="no infants", when=(NO_INFANTS,), action="exclude")
    set_rules(node, pipeline, rule)
    uid = infant(node).StudyInstanceUID
    node.make(uid)
    digest = node.store.status(1)[0].digest
    node.store.set_revision_state(uid, digest, RevisionState.EXCLUDED, reason=describe_exclusion(rule))
    assert node.store.retry(None) == 0
    assert node.store.retry(uid) == 1
    set_rules(node, pipeline)
    node.results.make(uid, digest)
    assert len(node.store.results_of(uid, digest)) == 3
    assert [one.decision for one in node.store.status(1)[0].findings] != ["not analysed"]


def test_after_a_change_of_the_rules_a_retry_analyses_what_was_reported_as_excluded(node, pipeline):
    """The archive has the report that says so: the results of now are a new version, which supersedes it."""
    rule = Rule(name="no infants", when=(NO_INFANTS,), action="exclude", say=True)
    set_rules(node, pipeline, rule)
    uid = infant(node).StudyInstanceUID
    reported = node.make(uid)
    assert node.store.retry(uid) == 0, "its report is still under way"
    node.store.set_revision_state(uid, node.store.status(1)[0].digest, RevisionState.DONE)
    assert node.store.retry(None) == node.store.retry(uid, "archive") == 0
    assert node.store.retry(uid) == 1
    assert node.store.retry(uid) == 0, "one new version is enough"
    again = make_again(node, uid)
    assert not {one.SOPInstanceUID for one in again} & {one.SOPInstanceUID for one in reported}
    set_rules(node, pipeline)
    node.store.set_revision_state(uid, node.store.status(1)[0].digest, RevisionState.DONE)
    assert node.store.retry(uid) == 1
    made = make_again(node, uid)
    assert [one.Modality for one in made] == ["OT", "OT", "DOC"]
    assert "Version 3, supersedes version 2" in " ".join(page.extract_text() for page in open_pages(made[-1]))
    (series,) = made[-1].PredecessorDocumentsSequence[0].ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == again[-1].SOPInstanceUID
    newest = node.store.status(1)[0]
    assert [one.decision for one in newest.findings] != ["not analysed"]
    assert [len(node.store.revision(uid, one.digest).instances) for one in node.store.status(9)] == [1, 1, 1]
    node.store.set_revision_state(uid, newest.digest, RevisionState.DONE)
    assert node.store.retry(uid) == 0, "it is analysed"
    node.store.close_revision(uid, time.time())
    assert len(node.store.status(9)) == 3, "its images are those of a version that is known"


@pytest.mark.parametrize("state", [RevisionState.EXCLUDED, RevisionState.FAILED])
def test_the_files_of_an_excluded_study_may_be_removed_in_their_time(node, pipeline, state):
    set_rules(node, pipeline, Rule(name="all", action="exclude"))
    uid = infant(node).StudyInstanceUID
    node.make(uid)
    node.store.set_revision_state(uid, node.store.status(1)[0].digest, state)
    removable = [one.study_instance_uid for one in node.store.removable_studies(time.time() + 1)]
    assert removable == ([uid] if state is RevisionState.EXCLUDED else [])


def test_what_retention_has_removed_is_not_looked_at_again(node, pipeline):
    """Without its files it would be reported as not analysed, and nobody could say whose it is."""
    set_rules(node, pipeline, Rule(name="all", action="exclude"))
    uid = infant(node).StudyInstanceUID
    node.make(uid)
    digest = node.store.status(1)[0].digest
    node.store.set_revision_state(uid, digest, RevisionState.EXCLUDED)
    with node.store.removal(uid, time.time() + 1) as paths:
        assert paths
    assert node.store.retry(uid) == 0
    assert node.store.status(1)[0].state is RevisionState.EXCLUDED
