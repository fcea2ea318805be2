"""A new version of a study without a new image: of one that has a report saying that a rule leaves it out."""

import time

import sqlalchemy as sa

from dicom_node.store.expectations import decode_expectation
from dicom_node.store.records import RevisionState
from dicom_node.store.rows import add_revision, lacks_files, of_revision, to_instance
from dicom_node.store.schema import findings, instances, revision_instances, revisions

_LEFT_OUT_BY_RULE = "Not analysed by rule '"
"""How the reason begins that `result_sets.describe_exclusion` gives."""


def look_again(connection: sa.Connection, study_instance_uid: str) -> set[tuple[str, str]]:
    """Add the next version of a study whose newest one is done and says that a rule leaves it out; return which.

    Its archives have that report already: what the rules of now make of the study supersedes it. None without its
    files.
    """
    newest = (
        sa.select(revisions.c.digest, revisions.c.state, revisions.c.expectation, lacks_files().label("lacks_files"))
        .where(revisions.c.study_instance_uid == study_instance_uid)
        .order_by(revisions.c.version.desc())
        .limit(1)
    )
    row = connection.execute(newest).first()
    if row is None or row.state != RevisionState.DONE or row.lacks_files:
        return set()
    told = (
        *of_revision(findings, study_instance_uid, row.digest),
        findings.c.reason.startswith(_LEFT_OUT_BY_RULE, autoescape=True),
    )
    if connection.execute(sa.select(findings.c.reason).where(*told)).first() is None:
        return set()
    chosen = sa.select(revision_instances.c.sop_instance_uid).where(
        *of_revision(revision_instances, study_instance_uid, row.digest)
    )
    members = connection.execute(sa.select(instances).where(instances.c.sop_instance_uid.in_(chosen))).mappings()
    digest = _name_next(row.digest)
    add_revision(
        connection,
        study_instance_uid,
        digest,
        [to_instance(member) for member in members],
        time.time(),
        expectation=decode_expectation(row.expectation),
    )
    return {(study_instance_uid, digest)}


def _name_next(digest: str) -> str:
    """Name the next look at the same set of images: its digest with -2, then with -3, and so on."""
    images, _, number = digest.partition("-")
    return f"{images}-{int(number or 1) + 1}"
