"""What proves that a destination keeps what it was sent: rows read and written on a connection."""

import time
from collections.abc import Collection, Mapping

import sqlalchemy as sa

from dicom_node.storage_commitment import CommitmentReport
from dicom_node.store.deliveries import UNSENT
from dicom_node.store.records import Alarm, DeliveryState, UnprovenResult
from dicom_node.store.rows import add_event, of_revision
from dicom_node.store.schema import deliveries, dispatches, results, transactions
from inference.phrases import Phrase

MOST_LOSSES = 2
"""What an archive has lost is sent again; what it has lost so often is parked."""


def of_delivery(destination: str, sop_instance_uid: str) -> tuple[sa.ColumnElement[bool], ...]:
    """Choose the row of one object on its way to one destination."""
    return deliveries.c.destination == destination, deliveries.c.sop_instance_uid == sop_instance_uid


def list_unproven(
    connection: sa.Connection, study_instance_uid: str, digest: str, destination: str
) -> tuple[UnprovenResult, ...]:
    """List what was sent of a revision and is not proven, in the order it was encoded."""
    of_result = {"sop_class_uid", "series_instance_uid", "path"}
    columns = [(results if name in of_result else deliveries).c[name] for name in UnprovenResult.__dataclass_fields__]
    query = (
        sa.select(*columns)
        .join(results, results.c.sop_instance_uid == deliveries.c.sop_instance_uid)
        .where(*of_revision(deliveries, study_instance_uid, digest), deliveries.c.destination == destination)
        .where(deliveries.c.state == DeliveryState.SENT)
        .order_by(results.c.position)
    )
    return tuple(UnprovenResult(**row) for row in connection.execute(query).mappings())


def begin_transaction(
    connection: sa.Connection,
    transaction_uid: str,
    key: dict[str, str],
    sop_instance_uids: Collection[str],
) -> None:
    """Note a storage commitment transaction before its request is sent; `key` names revision and destination."""
    now = time.time()
    connection.execute(transactions.insert(), {**key, "transaction_uid": transaction_uid, "asked_at": now})
    for uid in sop_instance_uids:
        values = {"transaction_uid": transaction_uid, "asked_at": now, "asks": deliveries.c.asks + 1}
        connection.execute(deliveries.update().where(*of_delivery(key["destination"], uid)).values(values))


def end_transaction(connection: sa.Connection, transaction_uid: str) -> None:
    """Wait no longer for the report of a transaction."""
    where = deliveries.c.transaction_uid == transaction_uid
    connection.execute(deliveries.update().where(where), {"transaction_uid": None})


def take_report(connection: sa.Connection, destinations: Collection[str], report: CommitmentReport) -> bool:
    """Record what an archive reports of a transaction; False where none of its destinations was asked in that one."""
    query = sa.select(transactions).where(
        transactions.c.transaction_uid == report.transaction_uid, transactions.c.destination.in_(destinations)
    )
    asked = connection.execute(query).mappings().first()
    if asked is None:
        return False
    key = (asked["study_instance_uid"], asked["digest"])
    mine = (*of_revision(deliveries, *key), deliveries.c.destination == asked["destination"])
    for row in connection.execute(sa.select(deliveries).where(*mine)).mappings().all():
        _take_answer(connection, row, report)
    of_dispatch = (*of_revision(dispatches, *key), dispatches.c.destination == asked["destination"])
    connection.execute(dispatches.update().where(*of_dispatch), {"next_try_at": time.time()})
    return True


def _take_answer(connection: sa.Connection, row: sa.RowMapping, report: CommitmentReport) -> None:
    uid = row["sop_instance_uid"]
    if uid in report.committed and row["sent_at"] is not None:
        values = {"committed_at": time.time(), "transaction_uid": None}
        connection.execute(deliveries.update().where(*of_delivery(row["destination"], uid)), values)
    # A late "no" is of an earlier sending, or asked again already.
    elif uid in report.failed and row["transaction_uid"] == report.transaction_uid:
        note_loss(connection, row, report.failed[uid])


def find_delivery(connection: sa.Connection, destination: str, sop_instance_uid: str) -> sa.RowMapping | None:
    """Return the row of one object on its way to one destination; None where it was never planned."""
    query = sa.select(deliveries).where(*of_delivery(destination, sop_instance_uid))
    return connection.execute(query).mappings().first()


def note_loss(connection: sa.Connection, row: sa.RowMapping, detail: str) -> None:
    """Note that an archive does not have what it answered Success for: it is sent again, or parked."""
    if row["state"] != DeliveryState.SENT:
        connection.execute(
            deliveries.update().where(*of_delivery(row["destination"], row["sop_instance_uid"])),
            {"transaction_uid": None},
        )
        return
    losses = row["losses"] + 1
    state = DeliveryState.PENDING if losses < MOST_LOSSES else DeliveryState.PARKED
    reset = UNSENT if state is DeliveryState.PENDING else {"transaction_uid": None}
    change_state(connection, row, state, detail, {**reset, "losses": losses})
    if state is DeliveryState.PENDING:
        what = Phrase(
            "{destination}: SOP Instance {uid} is sent again: {detail}",
            destination=row["destination"],
            uid=row["sop_instance_uid"],
            detail=detail,
        )
        add_event(connection, row["study_instance_uid"], what)


def change_state(
    connection: sa.Connection,
    row: sa.RowMapping,
    state: DeliveryState,
    detail: str,
    values: Mapping[str, float | str | None] | None = None,
) -> None:
    """Set how far a delivery has come; what is parked or left out is an event, too."""
    changed = {"state": state, "detail": str(detail), "changed_at": time.time(), **(values or {})}
    where = of_delivery(row["destination"], row["sop_instance_uid"])
    connection.execute(deliveries.update().where(*where), changed)
    if state in {DeliveryState.PARKED, DeliveryState.LEFT_OUT}:
        what = Phrase(
            "{destination}: SOP Instance {uid} is {state}: {detail}",
            destination=row["destination"],
            uid=row["sop_instance_uid"],
            state=state,
            detail=detail,
        )
        add_event(connection, row["study_instance_uid"], what)


def list_alarms(connection: sa.Connection) -> tuple[Alarm, ...]:
    """List what is parked, by destination and reason, oldest first."""
    since = sa.func.min(deliveries.c.changed_at)
    columns = (
        deliveries.c.destination,
        deliveries.c.detail,
        sa.func.count().label("objects"),
        sa.func.count(deliveries.c.study_instance_uid.distinct()).label("studies"),
        since.label("since"),
    )
    query = sa.select(*columns).where(deliveries.c.state == DeliveryState.PARKED)
    query = query.group_by(deliveries.c.destination, deliveries.c.detail).order_by(since)
    return tuple(Alarm(**row) for row in connection.execute(query).mappings())
