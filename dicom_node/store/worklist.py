"""One method for each thing the pages ask about studies: few statements, however many studies there are."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from dicom_node.store.database import Database
from dicom_node.store.deliveries import plan_deliveries, to_destination_status
from dicom_node.store.expectations import compare, decode_expectation
from dicom_node.store.records import (
    DestinationStatus,
    Finding,
    InstanceRole,
    Profile,
    ReceivedInstance,
    RevisionState,
)
from dicom_node.store.rows import add_event, lacks_files, list_results, of_revision, set_state, to_instance
from dicom_node.store.schema import deliveries, events, findings, instances, results, revisions, studies
from dicom_node.store.worklist_query import (
    RECEIVING,
    WorklistQuery,
    has_failed,
    list_conditions,
    select_shown,
    select_studies,
)
from dicom_node.values import Expectation
from inference.phrases import Phrase


@dataclass(frozen=True, kw_only=True)
class WorklistEntry:
    """A study as it stands: its newest version, or none yet."""

    study_instance_uid: str
    state: str
    digest: str
    """Of the newest version; empty where there is none."""
    version: int
    """Of the newest version; 0 where there is none."""
    reason: str
    arrived_at: float
    """When its first image came; its first instance where none is an image."""
    last_received_at: float
    changed_at: float
    """When the newest version last changed its state, or the last instance came."""
    result_s: float | None
    """From the last image of the newest version to its results; None where it has none."""
    images: int
    """Images received."""
    expectation: Expectation | None
    """What an archive said that the study has; None where none was asked."""
    findings: tuple[Finding, ...]
    destinations: tuple[DestinationStatus, ...]


@dataclass(frozen=True, kw_only=True)
class Event:
    """What happened to a study."""

    at: float
    """Unix time in seconds."""
    what: str


class WorklistStore(Database):
    """What the pages show of studies."""

    def worklist(self, query: WorklistQuery) -> tuple[list[WorklistEntry], int]:
        """List studies, those with a failure first, then those that changed last; and how many there are in all."""
        chosen = select_studies()
        conditions = list_conditions(query, chosen)
        # A condition as a value is slow in SQLite; in PostgreSQL it comes first where it is unknown, without a version.
        others = sa.case((has_failed(chosen), 0), else_=1)
        order = (others, chosen.c.latest_at.desc(), chosen.c.study_instance_uid)
        # Those of the page are found by what they are ordered by; only of them is all that is shown read.
        uid = chosen.c.study_instance_uid
        # Where all studies are shown the table knows how many; else they are counted in the same pass.
        total = (
            sa.func.count().over() if conditions else sa.select(sa.func.count()).select_from(studies).scalar_subquery()
        )
        wanted = sa.select(uid, total).where(*conditions).order_by(*order).limit(query.limit).offset(query.offset)
        with self._reading() as connection:
            found = connection.execute(wanted).all()
            places = {row[0]: place for place, row in enumerate(found)}
            rows = connection.execute(select_shown(chosen).where(uid.in_(places))).mappings().all()
            entries = _to_entries(connection, sorted(rows, key=lambda row: places[row["study_instance_uid"]]))
            return entries, found[0][1] if found else 0

    def find_study(self, study_instance_uid: str) -> WorklistEntry | None:
        """Return a study as it stands; None where nothing of it was ever received."""
        chosen = select_studies()
        query = select_shown(chosen).where(chosen.c.study_instance_uid == study_instance_uid)
        with self._reading() as connection:
            entries = _to_entries(connection, connection.execute(query).mappings().all())
        return entries[0] if entries else None

    def instances_of(self, study_instance_uid: str) -> list[ReceivedInstance]:
        """List what was received of a study, in the order of its arrival."""
        query = sa.select(instances).where(instances.c.study_instance_uid == study_instance_uid)
        with self._reading() as connection:
            rows = connection.execute(query.order_by(instances.c.received_at)).mappings()
            return [to_instance(row) for row in rows]

    def events_of(self, study_instance_uid: str) -> list[Event]:
        """List what happened to a study, oldest first."""
        query = sa.select(events.c.at, events.c.what).where(events.c.study_instance_uid == study_instance_uid)
        with self._reading() as connection:
            return [Event(**row) for row in connection.execute(query.order_by(events.c.at, events.c.id)).mappings()]

    def first_files(self, uids: Collection[str] | None = None) -> dict[str, str]:
        """Return the path, relative to the spool, of one image of each study (of these, or all) that has files."""
        query = sa.select(instances.c.study_instance_uid, sa.func.min(instances.c.path)).where(
            instances.c.removed_at.is_(None), instances.c.role == InstanceRole.IMAGE
        )
        if uids is not None:
            query = query.where(instances.c.study_instance_uid.in_(uids))
        with self._reading() as connection:
            return {row[0]: row[1] for row in connection.execute(query.group_by(instances.c.study_instance_uid))}

    def send(self, study_instance_uid: str, destination: str, profile: Profile | None = None) -> int:
        """Let a destination get the results of a study's newest version that it was never to get; return how many.

        `profile` is what of them it gets; None: all. Results whose files retention has removed are sent nowhere.
        """
        newest = (
            sa.select(revisions.c.digest, lacks_files().label("lacks_files"))
            .where(revisions.c.study_instance_uid == study_instance_uid)
            .where(sa.exists().where(*_same_revision(results)))
            .order_by(revisions.c.version.desc())
        )
        with self._writing() as connection:
            row = connection.execute(newest.limit(1)).first()
            if row is None or row.lacks_files:
                return 0
            digest = row.digest
            mine = (*of_revision(deliveries, study_instance_uid, digest), deliveries.c.destination == destination)
            known = set(connection.execute(sa.select(deliveries.c.sop_instance_uid).where(*mine)).scalars())
            made = list_results(connection, study_instance_uid, digest)
            wanted = [row.sop_instance_uid for row in made] if profile is None else profile.choose(made)
            lacking = [uid for uid in wanted if uid not in known]
            if lacking:
                key = {"study_instance_uid": study_instance_uid, "digest": digest}
                plan_deliveries(connection, key, lacking, [destination])
                set_state(connection, study_instance_uid, digest, RevisionState.DELIVERING, "")
                what = Phrase(
                    "revision {digest}: sent to {destination} by an operator", digest=digest, destination=destination
                )
                add_event(connection, study_instance_uid, what)
            return len(lacking)


def _same_revision(table: sa.Table) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.study_instance_uid == revisions.c.study_instance_uid, table.c.digest == revisions.c.digest


def _to_entries(connection: sa.Connection, rows: Sequence[sa.RowMapping]) -> list[WorklistEntry]:
    """Gather what belongs to the studies of some rows, with one statement for each kind."""
    uids = [row["study_instance_uid"] for row in rows]
    received = _list_received(connection, uids)
    said = _group(connection, findings, uids)
    sent = _group(connection, deliveries, uids)
    return [_to_entry(row, received.get(row["study_instance_uid"], {}), said, sent) for row in rows]


def _to_entry(
    row: sa.RowMapping,
    received: Mapping[str, tuple[str, float]],
    said: Mapping[tuple[str, str], Sequence[sa.RowMapping]],
    sent: Mapping[tuple[str, str], Sequence[sa.RowMapping]],
) -> WorklistEntry:
    key = (row["study_instance_uid"], row["digest"] or "")
    delivered = sent.get(key, ())
    images = [at for role, at in received.values() if role == InstanceRole.IMAGE]
    return WorklistEntry(
        study_instance_uid=row["study_instance_uid"],
        state=row["state"] or RECEIVING,
        digest=row["digest"] or "",
        version=row["version"] or 0,
        reason=row["reason"] or "",
        arrived_at=min(images or [at for _, at in received.values()], default=row["last_received_at"]),
        last_received_at=row["last_received_at"],
        changed_at=row["latest_at"],
        result_s=row["result_s"],
        images=len(images),
        expectation=compare(row["listing"], received) or decode_expectation(row["expectation"]),
        findings=tuple(
            Finding(**{name: one[name] for name in Finding.__dataclass_fields__}) for one in said.get(key, ())
        ),
        destinations=tuple(
            to_destination_status(name, delivered) for name in sorted({one["destination"] for one in delivered})
        ),
    )


def _list_received(connection: sa.Connection, uids: Collection[str]) -> dict[str, dict[str, tuple[str, float]]]:
    """List what was received of each study: role and time of each instance, by its UID."""
    columns = (instances.c.study_instance_uid, instances.c.sop_instance_uid, instances.c.role, instances.c.received_at)
    found: dict[str, dict[str, tuple[str, float]]] = {}
    for study, uid, role, at in connection.execute(sa.select(*columns).where(columns[0].in_(uids))):
        found.setdefault(study, {})[uid] = (role, at)
    return found


def _group(
    connection: sa.Connection, table: sa.Table, uids: Collection[str]
) -> dict[tuple[str, str], list[sa.RowMapping]]:
    grouped: dict[tuple[str, str], list[sa.RowMapping]] = {}
    for row in connection.execute(sa.select(table).where(table.c.study_instance_uid.in_(uids))).mappings():
        grouped.setdefault((row["study_instance_uid"], row["digest"]), []).append(row)
    return grouped
