"""What highdicom's constructors read of a source, and what they write that is ours to say.

They copy patient and study from the source and fail where an element is missing or wrong: they are given an instance
that says nothing of either, and both are added afterwards, as for every other result.
"""

from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node.encode import provenance
from dicom_node.encode.identification import (
    PATIENT_TYPE_2,
    STUDY_TYPE_2,
    add_patient_module,
    add_study_modules,
    read_text,
)
from dicom_node.encode.provenance import Origin
from dicom_node.header import number
from dicom_node.values import Instance, ResultKind


def build_evidence(origin: Origin, instance: Instance) -> Dataset:
    """Build an instance with the identity of a source and the size of its picture, and nothing of its patient."""
    ds = Dataset()
    for keyword in (*PATIENT_TYPE_2, *STUDY_TYPE_2):
        setattr(ds, keyword, None if keyword in {"StudyDate", "StudyTime", "PatientBirthDate"} else "")
    ds.StudyInstanceUID = origin.analysis.study.study_instance_uid
    ds.SeriesInstanceUID = read_text(instance.header, "SeriesInstanceUID")
    ds.SOPClassUID, ds.SOPInstanceUID = instance.sop_class_uid, instance.sop_instance_uid
    ds.Rows, ds.Columns = (int(number(instance.header, keyword) or 0) for keyword in ("Rows", "Columns"))
    ds.SamplesPerPixel = int(number(instance.header, "SamplesPerPixel") or 1)
    return ds


def describe_result(ds: Dataset, origin: Origin, header: Dataset, kind: ResultKind, description: str) -> None:
    """Write patient, study, series, and equipment over what a constructor has written; patient is of `header`."""
    add_patient_module(ds, header)
    add_study_modules(ds, header, origin.analysis.study.study_instance_uid)
    provenance.add_general_series(ds, origin, kind, description)
    provenance.add_general_equipment(ds, origin)
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
