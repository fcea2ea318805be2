from dataclasses import replace

import pytest

from dicom_node.alerts.alerting import plan
from dicom_node.alerts.conditions import Condition, Kind
from dicom_node.settings import AlertSettings

SETTINGS = AlertSettings(repeat_hours=24, settle_s=300)
HOUR = 3600
DISK = Condition(kind=Kind.DISK, says="100 MB of the disk are free")
ARCHIVE = Condition(kind=Kind.BEHIND, subject="archive", says="archive: 2 results wait", since=50.0)


def run(steps, settings=SETTINGS):
    """Walk through (time, conditions), and return what is told at each step."""
    known, told = {}, []
    for now, conditions in steps:
        todo = plan(known, conditions, now, settings)
        for row in (*todo.noticed, *todo.told):
            known[row.key] = row
        for key in todo.over:
            del known[key]
        told.append([(str(one.event), one.kind) for one in todo.news])
    return told


def test_an_alert_is_raised_once():
    assert run([(0, [DISK]), (60, [DISK]), (120, [DISK])]) == [[("raised", "disk")], [], []]


def test_it_is_repeated_after_its_hours_and_no_sooner():
    told = run([(0, [DISK]), (24 * HOUR - 1, [DISK]), (24 * HOUR, [DISK]), (25 * HOUR, [DISK]), (48 * HOUR, [DISK])])
    assert told == [[("raised", "disk")], [], [("repeated", "disk")], [], [("repeated", "disk")]]


def test_with_no_hours_it_is_never_repeated():
    never = SETTINGS.model_copy(update={"repeat_hours": 0})
    assert run([(0, [DISK]), (1000 * HOUR, [DISK])], never) == [[("raised", "disk")], []]


def test_its_end_is_told_once_all_has_been_well_for_a_while():
    told = run([(0, [DISK]), (60, []), (359, []), (360, []), (420, [])])
    assert told == [[("raised", "disk")], [], [], [("over", "disk")], []]


def test_what_flickers_is_one_alert():
    told = run([(0, [DISK]), (60, []), (300, [DISK]), (360, []), (500, [DISK]), (510, [])])
    assert told == [[("raised", "disk")], [], [], [], [], []]


def test_after_its_end_it_may_be_raised_again():
    assert run([(0, [DISK]), (60, []), (400, []), (500, [DISK])])[-1] == [("raised", "disk")]


def test_two_destinations_are_two_alerts_and_one_message():
    other = replace(ARCHIVE, subject="backup")
    assert run([(100, [ARCHIVE, other]), (160, [ARCHIVE, other])]) == [[("raised", "destination behind")] * 2, []]


@pytest.mark.parametrize("count", [2, 3])
def test_a_change_of_the_count_is_no_new_alert(count):
    more = replace(ARCHIVE, says=f"archive: {count} results wait")
    assert run([(100, [ARCHIVE]), (160, [more])])[1] == []


def test_since_is_when_it_began_and_not_when_it_was_noticed():
    (news,) = plan({}, [ARCHIVE], 100.0, SETTINGS).news
    assert news.since == 50.0
