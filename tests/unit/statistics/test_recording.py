import math

import pytest
from analyses import MODELS, build_image, build_study
from stored_rows import build_row

from dicom_node.statistics.recording import OUTSIDE_SCOPE, measure, name_reason
from dicom_node.store import ImageStatistic
from dicom_node.store.schema import image_statistics, timings
from inference.types import Decision

STUDY = "1.2.3"


def rows_of(store, table):
    with store._engine.connect() as connection:  # noqa: SLF001  # no method shows single rows
        return [dict(row) for row in connection.execute(table.select()).mappings()]


def make(store, *uids, said="no fracture"):
    store.add_instances([build_row(uid, STUDY, received_at=100.0 + number) for number, uid in enumerate(uids)])
    store.close_revision(STUDY, 200.0)
    digest = store.unmade_revisions()[-1].digest
    store.add_results(
        STUDY, digest, [], [], ["a"], measured=[ImageStatistic(sop_instance_uid=uid, decision=said) for uid in uids]
    )
    return digest


def test_what_is_kept_of_an_image_is_what_was_said_of_it():
    (kept,) = measure(build_study([build_image(scope_distance=0.4)]))
    assert (kept.decision, kept.region, kept.probability, kept.reason) == ("fracture", "LOWER_LEG", 0.87, "")
    assert kept.scope_distance == 0.4
    assert [kept.region_model, kept.fracture_model] == [f"{one.name} {one.version}" for one in MODELS]


def test_the_reason_of_a_doubt_is_no_reason_not_to_be_analysed():
    doubt = build_image(decision=Decision.UNCERTAIN, reason="between the sensitive and the specific operating point")
    refused = build_image(
        decision=Decision.NOT_ANALYSED, reason="outside scope: it is no limb (distance 1.20, limit 1.00)", fracture=None
    )
    assert [one.reason for one in measure(build_study([doubt, refused]))] == ["", OUTSIDE_SCOPE]


def test_a_distance_that_is_no_number_is_not_kept():
    assert measure(build_study([build_image(scope_distance=math.nan)]))[0].scope_distance is None


@pytest.mark.parametrize(
    ("reason", "named"),
    [
        ("The image could not be decoded: 17 bytes too few.", "The image could not be decoded"),
        ("The models failed on the image (ValueError).", "The models failed on the image"),
        ("no validated model for region HIP", "no validated model for region HIP"),
        ("It is a localiser.", "It is a localiser"),
        (
            "The header says HAND, but the image looks like KNEE: not analysed, as configured",
            "The header names another region than the image shows",
        ),
    ],
)
def test_a_reason_is_kept_without_what_is_of_one_image_alone(reason, named):
    assert name_reason(reason) == named


def test_an_image_is_counted_once_however_many_versions_hold_it(store):
    make(store, "1.1")
    make(store, "1.1", "1.2", said="fracture")
    assert sorted((row["sop_instance_uid"], row["decision"]) for row in rows_of(store, image_statistics)) == [
        ("1.1", "fracture"),
        ("1.2", "fracture"),
    ]
    assert [row["received_at"] for row in rows_of(store, timings)] == [100.0, 101.0]


def test_results_recorded_again_change_no_statistic(store):
    digest = make(store, "1.1")
    before = rows_of(store, timings), rows_of(store, image_statistics)
    store.add_results(
        STUDY, digest, [], [], ["a"], measured=[ImageStatistic(sop_instance_uid="1.1", decision="fracture")]
    )
    assert (rows_of(store, timings), rows_of(store, image_statistics)) == before
