from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest
from pydicom import Dataset, dcmread
from pydicom.config import disable_value_validation

from dicom_node.query.listing import is_older, list_images, list_recent_studies

OLDEST = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


def build_study(date, time="", zone=""):
    return to_raw(build_match(StudyDate=date, StudyTime=time, TimezoneOffsetFromUTC=zone))


def to_raw(ds):
    """Return a data set as it comes from the network: not converted."""
    with BytesIO() as buffer:
        ds.save_as(buffer, implicit_vr=False, little_endian=True)
        buffer.seek(0)
        return dcmread(buffer, force=True)


@pytest.mark.parametrize(
    ("date", "time", "zone", "older"),
    [
        ("20260310", "1200", "", False),
        ("20260309", "2200", "", False),  # ten hours earlier by a clock in UTC, but not by one that is 14 hours behind
        ("20260309", "220000.123", "", False),
        ("20260309", "2159", "", True),  # wherever the clock stands
        ("20260309", "", "", False),  # it may have been late in the day
        ("20260308", "", "", True),
        ("20260310", "1200", "+0000", False),
        ("20260310", "1159", "+0000", True),
        ("20260310", "2059", "+0900", True),
        ("20260310", "2100", "+0900", False),
        ("20260310", "0600", "-0600", False),
        ("20260310", "0559", "-0600", True),
        ("2026.03.08", "10:00", "", True),  # as ACR-NEMA wrote it
        ("yesterday", "1200", "", False),
        ("20261399", "1200", "", False),
        ("", "", "", False),
    ],
)
def test_a_study_is_too_old_only_where_it_is_so_in_every_time_zone(date, time, zone, older):
    assert is_older(build_study(date, time, zone), OLDEST) is older


class Answers:
    """A session with an archive whose answers are given."""

    def __init__(self, **matches):
        self.matches, self.asked = matches, []

    def find(self, level, **keys):
        self.asked.append((level, keys))
        return [to_raw(match) for match in self.matches.get(level, [])]


def build_match(**attributes):
    ds = Dataset()
    with disable_value_validation():  # archives send what they like
        for keyword, value in attributes.items():
            setattr(ds, keyword, value)
    return ds


@pytest.mark.parametrize(
    ("now", "dates"),
    [
        (datetime(2026, 3, 10, 0, 5, tzinfo=UTC), "20260308-20260311"),
        (datetime(2026, 3, 10, 23, 55, tzinfo=UTC), "20260308-20260311"),
        (datetime(2026, 1, 1, 0, 0, tzinfo=UTC), "20251230-20260102"),
    ],
)
def test_the_archive_is_asked_for_a_day_more_on_either_side(now, dates):
    session = Answers()
    list_recent_studies(session, hours=24, modalities=("CR", "DX"), now=now.timestamp())
    assert [(level, keys["StudyDate"]) for level, keys in session.asked] == [("STUDY", dates)] * 2
    assert [keys["ModalitiesInStudy"] for _, keys in session.asked] == ["CR", "DX"]


def test_studies_come_oldest_first_and_once_however_many_modalities_they_have():
    now = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
    matches = [
        build_match(StudyInstanceUID=f"1.2.{hour}", StudyDate="20260310", StudyTime=f"{hour:02}00") for hour in (9, 7)
    ]
    matches[0].NumberOfStudyRelatedInstances = 4
    found = list_recent_studies(Answers(STUDY=matches), hours=24, modalities=("CR", "DX"), now=now.timestamp())
    assert [(study.study_instance_uid, study.related_instances) for study in found] == [("1.2.7", None), ("1.2.9", 4)]


def test_a_study_that_began_in_the_future_of_this_clock_is_looked_at():
    now = datetime(2026, 3, 10, 22, 0, tzinfo=UTC)
    tomorrow = now + timedelta(hours=9)
    match = build_match(StudyInstanceUID="1.2", StudyDate=f"{tomorrow:%Y%m%d}", StudyTime=f"{tomorrow:%H%M}")
    assert list_recent_studies(Answers(STUDY=[match]), hours=1, modalities=("DX",), now=now.timestamp())


def test_matches_of_another_study_are_not_counted():
    series = [build_match(StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1", Modality="DX") for uid in ("1.2", "1.3")]
    images = [
        build_match(StudyInstanceUID=uid, SOPInstanceUID=f"{uid}.1.1", InstanceNumber=1)
        for uid in ("1.2", "1.3", "1.4")
    ]
    session = Answers(SERIES=series, IMAGE=images)
    assert [one.sop_instance_uid for one in list_images(session, "1.2", modalities=("DX",))] == ["1.2.1.1"]
    assert len(session.asked) == 2


def test_images_are_counted_where_the_archive_says_neither_sop_class_nor_numbers():
    series = [build_match(SeriesInstanceUID="1.2.1", Modality="dx")]
    images = [build_match(SOPInstanceUID="1.2.1.1"), build_match(SOPInstanceUID="1.2.1.2", InstanceNumber="2")]
    found = list_images(Answers(SERIES=series, IMAGE=images), "1.2", modalities=("DX",))
    assert [(one.series_number, one.instance_number, one.modality) for one in found] == [
        (None, None, "DX"),
        (None, 2, "DX"),
    ]
