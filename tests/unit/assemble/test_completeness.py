import pytest

from dicom_node.assemble.completeness import is_complete
from dicom_node.settings import CompletionSettings
from dicom_node.store import OpenStudy

COMPLETION = CompletionSettings(quiet_s=10, max_wait_s=100)


def open_study(*, first, last, forced=False):
    return OpenStudy(study_instance_uid="1.2", first_open_at=first, last_received_at=last, forced=forced)


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
