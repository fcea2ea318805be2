"""One method for each thing retention asks or says: what may go, what has gone, what is forgotten."""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from dicom_node.store.database import Database
from dicom_node.store.proven import count_unproven, is_proven
from dicom_node.store.records import (
    SETTLED,
    DeliveryState,
    InstanceRole,
    RemovableStudy,
    UndeliveredResult,
    UnprovenFiles,
)
from dicom_node.store.schema import (
    deliveries,
    events,
    instances,
    revision_instances,
    revisions,
    studies,
    transactions,
)


class RetentionStore(Database):
    """Which files may be removed, and which have been. Rows of studies stay: they say what was analysed and sent."""

    def removable_studies(self, before: float, *, believed: Collection[str] = ()) -> list[RemovableStudy]:
        """List the studies whose files may go: finished since `before`, Unix time in seconds; oldest first.

        `believed` are the names of the destinations whose Success is proof enough.
        """
        query = _select_removable(before, believed).order_by(sa.func.max(instances.c.received_at))
        with self._reading() as connection:
            return [RemovableStudy(**row) for row in connection.execute(query).mappings()]

    @contextmanager
    def removal(
        self, study_instance_uid: str, before: float, *, believed: Collection[str] = ()
    ) -> Iterator[tuple[str, ...] | None]:
        """Hand over the paths, relative to the spool, of a study's files to remove; on leaving, note them as removed.

        None where the study may no longer be removed. The files go inside the transaction: an instance that comes again
        meanwhile waits for it, and then finds itself removed. After a crash in between the files are gone and the rows
        say nothing of it; the next removal catches up.
        """
        chosen = _select_removable(before, believed).where(instances.c.study_instance_uid == study_instance_uid)
        kept = (instances.c.study_instance_uid == study_instance_uid, instances.c.removed_at.is_(None))
        with self._writing() as connection:
            if connection.execute(chosen).first() is None:
                yield None
                return
            rows = connection.execute(sa.select(instances.c.sop_instance_uid, instances.c.path).where(*kept)).all()
            yield tuple(row.path for row in rows)
            gone = instances.c.sop_instance_uid == sa.bindparam("uid")
            connection.execute(
                instances.update().where(gone).values(removed_at=time.time()),
                [{"uid": row.sop_instance_uid} for row in rows],
            )

    def unproven_files(self, *, believed: Collection[str] = ()) -> list[UnprovenFiles]:
        """Count the studies whose files are kept because a destination cannot prove that it has their results."""
        with self._reading() as connection:
            return count_unproven(connection, believed)

    def studies_of(self, sop_instance_uids: Collection[str]) -> set[str]:
        """Return the studies that these instances belong to."""
        query = sa.select(instances.c.study_instance_uid).where(instances.c.sop_instance_uid == sa.bindparam("uid"))
        with self._reading() as connection:
            found = (connection.execute(query, {"uid": uid}).scalar() for uid in sop_instance_uids)
            return {study for study in found if study is not None}

    def forget_records(self, before: float) -> int:
        """Delete events, and storage commitment transactions, older than `before`, Unix time in seconds; count them."""
        with self._writing() as connection:
            told = connection.execute(events.delete().where(events.c.at < before)).rowcount
            return told + connection.execute(transactions.delete().where(transactions.c.asked_at < before)).rowcount

    def oldest_undelivered(self) -> UndeliveredResult | None:
        """Return what has waited longest for a destination to provably have it; None where nothing does."""
        same = [revisions.c[name] == deliveries.c[name] for name in ("study_instance_uid", "digest")]
        query = (
            sa.select(
                deliveries.c.study_instance_uid, deliveries.c.destination, deliveries.c.state, revisions.c.created_at
            )
            .join(revisions, sa.and_(*same))
            .where(deliveries.c.state.not_in(SETTLED))
            .order_by(revisions.c.created_at)
            .limit(1)
        )
        with self._reading() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else UndeliveredResult(**{**row, "state": DeliveryState(row["state"])})


def _select_removable(before: float, believed: Collection[str]) -> sa.Select[tuple[str, int, int]]:
    """Select the studies with files that were finished before a time, with number and size of the files.

    Finished: nothing waits for a revision, every image is part of one, every revision is proven, and nothing of it all
    has changed since. Results that came back alone, in a study that holds nothing else, need no revision.
    """
    study = instances.c.study_instance_uid
    member = sa.exists().where(
        revision_instances.c.study_instance_uid == study,
        revision_instances.c.sop_instance_uid == instances.c.sop_instance_uid,
    )
    unanalysed = sa.case((sa.and_(instances.c.role == InstanceRole.IMAGE, ~member), 1), else_=0)
    is_open = sa.exists().where(studies.c.study_instance_uid == study, studies.c.first_open_at.is_not(None))
    # A report of storage commitment may come late, and prove what was settled long ago.
    changes = (revisions.c.changed_at, deliveries.c.changed_at, deliveries.c.committed_at)
    recent = [sa.exists().where(at.table.c.study_instance_uid == study, at >= before) for at in changes]
    columns = (
        study,
        sa.func.count().label("files"),
        sa.func.sum(instances.c.size).label("size"),
    )
    return (
        sa.select(*columns)
        .where(instances.c.removed_at.is_(None), ~is_open, is_proven(study, believed), *(~some for some in recent))
        .group_by(study)
        .having(sa.func.max(instances.c.received_at) < before, sa.func.max(unanalysed) == 0)
    )
