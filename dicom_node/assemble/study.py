"""From the rows of a revision to a study with its headers."""

from pathlib import Path

from pydicom import dcmread

from dicom_node.store import Revision
from dicom_node.values import Instance, ResultReference, Study


def read_instance(path: Path) -> Instance:
    """Read the header of a Part 10 file, without its pixel data."""
    return Instance(path=path, header=dcmread(path, stop_before_pixels=True, force=True))


def read_study(revision: Revision, spool_dir: Path, *, supersedes: tuple[ResultReference, ...] = ()) -> Study:
    """Read the headers of all instances of a revision."""
    instances = [read_instance(spool_dir / row.path) for row in revision.instances]
    return Study(
        study_instance_uid=revision.study_instance_uid,
        revision=revision.digest,
        version=revision.version,
        created_at=revision.created,
        instances=tuple(sorted(instances, key=reading_order)),
        supersedes=supersedes,
    )


def reading_order(instance: Instance) -> tuple[int, int, str]:
    """Order of a study's images for a reader: series, then instance number; the UID settles ties."""
    return (
        _number(instance.header.get("SeriesNumber")),
        _number(instance.header.get("InstanceNumber")),
        instance.sop_instance_uid,
    )


def _number(value: object) -> int:
    """Integer of an IS element, 0 where it is missing or not a number."""
    try:
        return int(str(value))
    except ValueError:
        return 0
