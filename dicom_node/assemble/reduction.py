"""A header reduced to what says whose image it is, and which: enough to report that it was not analysed."""

from dataclasses import replace

from pydicom import Dataset
from pydicom.tag import Tag

from dicom_node.header import identifier, identifier_bytes, number, texts
from dicom_node.values import Study

_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_IDENTIFIERS = ("PatientID", "IssuerOfPatientID", "AccessionNumber", "StudyID")
"""What archives match by: kept byte for byte."""
_TEXTS = (
    "SpecificCharacterSet", "TimezoneOffsetFromUTC", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate",
    "StudyTime", "ReferringPhysicianName", "StudyDescription",
)  # fmt: skip
_NUMBERS = ("SeriesNumber", "InstanceNumber", "Rows", "Columns")


def reduce_study(study: Study, defect: str) -> Study:
    """Reduce every header of `study` to plain values, with `defect` as the reason not to analyse any of its images."""
    instances = tuple(
        replace(instance, header=reduce_header(instance.header), defect=instance.defect or defect)
        for instance in study.instances
    )
    return replace(study, instances=instances)


def reduce_header(header: Dataset, *, of_patient: Dataset | None = None) -> Dataset:
    """Reduce a header to plain values; patient and study are those of `of_patient` where it is given."""
    identity = header if of_patient is None else of_patient
    reduced = Dataset()
    for source, keywords in ((header, (*_UIDS, "Modality")), (identity, _TEXTS)):
        for keyword in keywords:
            if values := texts(source, keyword):
                setattr(reduced, keyword, values[0] if len(values) == 1 else values)
    for keyword in _NUMBERS:
        if (value := number(header, keyword)) is not None:
            setattr(reduced, keyword, int(value))
    for keyword in _IDENTIFIERS:
        _keep_identifier(reduced, identity, keyword)
    return reduced


def _keep_identifier(reduced: Dataset, source: Dataset, keyword: str) -> None:
    if identifier_bytes(source, keyword) is not None:
        reduced[Tag(keyword)] = source.get_item(keyword)  # not converted: it is the bytes that are wanted
    elif value := identifier(source, keyword):
        setattr(reduced, keyword, value)
