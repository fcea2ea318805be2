"""What a result says of the versions before it: which it takes the place of, and which stay valid beside it."""

from collections.abc import Iterable, Sequence

from pydicom import Dataset
from pydicom.uid import UID

from dicom_node.values import ResultReference, Study


def describe_version(study: Study) -> str:
    """Say which version of the results this is, and what it does to the earlier ones."""
    if not study.standing:
        return name_version(study)
    valid = "stays" if len(study.standing) == 1 else "stay"
    return f"{name_version(study)}, beside {name_versions(study.standing)}, which {valid} valid"


def name_version(study: Study) -> str:
    """Say it in so few words that they have room on a picture: which version it is, and which it supersedes."""
    superseded = [one.version for one in study.supersedes]
    return f"Version {study.version}" + (f", supersedes {name_versions(superseded)}" if superseded else "")


def list_predecessors(study: Study, source_sop_instance_uid: str, sop_class_uid: UID) -> list[Dataset]:
    """Build references to what is superseded of one SOP class and one source image, "" for the study as a whole."""
    return [
        refer_to_result(one)
        for one in study.supersedes
        if (one.source_sop_instance_uid, one.sop_class_uid) == (source_sop_instance_uid, sop_class_uid)
    ]


def build_predecessor_documents(study: Study, sop_class_uid: UID) -> Dataset | None:
    """Build references to the superseded reports of a class (PS3.3 Table C.17-3); None where there are none."""
    documents = [one for one in study.supersedes if one.sop_class_uid == sop_class_uid]
    return refer_by_series(study, documents) if documents else None


def refer_by_series(study: Study, results: Sequence[ResultReference]) -> Dataset:
    """Build the item of a study with references, series by series (PS3.3 Table C.17-3)."""
    item = Dataset()
    item.StudyInstanceUID = study.study_instance_uid
    item.ReferencedSeriesSequence = []
    for series_instance_uid in dict.fromkeys(one.series_instance_uid for one in results):
        series = Dataset()
        series.SeriesInstanceUID = series_instance_uid
        series.ReferencedSOPSequence = [
            refer_to_result(one) for one in results if one.series_instance_uid == series_instance_uid
        ]
        item.ReferencedSeriesSequence.append(series)
    return item


def refer_to_result(result: ResultReference) -> Dataset:
    """Build a reference to a result (PS3.3 Table 10-11)."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = UID(result.sop_class_uid), UID(result.sop_instance_uid)
    return item


def name_versions(versions: Iterable[int]) -> str:
    """Name versions in ascending order, each once: `versions 1, 2 and 4`."""
    *others, last = (str(version) for version in sorted(set(versions)))
    return f"versions {', '.join(others)} and {last}" if others else f"version {last}"
