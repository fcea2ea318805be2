"""Rows read and written on a connection: what the store's methods are made of."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict

import sqlalchemy as sa

from dicom_node.store.deliveries import list_objects, to_destination_status
from dicom_node.store.expectations import decode_expectation, describe_expectation, list_open_studies
from dicom_node.store.records import (
    EarlierVersion,
    Finding,
    InstanceRole,
    OpenStudy,
    ReceivedInstance,
    RevisionState,
    RevisionStatus,
    StoredResult,
)
from dicom_node.store.schema import (
    deliveries,
    events,
    findings,
    instances,
    results,
    revision_instances,
    revisions,
    studies,
)
from dicom_node.values import Expectation, ResultKind
from inference.phrases import Phrase


def of_revision(table: sa.Table, study_instance_uid: str, digest: str) -> tuple[sa.ColumnElement[bool], ...]:
    """Choose the rows of a table that belong to a revision."""
    return table.c.study_instance_uid == study_instance_uid, table.c.digest == digest


def is_note(sop_instance_uid: sa.ColumnElement[str] | str) -> sa.Exists:
    """Tell whether a result is a rejection note."""
    return sa.exists().where(
        results.c.sop_instance_uid == sop_instance_uid, results.c.kind == ResultKind.REJECTION_NOTE
    )


def lacks_files() -> sa.Exists:
    """Tell of a row of `revisions` whether retention has removed files of it: received ones, and its results."""
    return sa.exists().where(
        revision_instances.c.study_instance_uid == revisions.c.study_instance_uid,
        revision_instances.c.digest == revisions.c.digest,
        instances.c.sop_instance_uid == revision_instances.c.sop_instance_uid,
        instances.c.removed_at.is_not(None),
    )


def set_state(
    connection: sa.Connection, study_instance_uid: str, digest: str, state: RevisionState, reason: str
) -> None:
    """Set how far a revision has come, and note it as an event."""
    values = {"state": state, "reason": str(reason), "changed_at": time.time()}
    connection.execute(revisions.update().where(*of_revision(revisions, study_instance_uid, digest)), values)
    what = Phrase("revision {digest}: {state}", digest=digest, state=state)
    if reason:
        what = Phrase("revision {digest}: {state}: {reason}", digest=digest, state=state, reason=reason)
    add_event(connection, study_instance_uid, what)


def deliver_again(connection: sa.Connection, revisions_of: Iterable[tuple[str, str]]) -> None:
    """Note of revisions, (study, digest), that were done or had failed that something of them is open again."""
    for study_instance_uid, digest in revisions_of:
        row = find_revision(connection, study_instance_uid, digest)
        if row is not None and row["state"] in {RevisionState.DONE, RevisionState.FAILED}:
            set_state(connection, study_instance_uid, digest, RevisionState.DELIVERING, "")


def find_open_study(connection: sa.Connection, study_instance_uid: str) -> OpenStudy | None:
    """Return a study that has instances in no revision; None where it has none."""
    return next(iter(list_open_studies(connection, studies.c.study_instance_uid == study_instance_uid)), None)


def add_event(connection: sa.Connection, study_instance_uid: str, what: str) -> None:
    """Note what happened to a study."""
    values = {"study_instance_uid": study_instance_uid, "what": str(what), "at": time.time()}
    connection.execute(events.insert(), values)


def find_instance(connection: sa.Connection, sop_instance_uid: str) -> ReceivedInstance | None:
    """Return the row of an instance; None where it was never received."""
    query = sa.select(instances).where(instances.c.sop_instance_uid == sop_instance_uid)
    row = connection.execute(query).mappings().first()
    return None if row is None else to_instance(row)


def to_instance(row: sa.RowMapping) -> ReceivedInstance:
    """Make a value of a row."""
    return ReceivedInstance(**{**row, "role": InstanceRole(row["role"])})


def list_received(connection: sa.Connection, study_instance_uid: str) -> list[ReceivedInstance]:
    """List the instances received of a study whose files are kept."""
    query = sa.select(instances).where(
        instances.c.study_instance_uid == study_instance_uid, instances.c.removed_at.is_(None)
    )
    return [to_instance(row) for row in connection.execute(query).mappings()]


def close_study(connection: sa.Connection, study_instance_uid: str) -> None:
    """Note that every instance of a study belongs to a revision."""
    where = studies.c.study_instance_uid == study_instance_uid
    values = {"first_open_at": None, "forced": False, "asked_at": None, "listing": None}
    connection.execute(studies.update().where(where), values)


def find_revision(connection: sa.Connection, study_instance_uid: str, digest: str) -> sa.RowMapping | None:
    """Return the row of a revision; None where there is none."""
    query = sa.select(revisions).where(*of_revision(revisions, study_instance_uid, digest))
    return connection.execute(query).mappings().first()


def add_revision(
    connection: sa.Connection,
    study_instance_uid: str,
    digest: str,
    members: Sequence[ReceivedInstance],
    now: float,
    *,
    expectation: Expectation | None = None,
) -> None:
    """Add the next version of a study, made of these instances."""
    newest = sa.select(sa.func.max(revisions.c.version)).where(revisions.c.study_instance_uid == study_instance_uid)
    version = (connection.execute(newest).scalar() or 0) + 1
    key = {"study_instance_uid": study_instance_uid, "digest": digest}
    times = {"created_at": now, "changed_at": now}
    said = None if expectation is None else asdict(expectation)
    row = {**key, **times, "version": version, "state": RevisionState.QUEUED, "expectation": said}
    connection.execute(revisions.insert(), row)
    for member in members:
        connection.execute(revision_instances.insert(), {**key, "sop_instance_uid": member.sop_instance_uid})
    what = Phrase(
        "revision {digest}: version {version}, {number} instances", digest=digest, version=version, number=len(members)
    )
    if expectation:
        what = Phrase("{first}; {second}", first=what, second=describe_expectation(expectation))
    add_event(connection, study_instance_uid, what)


def list_results(connection: sa.Connection, study_instance_uid: str, digest: str) -> tuple[StoredResult, ...]:
    """Return the result objects of a revision in the order they were encoded."""
    columns = [results.c[name] for name in StoredResult.__dataclass_fields__]
    query = sa.select(*columns).where(*of_revision(results, study_instance_uid, digest)).order_by(results.c.position)
    return tuple(StoredResult(**row) for row in connection.execute(query).mappings())


def list_earlier(connection: sa.Connection, study_instance_uid: str, digest: str) -> tuple[EarlierVersion, ...]:
    """List what stood before a revision: see `Store.earlier_versions`."""
    row = find_revision(connection, study_instance_uid, digest)
    if row is None:
        raise KeyError(digest)
    images = list_images(connection, study_instance_uid, digest)
    query = (
        sa.select(revisions.c.digest, revisions.c.version)
        .where(revisions.c.study_instance_uid == study_instance_uid, revisions.c.version < row["version"])
        .order_by(revisions.c.version.desc())
    )
    earlier: list[EarlierVersion] = []
    later: list[tuple[set[str], set[str]]] = []
    for before, version in connection.execute(query).all():
        made = list_results(connection, study_instance_uid, before)
        shown, answered = list_images(connection, study_instance_uid, before), list_answered(made)
        if made and not any(shown <= others and answered <= answers for others, answers in later):
            earlier.append(EarlierVersion(version=version, superseded=shown <= images, results=made))
            later.append((shown, answered))
    return tuple(earlier)


def find_superseding(connection: sa.Connection, study_instance_uid: str, digest: str) -> int | None:
    """Find the newest later version that has results and all images of a revision: see `Store.superseding_version`."""
    of_study = sa.select(revisions.c.digest, revisions.c.version).where(
        revisions.c.study_instance_uid == study_instance_uid
    )
    versions = {row.digest: row.version for row in connection.execute(of_study)}
    images = list_images(connection, study_instance_uid, digest)
    later = (
        version
        for other, version in versions.items()
        if version > versions[digest]
        and list_results(connection, study_instance_uid, other)
        and images <= list_images(connection, study_instance_uid, other)
    )
    return max(later, default=None)


def list_answered(made: Iterable[StoredResult]) -> set[str]:
    """Return the SOP Instance UIDs of the images that results answer, each with a picture of its own."""
    return {row.source_sop_instance_uid for row in made if row.source_sop_instance_uid}


def list_images(connection: sa.Connection, study_instance_uid: str, digest: str) -> set[str]:
    """Return the SOP Instance UIDs of a revision's images."""
    query = (
        sa.select(instances.c.sop_instance_uid)
        .join(revision_instances, revision_instances.c.sop_instance_uid == instances.c.sop_instance_uid)
        .where(*of_revision(revision_instances, study_instance_uid, digest), instances.c.role == InstanceRole.IMAGE)
    )
    return set(connection.execute(query).scalars())


def to_revision_status(connection: sa.Connection, row: sa.RowMapping) -> RevisionStatus:
    """Gather what an operator wants to know about the revision of a row."""
    key = (row["study_instance_uid"], row["digest"])
    columns = [findings.c[name] for name in Finding.__dataclass_fields__]
    said = connection.execute(sa.select(*columns).where(*of_revision(findings, *key))).mappings()
    sent = connection.execute(sa.select(deliveries).where(*of_revision(deliveries, *key))).mappings().all()
    made = list_results(connection, *key)
    images = sa.select(sa.func.count()).select_from(revision_instances).where(*of_revision(revision_instances, *key))
    return RevisionStatus(
        study_instance_uid=row["study_instance_uid"],
        digest=row["digest"],
        version=row["version"],
        state=RevisionState(row["state"]),
        reason=row["reason"],
        created_at=row["created_at"],
        changed_at=row["changed_at"],
        last_received_at=row["last_received_at"],
        images=connection.execute(images).scalar_one(),
        findings=tuple(Finding(**finding) for finding in said),
        destinations=tuple(to_destination_status(name, sent) for name in sorted({one["destination"] for one in sent})),
        expectation=decode_expectation(row["expectation"]),
        objects=list_objects(sent, made),
    )
