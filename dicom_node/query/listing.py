"""What an archive holds: the studies of the last hours, and the images of one study.

Values are read as they were sent, without conversion: an archive may answer with anything, names included, and nothing
of that must end in an exception's text or a warning.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydicom import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
)

from dicom_node.header import identifier_bytes
from dicom_node.identity import MANUFACTURER, is_result_uid
from dicom_node.query.session import QuerySession
from dicom_node.secondary_capture import GREY_CLASSES
from dicom_node.values import ListedImage

_UID = re.compile(r"[0-9.]{1,64}")
_IMAGES = frozenset(
    {
        ComputedRadiographyImageStorage,
        DigitalXRayImageStorageForPresentation,
        DigitalXRayImageStorageForProcessing,
        *GREY_CLASSES,
    }
)
"""SOP classes that this node takes as images; reports, presentation states and the like do not count."""
_ANY_ZONE = timedelta(hours=14)
"""Study dates and times name no time zone: a clock that is right somewhere differs from UTC by so much at most."""


@dataclass(frozen=True, kw_only=True)
class ListedStudy:
    """A study that an archive lists."""

    study_instance_uid: str
    related_instances: int | None
    """How many instances it has, results included; None where the archive does not say."""


def list_images(
    session: QuerySession, study_instance_uid: str, *, modalities: Collection[str], own_series: Collection[str] = ()
) -> list[ListedImage]:
    """List the images of a study in series of these modalities; results of this software are not among them.

    They are known by their UIDs, by their manufacturer, where the archive says it, or as the `own_series` of this node.

    Raises
    ------
    QueryError
        There is no complete answer.
    """
    study = {"StudyInstanceUID": study_instance_uid}
    images: dict[str, ListedImage] = {}
    every_series = session.find("SERIES", **study, SeriesInstanceUID="", Modality="", SeriesNumber="", Manufacturer="")
    for series in every_series:
        uid = _read(series, "SeriesInstanceUID")
        is_own = uid in own_series or is_result_uid(uid) or _read(series, "Manufacturer") == MANUFACTURER
        if is_own or not _is_of(series, study_instance_uid):
            continue
        if _read(series, "Modality").upper() not in modalities or not _UID.fullmatch(uid):
            continue
        for match in session.find(
            "IMAGE", **study, SeriesInstanceUID=uid, SOPInstanceUID="", SOPClassUID="", InstanceNumber=""
        ):
            if _is_image(match) and _is_of(match, study_instance_uid):
                image = _to_image(match, series, uid)
                images[image.sop_instance_uid] = image
    return list(images.values())


def list_recent_studies(
    session: QuerySession, *, hours: float, modalities: Collection[str], now: float
) -> list[ListedStudy]:
    """List the studies that began in the last hours, oldest first; `now` is Unix time in seconds.

    DICOM's study dates and times are those of some clock without a zone. So the archive is asked for a day more on
    either side, and only what is too old wherever that clock stands is left out.

    Raises
    ------
    QueryError
        There is no complete answer.
    """
    clock = datetime.fromtimestamp(now, UTC)
    oldest, day = clock - timedelta(hours=hours), timedelta(days=1)
    dates = f"{oldest - day:%Y%m%d}-{clock + day:%Y%m%d}"
    found: dict[str, tuple[str, ListedStudy]] = {}
    # One question for each: matching several values at once is no part of every archive (PS3.4 C.2.2.2).
    for modality in modalities:
        for match in session.find(
            "STUDY",
            ModalitiesInStudy=modality,
            StudyDate=dates,
            StudyTime="",
            TimezoneOffsetFromUTC="",
            StudyInstanceUID="",
            NumberOfStudyRelatedInstances="",
        ):
            uid = _read(match, "StudyInstanceUID")
            if _UID.fullmatch(uid) and not is_older(match, oldest):
                related = _read_number(match, "NumberOfStudyRelatedInstances")
                began = _read(match, "StudyDate") + _read(match, "StudyTime")
                found[uid] = began, ListedStudy(study_instance_uid=uid, related_instances=related)
    return [study for _, study in sorted(found.values(), key=lambda one: (one[0], one[1].study_instance_uid))]


def is_older(match: Dataset, oldest: datetime) -> bool:
    """Tell whether a study began before `oldest` (aware) whatever the time zone of its clock, where it names none."""
    date = re.match(r"(\d{4})\.?(\d{2})\.?(\d{2})", _read(match, "StudyDate"))
    if date is None:
        return False
    time = re.match(r"(\d{2}):?(\d{2})", _read(match, "StudyTime"))
    # Without a time, or with an hour alone, it may have begun as late as the day ends.
    hour, minute = (int(time[1]), int(time[2])) if time else (23, 59)
    try:
        began = datetime(int(date[1]), int(date[2]), int(date[3]), hour, minute, 59, tzinfo=UTC)
    except ValueError:
        return False
    offset = re.fullmatch(r"([+-])(\d{2})(\d{2})", _read(match, "TimezoneOffsetFromUTC"))
    if offset is None:
        return began + _ANY_ZONE < oldest
    zone = timedelta(hours=int(offset[2]), minutes=int(offset[3])) * (-1 if offset[1] == "-" else 1)
    return began - zone < oldest


def _is_of(match: Dataset, study_instance_uid: str) -> bool:
    """Tell whether a match is of the study that was asked for: an archive may overlook the key."""
    return _read(match, "StudyInstanceUID") in {study_instance_uid, ""}


def _is_image(match: Dataset) -> bool:
    uid = _read(match, "SOPInstanceUID")
    sop_class = _read(match, "SOPClassUID")  # an optional key (PS3.4 Table C.6-4): not every archive returns it
    return bool(_UID.fullmatch(uid)) and not is_result_uid(uid) and (not sop_class or sop_class in _IMAGES)


def _to_image(match: Dataset, series: Dataset, series_instance_uid: str) -> ListedImage:
    return ListedImage(
        sop_instance_uid=_read(match, "SOPInstanceUID"),
        series_instance_uid=series_instance_uid,
        modality=_read(series, "Modality").upper(),
        series_number=_read_number(series, "SeriesNumber"),
        instance_number=_read_number(match, "InstanceNumber"),
    )


def _read(ds: Dataset, keyword: str) -> str:
    return (identifier_bytes(ds, keyword) or b"").decode("ascii", "replace").strip(" \0")


def _read_number(ds: Dataset, keyword: str) -> int | None:
    """Read an integer string (PS3.5 6.2, VR IS), of no more digits than a database's integer takes."""
    text = _read(ds, keyword)
    return int(text) if re.fullmatch(r"[+-]?\d{1,9}", text) else None
