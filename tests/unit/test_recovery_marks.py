"""Searches for files without a row that overlap, or are killed."""

from contextlib import suppress

from dicom_node.recovery_marks import RecoveryMarks


def test_a_mark_is_set_while_a_search_is_under_way_and_for_every_process(tmp_path):
    marks = RecoveryMarks(tmp_path)
    assert not marks.is_any_set
    with marks.searching():
        assert RecoveryMarks(tmp_path).is_any_set
    assert not marks.is_any_set


def test_the_next_search_that_is_through_removes_the_mark_of_one_that_was_not_and_of_one_that_was_due(tmp_path):
    marks = RecoveryMarks(tmp_path)
    marks.set_one()
    with suppress(KeyboardInterrupt), marks.searching():
        raise KeyboardInterrupt
    assert marks.is_any_set
    with marks.searching():
        pass
    assert not marks.is_any_set


def test_of_two_searches_at_once_the_later_one_counts(tmp_path):
    marks = RecoveryMarks(tmp_path)
    earlier, later = marks.searching(), marks.searching()
    earlier.__enter__()
    later.__enter__()
    earlier.__exit__(None, None, None)
    assert marks.is_any_set
    later.__exit__(None, None, None)
    assert not marks.is_any_set


def test_an_earlier_search_holds_nothing_up_when_a_later_one_is_through(tmp_path):
    marks = RecoveryMarks(tmp_path)
    with marks.searching():
        with marks.searching():
            pass
        assert not marks.is_any_set
    assert not marks.is_any_set
