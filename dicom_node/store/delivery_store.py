"""One method for each thing delivery asks or says."""

import time

import sqlalchemy as sa

from dicom_node.store.database import Database
from dicom_node.store.deliveries import count_try, list_due, list_settled, reopen_refused
from dicom_node.store.records import DeliveryState, DueDelivery, RevisionState, StoredResult
from dicom_node.store.rows import add_event, list_results, of_revision, set_state
from dicom_node.store.schema import deliveries, revisions


class DeliveryStore(Database):
    """What the destinations lack, and what became of every attempt to give it to them."""

    def due_deliveries(self, now: float) -> list[DueDelivery]:
        """List the destinations that lack results and whose next try is due; `now` is Unix time in seconds."""
        with self._reading() as connection:
            return list_due(connection, now)

    def begin_try(self, due: DueDelivery, next_try_at: float) -> DueDelivery:
        """Count one more try, and say when the one after it is due."""
        with self._writing() as connection:
            return count_try(connection, due, next_try_at)

    def pending_results(self, study_instance_uid: str, digest: str, destination: str) -> tuple[StoredResult, ...]:
        """Return the result objects of a revision that a destination neither has nor has refused."""
        query = sa.select(deliveries.c.sop_instance_uid).where(
            *of_revision(deliveries, study_instance_uid, digest),
            deliveries.c.destination == destination,
            deliveries.c.state == DeliveryState.PENDING,
        )
        with self._reading() as connection:
            pending = set(connection.execute(query).scalars())
            encoded = list_results(connection, study_instance_uid, digest)
        return tuple(row for row in encoded if row.sop_instance_uid in pending)

    def record_delivery(self, destination: str, sop_instance_uid: str, state: DeliveryState, detail: str) -> None:
        """Record one attempt to deliver one object and what came of it."""
        where = (deliveries.c.destination == destination, deliveries.c.sop_instance_uid == sop_instance_uid)
        values = {"state": state, "detail": detail, "changed_at": time.time(), "attempts": deliveries.c.attempts + 1}
        with self._writing() as connection:
            connection.execute(deliveries.update().where(*where).values(values))

    def finish_delivered(self) -> None:
        """Settle the revisions for which no destination waits any more: done, or failed where one refused some."""
        with self._writing() as connection:
            for study_instance_uid, digest, refused in list_settled(connection):
                state, reason = RevisionState.DONE, ""
                if refused:
                    state = RevisionState.FAILED
                    reason = "a destination refused results; mend it, then `dicom-node retry`"
                set_state(connection, study_instance_uid, digest, state, reason)

    def retry(self, study_instance_uid: str) -> int:
        """Try again what has failed or was refused of a study; return how many of its revisions that concerns."""
        failed = (revisions.c.study_instance_uid == study_instance_uid, revisions.c.state == RevisionState.FAILED)
        with self._writing() as connection:
            refused = reopen_refused(connection, study_instance_uid)
            unmade = set(connection.execute(sa.select(revisions.c.digest).where(*failed)).scalars())
            for digest in refused | unmade:
                made = bool(list_results(connection, study_instance_uid, digest))
                state = RevisionState.DELIVERING if made else RevisionState.QUEUED
                set_state(connection, study_instance_uid, digest, state, "")
                add_event(connection, study_instance_uid, f"revision {digest}: retried by an operator")
        return len(refused | unmade)
