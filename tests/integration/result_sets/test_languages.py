"""Each destination gets its own language: the node's, its own, or the one that a rule says."""

import time

from result_bench import build_small_dx

from dicom_node.result_sets import ResultSets
from dicom_node.settings import DEFAULT_ENCODINGS, Rule
from dicom_node.store import Profile

PROFILES = dict.fromkeys(("here", "there"), DEFAULT_ENCODINGS)


def receive(node):
    ds = build_small_dx()
    node.receive(ds)
    return ds.StudyInstanceUID


def languages_of(node, uid):
    """Languages of what each destination is to get, one for each object."""
    digest = node.store.status(1)[0].digest
    rows = {row.sop_instance_uid: row.language for row in node.store.results_of(uid, digest)}
    due = node.store.due_deliveries(time.time())
    return {
        one.destination: sorted(
            rows[pending.sop_instance_uid] for pending in node.store.pending_results(uid, digest, one.destination)
        )
        for one in due
    }


def test_two_destinations_get_the_study_each_in_its_language(node, pipeline):
    node.results = ResultSets(node.settings, node.store, pipeline, PROFILES, languages={"here": "uk", "there": "fr"})
    uid = receive(node)
    assert len(node.make(uid)) == 6
    assert languages_of(node, uid) == {"here": ["uk"] * 3, "there": ["fr"] * 3}


def test_a_language_that_two_share_is_made_once(node, pipeline):
    node.results = ResultSets(node.settings, node.store, pipeline, PROFILES, languages={"here": "ja", "there": "ja"})
    assert len(node.make(receive(node))) == 3


def test_a_rule_says_the_language_of_its_studies(node, pipeline):
    rules = (Rule(name="all", language="es"),)
    node.results = ResultSets(node.settings, node.store, pipeline, PROFILES, languages={"here": "de"}, rules=rules)
    uid = receive(node)
    assert len(node.make(uid)) == 3
    assert languages_of(node, uid) == {"here": ["es"] * 3, "there": ["es"] * 3}


def test_a_destination_whose_language_was_never_made_gets_the_one_that_there_is(node, pipeline):
    node.results = ResultSets(
        node.settings, node.store, pipeline, {"here": DEFAULT_ENCODINGS}, languages={"here": "de"}
    )
    uid = receive(node)
    node.make(uid)
    kinds = frozenset({"summary", "secondary capture", "encapsulated pdf"})
    assert node.store.send(uid, "there", Profile(kinds=kinds, language="fr")) == 3
