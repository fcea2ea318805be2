"""From the rows of a revision to a study with its headers.

An instance whose file is missing or altered stays part of the study, with its defect.
"""

from dataclasses import replace
from pathlib import Path

from pydicom import DataElement, Dataset
from pydicom.tag import Tag

from dicom_node.assemble.file_header import read_header
from dicom_node.assemble.reduction import reduce_header
from dicom_node.durable import hash_data_set
from dicom_node.errors import FILE_DAMAGED
from dicom_node.header import number
from dicom_node.store import InstanceRole, ReceivedInstance, Revision
from dicom_node.values import Instance, Study
from inference.phrases import Phrase

ALTERED = Phrase("The stored file is not what was received.")


def read_instance(path: Path) -> Instance:
    """Read the header of a Part 10 file, without its pixel data; OSError where there is none to read."""
    return Instance(path=path, header=read_header(path))


def read_study(revision: Revision, spool_dir: Path, *, check_files: bool = True) -> Study:
    """Read the headers of all instances of a revision, and check that their files are what was received."""
    instances = [_read_received(row, spool_dir / row.path, check=check_files) for row in revision.instances]
    sound = next((instance.header for instance in instances if not instance.defect), None)
    # A file that is not what was received may name anyone: the patient is the one that the others name.
    instances = [
        replace(one, header=reduce_header(one.header, of_patient=sound)) if one.defect else one for one in instances
    ]
    return Study(
        study_instance_uid=revision.study_instance_uid,
        revision=revision.digest,
        version=revision.version,
        created_at=revision.created,
        instances=tuple(sorted(instances, key=reading_order)),
        expectation=revision.expectation,
    )


def reading_order(instance: Instance) -> tuple[float, float, str]:
    """Order of a study's images for a reader: series, then instance number; the UID settles ties."""
    header = instance.header
    return number(header, "SeriesNumber") or 0, number(header, "InstanceNumber") or 0, instance.sop_instance_uid


def _read_received(row: ReceivedInstance, path: Path, *, check: bool) -> Instance:
    header, defect = Dataset(), ""
    try:
        header = read_header(path)
        defect = "" if not check or hash_data_set(path)[0] == row.sha256 else ALTERED
    except OSError:
        defect = FILE_DAMAGED
    checked = {
        "SOPClassUID": row.sop_class_uid,
        "SOPInstanceUID": row.sop_instance_uid,
        "StudyInstanceUID": row.study_instance_uid,
        "SeriesInstanceUID": row.series_instance_uid,
    }
    for keyword, uid in checked.items():
        # As they were checked on arrival; the file's own element is replaced, for it may not even convert.
        header.add(DataElement(Tag(keyword), "UI", uid))
    return Instance(path=path, header=header, defect=defect, names_revision=row.role == InstanceRole.IMAGE)
