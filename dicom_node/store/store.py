"""One method for each thing the stages ask or say."""

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace

import sqlalchemy as sa

from dicom_node.store.alert_store import AlertStore
from dicom_node.store.archive_store import ArchiveStore
from dicom_node.store.arrivals import add_instance
from dicom_node.store.deliveries import plan_deliveries
from dicom_node.store.delivery_store import DeliveryStore
from dicom_node.store.expectations import decode_expectation, list_open_studies
from dicom_node.store.gauge_store import GaugeStore
from dicom_node.store.records import (
    Admission,
    EarlierVersion,
    Finding,
    ImageStatistic,
    InstanceRole,
    OpenStudy,
    Profile,
    ReceivedInstance,
    Revision,
    RevisionState,
    RevisionStatus,
    StoredResult,
    UnmadeRevision,
)
from dicom_node.store.retention_store import RetentionStore
from dicom_node.store.rows import (
    add_event,
    add_revision,
    close_study,
    find_instance,
    find_open_study,
    find_revision,
    find_superseding,
    list_earlier,
    list_received,
    list_results,
    of_revision,
    set_state,
    to_instance,
    to_revision_status,
)
from dicom_node.store.schema import (
    deliveries,
    dispatches,
    findings,
    instances,
    results,
    retrievals,
    revision_instances,
    revisions,
    studies,
)
from dicom_node.store.statistics_rows import note_made
from dicom_node.store.statistics_store import StatisticsStore
from dicom_node.store.worklist import WorklistStore
from inference.phrases import Phrase

_TIMES_OF_TRIES = (
    dispatches.c.next_try_at,
    retrievals.c.next_try_at,
    deliveries.c.sent_at,
    deliveries.c.asked_at,
    revisions.c.changed_at,
)


def revision_digest(sop_instance_uids: Iterable[str]) -> str:
    """Digest of a set of SOP Instance UIDs: the name of a study's state."""
    return hashlib.sha256("\n".join(sorted(sop_instance_uids)).encode()).hexdigest()[:32]


class Store(DeliveryStore, ArchiveStore, RetentionStore, GaugeStore, AlertStore, StatisticsStore, WorklistStore):
    """The state of the node. Safe to use from several threads and processes."""

    # Receive

    def add_instances(self, rows: Sequence[ReceivedInstance]) -> list[Admission]:
        """Record received instances in one durable transaction; tell for each whether it is new."""
        with self._writing() as connection:
            return [add_instance(connection, row) for row in rows]

    def find_instance(self, sop_instance_uid: str) -> ReceivedInstance | None:
        """Return the row of an instance, or None where it was never received."""
        with self._reading() as connection:
            return find_instance(connection, sop_instance_uid)

    def is_result(self, sop_instance_uid: str, series_instance_uid: str) -> bool:
        """Tell whether this node has made an object or a series of that UID."""
        query = sa.select(results.c.sop_instance_uid).where(
            sa.or_(results.c.sop_instance_uid == sop_instance_uid, results.c.series_instance_uid == series_instance_uid)
        )
        with self._reading() as connection:
            return connection.execute(query).first() is not None

    # Assemble

    def open_studies(self) -> list[OpenStudy]:
        """List the studies with instances that belong to no revision yet."""
        with self._reading() as connection:
            return list_open_studies(connection)

    def follow_clock(self, step_s: float, now: float, within_s: float) -> None:
        """Move the times of open studies, and of what is tried again, after the wall clock was set by `step_s`.

        It is `now` by the new time, and was set no longer ago than `within_s`: what has come since needs no moving.
        Nor does what would lie ahead then: it was noted before the start of a machine whose clock began in the past.
        What is tried again is not put off by a clock that was set back; earlier than meant does no harm.
        """
        with self._writing() as connection:
            for column in (studies.c.first_open_at, studies.c.last_received_at, studies.c.asked_at):
                came_since = column.between(now - within_s - 1, now)
                would_be_ahead = sa.and_(column + step_s > now, column <= now)
                where = (studies.c.first_open_at.is_not(None), column.is_not(None), ~came_since, ~would_be_ahead)
                connection.execute(studies.update().where(*where).values({column.name: column + step_s}))
            for column in _TIMES_OF_TRIES if step_s < 0 else ():
                ahead = sa.update(column.table).where(column > now)
                connection.execute(ahead.values({column.name: column + step_s}))

    def leave_future(self, now: float, *, tries_within_s: float, fetches_within_s: float) -> None:
        """Let nothing wait for a time that a clock which was ahead has noted; to be asked when the worker starts.

        It was set right while no worker followed it. Tries and fetches are meant for no later than these seconds ahead.
        """
        limits = {dispatches.c.next_try_at: now + tries_within_s, retrievals.c.next_try_at: now + fetches_within_s}
        ahead: dict[sa.Column[float], float | None] = {studies.c.asked_at: None}  # when it was, nobody knows: once more
        ahead |= dict.fromkeys((studies.c.first_open_at, studies.c.last_received_at, *_TIMES_OF_TRIES), now)
        with self._writing() as connection:
            for column, value in ahead.items():
                where = column > limits.get(column, now)
                connection.execute(sa.update(column.table).where(where), {column.name: value})

    def force_completion(self, study_instance_uid: str) -> bool:
        """Let an open study count as complete at the next sweep; False where it is not open."""
        where = sa.and_(studies.c.study_instance_uid == study_instance_uid, studies.c.first_open_at.is_not(None))
        with self._writing() as connection:
            found = connection.execute(studies.update().where(where), {"forced": True}).rowcount > 0
            if found:
                add_event(connection, study_instance_uid, Phrase("completion forced by an operator"))
            return found

    def close_revision(self, study_instance_uid: str, now: float, *, seen: OpenStudy | None = None) -> None:
        """Turn what was received of a study into its next revision; nothing happens where that state is known.

        A revision is named after its images; after all its instances where none is an image. With `seen`, nothing
        happens either where an instance has arrived since the study was looked at.
        """
        with self._writing() as connection:
            if seen is not None and find_open_study(connection, study_instance_uid) != seen:
                return
            received = [
                row for row in list_received(connection, study_instance_uid) if row.role != InstanceRole.OWN_RESULT
            ]
            images = [row for row in received if row.role == InstanceRole.IMAGE] or received
            digest = revision_digest(row.sop_instance_uid for row in images)
            known = find_open_study(connection, study_instance_uid)
            close_study(connection, study_instance_uid)
            if images and find_revision(connection, study_instance_uid, digest) is None:
                expectation = known.expectation if known else None
                add_revision(connection, study_instance_uid, digest, received, now, expectation=expectation)

    # Workflow

    def unmade_revisions(self) -> list[UnmadeRevision]:
        """List the revisions without results yet, oldest first."""
        columns = [revisions.c[name] for name in UnmadeRevision.__dataclass_fields__]
        states = (RevisionState.QUEUED, RevisionState.ANALYSING)
        query = sa.select(*columns).where(revisions.c.state.in_(states)).order_by(revisions.c.created_at)
        with self._reading() as connection:
            return [UnmadeRevision(**row) for row in connection.execute(query).mappings()]

    def begin_attempt(self, unmade: UnmadeRevision) -> UnmadeRevision:
        """Begin a new attempt at a revision whose last one ended without results."""
        again = replace(unmade, attempt=unmade.attempt + 1, changed_at=time.time())
        values = {"attempt": again.attempt, "changed_at": again.changed_at}
        where = of_revision(revisions, unmade.study_instance_uid, unmade.digest)
        with self._writing() as connection:
            connection.execute(revisions.update().where(*where), values)
            what = Phrase("revision {digest}: attempt {number}", digest=unmade.digest, number=again.attempt)
            add_event(connection, unmade.study_instance_uid, what)
        return again

    def revision(self, study_instance_uid: str, digest: str) -> Revision:
        """Return a revision with its instances; KeyError where there is none."""
        chosen = sa.select(revision_instances.c.sop_instance_uid).where(
            revision_instances.c.study_instance_uid == study_instance_uid, revision_instances.c.digest == digest
        )
        query = sa.select(instances).where(instances.c.sop_instance_uid.in_(chosen))
        with self._reading() as connection:
            row = find_revision(connection, study_instance_uid, digest)
            if row is None:
                raise KeyError(digest)
            members = tuple(to_instance(member) for member in connection.execute(query).mappings())
        return Revision(
            study_instance_uid=study_instance_uid,
            digest=digest,
            version=row["version"],
            created_at=row["created_at"],
            state=RevisionState(row["state"]),
            instances=members,
            expectation=decode_expectation(row["expectation"]),
        )

    def set_revision_state(
        self, study_instance_uid: str, digest: str, state: RevisionState, *, reason: str = ""
    ) -> None:
        """Record how far a revision has come, and why, in words without patient data."""
        with self._writing() as connection:
            set_state(connection, study_instance_uid, digest, state, reason)

    def earlier_versions(self, study_instance_uid: str, digest: str) -> tuple[EarlierVersion, ...]:
        """List the versions before a revision that have results and that none in between has superseded, newest first.

        One in between that could not analyse what another had answered has left it in sight, and so has not superseded
        it. A version with an image that the revision lacks, since retention removed its file, stays valid beside it.
        """
        with self._reading() as connection:
            return list_earlier(connection, study_instance_uid, digest)

    def superseding_version(self, study_instance_uid: str, digest: str) -> int | None:
        """Return the newest later version that has results and all images of a revision without any; else None.

        It was made while the revision had failed. Results that came after it would be taken for the newest.
        """
        with self._reading() as connection:
            if list_results(connection, study_instance_uid, digest):
                return None
            return find_superseding(connection, study_instance_uid, digest)

    def add_results(
        self,
        study_instance_uid: str,
        digest: str,
        encoded: Sequence[StoredResult],
        said: Sequence[Finding],
        destinations: Sequence[str],
        *,
        measured: Sequence[ImageStatistic] = (),
        wanted: Mapping[str, Profile] | None = None,
    ) -> None:
        """Record encoded results, what was said, and one pending delivery for each object and destination.

        `wanted` has what of them each destination gets; None: all get all. Saying it twice changes nothing:
        deliveries that have begun keep their state.
        """
        key = {"study_instance_uid": study_instance_uid, "digest": digest}
        with self._writing() as connection:
            known = {row.sop_instance_uid for row in list_results(connection, study_instance_uid, digest)}
            new = [row for row in encoded if row.sop_instance_uid not in known]
            for position, row in enumerate(new):
                connection.execute(results.insert(), {**asdict(row), **key, "position": position})
            for destination in destinations:
                everything = [row.sop_instance_uid for row in new]
                uids = everything if wanted is None else wanted[destination].choose(new)
                plan_deliveries(connection, key, uids, [destination])
            connection.execute(findings.delete().where(*of_revision(findings, study_instance_uid, digest)))
            for finding in said:
                connection.execute(findings.insert(), {**asdict(finding), **key})
            note_made(connection, key, measured)

    def results_of(self, study_instance_uid: str, digest: str) -> tuple[StoredResult, ...]:
        """Return the result objects of a revision in the order they were encoded."""
        with self._reading() as connection:
            return list_results(connection, study_instance_uid, digest)

    # Operate

    def status(self, limit: int) -> list[RevisionStatus]:
        """Return the newest revisions with what became of them."""
        query = (
            sa.select(revisions, studies.c.last_received_at)
            .join(studies, studies.c.study_instance_uid == revisions.c.study_instance_uid)
            .order_by(revisions.c.created_at.desc())
            .limit(limit)
        )
        with self._reading() as connection:
            return [to_revision_status(connection, row) for row in connection.execute(query).mappings().all()]

    def add_event(self, study_instance_uid: str, what: str) -> None:
        """Record what an operator should know of a study, in words without patient data."""
        with self._writing() as connection:
            add_event(connection, study_instance_uid, what)
