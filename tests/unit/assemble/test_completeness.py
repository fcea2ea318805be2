import pytest

from dicom_node.assemble.completeness import is_complete, is_to_be_asked
from dicom_node.settings import CompletionSettings
from dicom_node.store import OpenStudy
from dicom_node.values import Expectation, ListedImage

COMPLETION = CompletionSettings(quiet_s=10, max_wait_s=100)


MISSING = ListedImage(sop_instance_uid="1.2.3", series_instance_uid="1.2", modality="DX")
SILENT = Expectation(archive="pacs", listed=None)
WHOLE = Expectation(archive="pacs", listed=2)
LACKING = Expectation(archive="pacs", listed=2, missing=(MISSING,))


def open_study(*, first, last, forced=False, **asked):
    return OpenStudy(study_instance_uid="1.2", first_open_at=first, last_received_at=last, forced=forced, **asked)


@pytest.mark.fault(60)
@pytest.mark.parametrize(
    ("first", "last", "now", "complete"),
    [
        (0, 0, 9.9, False),
        (0, 0, 10, True),
        (0, 9, 18.9, False),
        (0, 9, 19, True),
        (0, 95, 99.9, False),
        (0, 95, 100, True),
    ],
)
def test_a_study_is_complete_after_the_quiet_period_or_the_longest_wait(first, last, now, complete):
    assert is_complete(open_study(first=first, last=last), COMPLETION, now, listening_since=-100) is complete


def test_an_operator_can_force_completion():
    assert is_complete(open_study(first=0, last=0, forced=True), COMPLETION, 0.1, listening_since=-100)


def test_the_time_while_the_node_was_down_does_not_count_as_quiet():
    study = open_study(first=0, last=0)
    assert not is_complete(study, COMPLETION, 59.9, listening_since=50)
    assert is_complete(study, COMPLETION, 60, listening_since=50)


@pytest.mark.fault(60)
@pytest.mark.parametrize(
    ("asked_at", "said", "now", "complete"),
    [
        (None, None, 20, False),
        (12, SILENT, 20, True),
        (12, WHOLE, 20, True),
        (12, LACKING, 20, False),
        (4, WHOLE, 20, False),  # an image has come since: there may be more
        (12, WHOLE, 14, False),  # not quiet yet
        (12, LACKING, 100, True),
        (None, None, 100, True),
    ],
)
def test_a_study_whose_archive_is_asked_waits_for_a_fresh_answer_without_missing_images(asked_at, said, now, complete):
    study = open_study(first=0, last=5, asked_at=asked_at, expectation=said)
    assert is_complete(study, COMPLETION, now, listening_since=-100, is_asked=True) is complete


def test_after_a_restart_the_archive_is_asked_before_a_study_is_closed_that_has_waited_enough():
    unasked, answered = (
        open_study(first=0, last=0, **asked) for asked in ({}, {"asked_at": 501, "expectation": LACKING})
    )
    restart = {"listening_since": 500, "is_asked": True}
    assert not is_complete(unasked, COMPLETION, 501, **restart)
    assert is_to_be_asked(unasked, COMPLETION, 501, listening_since=500)
    assert is_complete(answered, COMPLETION, 502, **restart)
    assert is_complete(unasked, COMPLETION, 530, **restart)


@pytest.mark.parametrize(
    ("asked_at", "said", "last", "now", "asks"),
    [
        (None, None, 5, 14, False),
        (None, None, 5, 15, True),
        (15, WHOLE, 5, 45, False),
        (15, LACKING, 5, 44, False),
        (15, LACKING, 5, 45, True),
        (15, SILENT, 5, 45, False),
        (15, WHOLE, 16, 26, True),  # news, and quiet again
        (15, WHOLE, 16, 25, False),
        (None, None, 49, 50, True),  # never quiet, half of the longest wait
        (50, LACKING, 79, 80, True),
        (51, LACKING, 79, 80, False),
    ],
)
def test_an_archive_is_asked_when_a_study_has_gone_quiet_or_is_soon_closed(asked_at, said, last, now, asks):
    study = open_study(first=0, last=last, asked_at=asked_at, expectation=said)
    assert is_to_be_asked(study, COMPLETION, now, listening_since=-100) is asks
