"""One method for each thing delivery asks or says."""

import time
from collections.abc import Collection

import sqlalchemy as sa

from dicom_node.storage_commitment import CommitmentReport
from dicom_node.store.database import Database
from dicom_node.store.deliveries import OPEN, UNSENT, count_try, list_due, list_settled, put_off, reopen_parked
from dicom_node.store.later_proof import has_unproven, reopen_unproven
from dicom_node.store.looking_again import look_again
from dicom_node.store.proofs import (
    begin_transaction,
    change_state,
    end_transaction,
    find_delivery,
    list_alarms,
    list_unproven,
    note_loss,
    of_delivery,
    take_report,
)
from dicom_node.store.records import Alarm, DeliveryState, DueDelivery, RevisionState, StoredResult, UnprovenResult
from dicom_node.store.rejection import is_held, release_notes, settle_held_notes
from dicom_node.store.rows import add_event, is_note, lacks_files, list_results, of_revision, set_state
from dicom_node.store.schema import deliveries, results, revisions
from dicom_node.store.statistics_rows import note_delivered
from dicom_node.store.superseding import leave_out_superseded
from dicom_node.values import ResultKind
from inference.phrases import Phrase

_HAS_RESULTS = sa.exists().where(
    results.c.study_instance_uid == revisions.c.study_instance_uid, results.c.digest == revisions.c.digest
)
PARKED = Phrase("results are parked; mend what their destination complains of, then `dicom-node retry`")
"""Why a revision has failed whose results a destination does not take."""


class DeliveryStore(Database):
    """What the destinations lack, and what became of every attempt to give it to them."""

    def due_deliveries(self, now: float) -> list[DueDelivery]:
        """List the destinations that lack results and whose next try is due; `now` is Unix time in seconds."""
        with self._reading() as connection:
            return list_due(connection, now)

    def begin_try(self, due: DueDelivery, next_try_at: float) -> DueDelivery | None:
        """Count one more try, and say when the one after it is due; None where somebody has begun this one already."""
        with self._writing() as connection:
            return count_try(connection, due, next_try_at)

    def pending_results(
        self, study_instance_uid: str, digest: str, destination: str, *, is_believed: bool = False
    ) -> tuple[StoredResult, ...]:
        """Return the result objects of a revision that are to be sent to a destination.

        A rejection note is among them once the results of its revision are proven to be there; where the destination
        `is_believed`, once it has answered Success.
        """
        query = sa.select(deliveries.c.sop_instance_uid).where(
            *of_revision(deliveries, study_instance_uid, digest),
            deliveries.c.destination == destination,
            deliveries.c.state == DeliveryState.PENDING,
        )
        with self._reading() as connection:
            pending = set(connection.execute(query).scalars())
            encoded = list_results(connection, study_instance_uid, digest)
            held = is_held(connection, study_instance_uid, digest, destination, is_believed=is_believed)
        return tuple(
            row
            for row in encoded
            if row.sop_instance_uid in pending and not (held and row.kind == ResultKind.REJECTION_NOTE)
        )

    def taken_results(self, study_instance_uid: str, destination: str) -> frozenset[str]:
        """Return the SOP Instance UIDs of what a destination has taken of a study, of all its versions."""
        query = sa.select(deliveries.c.sop_instance_uid).where(
            deliveries.c.study_instance_uid == study_instance_uid,
            deliveries.c.destination == destination,
            deliveries.c.sent_at.is_not(None),
        )
        with self._reading() as connection:
            return frozenset(connection.execute(query).scalars())

    def record_delivery(self, destination: str, sop_instance_uid: str, state: DeliveryState, detail: str) -> None:
        """Record one attempt to send one object and what came of it; the detail of a success is a warning.

        For a rejection note Success is proof enough: an archive that heeds it may hide it with what it rejects.
        """
        values: dict[str, float | str | None] = {**UNSENT}
        if state is DeliveryState.SENT:
            values |= {"sent_at": time.time(), "warning": detail}
            detail = ""
        with self._writing() as connection:
            row = find_delivery(connection, destination, sop_instance_uid)
            if row is None:
                return
            if state is DeliveryState.SENT and connection.execute(sa.select(is_note(sop_instance_uid))).scalar():
                state = DeliveryState.DELIVERED
            change_state(connection, row, state, detail, {**values, "attempts": row["attempts"] + 1})

    def park_open(self, due: DueDelivery, detail: str) -> None:
        """Park whatever of a revision a destination is still to be sent or to prove."""
        query = sa.select(deliveries).where(
            *of_revision(deliveries, due.study_instance_uid, due.digest),
            deliveries.c.destination == due.destination,
            deliveries.c.state.in_(OPEN),
        )
        with self._writing() as connection:
            for row in connection.execute(query).mappings().all():
                change_state(connection, row, DeliveryState.PARKED, detail, {"attempts": row["attempts"] + 1})

    def put_off(self, due: DueDelivery, until: float) -> None:
        """Let the next try wait until then, unless a report has made it due meanwhile."""
        with self._writing() as connection:
            put_off(connection, due, until)

    # Prove

    def unproven_results(self, study_instance_uid: str, digest: str, destination: str) -> tuple[UnprovenResult, ...]:
        """Return the result objects of a revision that a destination was sent and that are not proven to be there."""
        with self._reading() as connection:
            return list_unproven(connection, study_instance_uid, digest, destination)

    def begin_transaction(self, transaction_uid: str, due: DueDelivery, sop_instance_uids: Collection[str]) -> None:
        """Record a storage commitment transaction; to be done before its request is sent."""
        key = {"study_instance_uid": due.study_instance_uid, "digest": due.digest, "destination": due.destination}
        with self._writing() as connection:
            begin_transaction(connection, transaction_uid, key, sop_instance_uids)

    def end_transaction(self, transaction_uid: str) -> None:
        """Wait no longer for the report of a transaction; one that comes nevertheless is taken."""
        with self._writing() as connection:
            end_transaction(connection, transaction_uid)

    def is_open_transaction(self, transaction_uid: str) -> bool:
        """Tell whether the report of a transaction is waited for."""
        query = sa.select(deliveries.c.sop_instance_uid).where(deliveries.c.transaction_uid == transaction_uid)
        with self._reading() as connection:
            return connection.execute(query).first() is not None

    def take_report(self, destinations: Collection[str], report: CommitmentReport) -> bool:
        """Record a storage commitment report; False where none of these destinations was asked in that transaction."""
        with self._writing() as connection:
            return take_report(connection, destinations, report)

    def record_verified(self, destination: str, sop_instance_uid: str) -> None:
        """Record that C-FIND has found an object in the right study of the right patient."""
        with self._writing() as connection:
            where = of_delivery(destination, sop_instance_uid)
            connection.execute(deliveries.update().where(*where), {"verified_at": time.time()})

    def count_silence(self, destination: str, sop_instance_uid: str) -> int:
        """Count one more search for an object that was not answered at all; return how many there were."""
        with self._writing() as connection:
            where = of_delivery(destination, sop_instance_uid)
            connection.execute(deliveries.update().where(*where).values(silences=deliveries.c.silences + 1))
            return connection.execute(sa.select(deliveries.c.silences).where(*where)).scalar() or 0

    def record_loss(self, destination: str, sop_instance_uid: str, detail: str) -> None:
        """Record that an archive does not have what it answered Success for: it is sent once more, then parked."""
        with self._writing() as connection:
            row = find_delivery(connection, destination, sop_instance_uid)
            if row is not None:
                note_loss(connection, row, detail)

    def settle(self, destination: str, sop_instance_uid: str, state: DeliveryState, detail: str) -> None:
        """Record that an object is delivered or parked; nothing happens where it is to be sent again."""
        with self._writing() as connection:
            row = find_delivery(connection, destination, sop_instance_uid)
            if row is not None and row["state"] == DeliveryState.SENT:
                change_state(connection, row, state, detail)

    def finish_delivered(self, *, believed: Collection[str] = ()) -> None:
        """Settle the revisions for which nothing is open any more: done, or failed where results are parked.

        What a later version has taken the place of, and rejection notes, are settled first; `believed` are the names
        of the destinations whose Success is proof enough for that.
        """
        with self._writing() as connection:
            leave_out_superseded(connection, believed)
            settle_held_notes(connection, believed)
            for study_instance_uid, digest, parked in list_settled(connection):
                state, reason = (RevisionState.FAILED, PARKED) if parked else (RevisionState.DONE, "")
                if not parked:
                    note_delivered(connection, study_instance_uid, digest)
                set_state(connection, study_instance_uid, digest, state, reason)

    def has_unproven(self, destination: str) -> bool:
        """Tell whether a destination took results that it could not prove, and whose files are kept for that."""
        with self._reading() as connection:
            return has_unproven(connection, destination)

    def reopen_unproven(self, destination: str) -> int:
        """Have some of those proven now, the newest first; return of how many revisions."""
        with self._writing() as connection:
            return reopen_unproven(connection, destination)

    def release_notes(self, *, believed: Collection[str] = ()) -> None:
        """Let the rejection notes go that were left out for want of a proof that has come since."""
        with self._writing() as connection:
            release_notes(connection, believed)

    # Operate

    def alarms(self) -> tuple[Alarm, ...]:
        """List what is parked, by destination and reason."""
        with self._reading() as connection:
            return list_alarms(connection)

    def retry(self, study_instance_uid: str | None, destination: str | None = None) -> int:
        """Try again what has failed or is parked; return how many revisions that concerns.

        Of every study and destination where None. With a destination, what failed before it had results stays. What a
        rule has excluded is looked at again, by the rules of now, where its study is named; not without its files. If
        its archives have a report that says so, that makes a new version, which supersedes it.
        """
        failed = [revisions.c.state == RevisionState.FAILED]
        if study_instance_uid is not None:
            again_if = (RevisionState.FAILED, RevisionState.EXCLUDED)
            failed = [revisions.c.state.in_(again_if), revisions.c.study_instance_uid == study_instance_uid]
        with self._writing() as connection:
            again = reopen_parked(connection, study_instance_uid, destination)
            columns = (revisions.c.study_instance_uid, revisions.c.digest)
            query = sa.select(*columns).where(*failed, ~_HAS_RESULTS, ~lacks_files())
            unmade = connection.execute(query).all() if destination is None else []
            for study, digest in again:
                set_state(connection, study, digest, RevisionState.DELIVERING, "")
            for study, digest in unmade:
                set_state(connection, study, digest, RevisionState.QUEUED, "")
            again |= {(study, digest) for study, digest in unmade}
            if not again and study_instance_uid is not None and destination is None:
                again = look_again(connection, study_instance_uid)
            for study, digest in again:
                add_event(connection, study, Phrase("revision {digest}: retried by an operator", digest=digest))
        return len(again)
