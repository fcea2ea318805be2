"""What a result says of the versions before it: which it takes the place of, and which stay valid beside it."""

from collections.abc import Iterable, Sequence

from pydicom import Dataset
from pydicom.uid import UID

from dicom_node.languages import ENGLISH, Language
from dicom_node.values import ResultReference, Study


def describe_version(study: Study, language: Language = ENGLISH) -> str:
    """Say which version of the results this is, and what it does to the earlier ones."""
    if not study.standing:
        return name_version(study, language)
    return language.count(
        "{version}, beside {others}, which stays valid",
        "{version}, beside {others}, which stay valid",
        len(study.standing),
        version=name_version(study, language),
        others=name_versions(study.standing, language),
    )


def name_version(study: Study, language: Language = ENGLISH) -> str:
    """Say it in so few words that they have room on a picture: which version it is, and which it supersedes."""
    superseded = [one.version for one in study.supersedes]
    if not superseded:
        return language.say("Version {number}", number=study.version)
    others = name_versions(superseded, language)
    return language.say("Version {number}, supersedes {others}", number=study.version, others=others)


def _spoken(references: Iterable[ResultReference], language: Language) -> list[ResultReference]:
    """Keep those in a language, and those in none; all of them where there are none in it."""
    every = list(references)
    return [one for one in every if one.language in {"", language.code}] or every


def list_predecessors(
    study: Study, source_sop_instance_uid: str, sop_class_uid: UID, language: Language = ENGLISH
) -> list[Dataset]:
    """Build references to what is superseded of one SOP class and one source image, "" for the study as a whole."""
    key = (source_sop_instance_uid, sop_class_uid)
    same = [one for one in study.supersedes if (one.source_sop_instance_uid, one.sop_class_uid) == key]
    return [refer_to_result(one) for one in _spoken(same, language)]


def build_predecessor_documents(study: Study, sop_class_uid: UID, language: Language = ENGLISH) -> Dataset | None:
    """Build references to the superseded reports of a class (PS3.3 Table C.17-3); None where there are none."""
    documents = _spoken((one for one in study.supersedes if one.sop_class_uid == sop_class_uid), language)
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


def name_versions(versions: Iterable[int], language: Language = ENGLISH) -> str:
    """Name versions in ascending order, each once: `versions 1, 2 and 4`."""
    *others, last = (str(version) for version in sorted(set(versions)))
    if not others:
        return language.say("version {number}", number=last)
    return language.say("versions {numbers} and {last}", numbers=", ".join(others), last=last)
