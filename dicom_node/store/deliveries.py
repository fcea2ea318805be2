"""Which destination lacks which results, and when it is next sent them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import sqlalchemy as sa

from dicom_node.store.records import (
    DeliveryState,
    DestinationStatus,
    DueDelivery,
    ObjectStatus,
    RevisionState,
    StoredResult,
)
from dicom_node.store.schema import deliveries, dispatches, revisions

OPEN = (DeliveryState.PENDING, DeliveryState.SENT)
"""The states in which there is something to do."""
UNSENT: dict[str, float | str | None] = {
    "sent_at": None,
    "committed_at": None,
    "verified_at": None,
    "transaction_uid": None,
    "asks": 0,
    "silences": 0,
}
"""What there is to know of a delivery before it is sent, and again before it is sent again."""


def plan_deliveries(
    connection: sa.Connection, key: dict[str, str], sop_instance_uids: Sequence[str], destinations: Sequence[str]
) -> None:
    """Note that every destination lacks these new results of the revision `key`, and is due at once."""
    now = time.time()
    for destination in destinations if sop_instance_uids else ():
        where = [dispatches.c[name] == value for name, value in {**key, "destination": destination}.items()]
        if connection.execute(dispatches.update().where(*where), {"next_try_at": now}).rowcount == 0:
            row = {**key, "destination": destination, "tries": 0, "next_try_at": now}
            connection.execute(dispatches.insert(), row)
        for uid in sop_instance_uids:
            row = {**key, "destination": destination, "sop_instance_uid": uid, "state": DeliveryState.PENDING}
            connection.execute(deliveries.insert(), {**row, "changed_at": now})


def list_due(connection: sa.Connection, now: float) -> list[DueDelivery]:
    """List what is due, longest overdue first."""
    # From what is open, which is little, to its dispatches: those of all that ever was delivered stay.
    key = [deliveries.c[name] for name in ("study_instance_uid", "digest", "destination")]
    lacking = sa.select(*key).where(deliveries.c.state.in_(OPEN)).distinct().subquery()
    same = sa.and_(*(dispatches.c[column.name] == column for column in lacking.c))
    columns = [dispatches.c[name] for name in DueDelivery.__dataclass_fields__]
    query = sa.select(*columns).join(lacking, same).where(dispatches.c.next_try_at <= now)
    query = query.order_by(dispatches.c.next_try_at)
    return [DueDelivery(**row) for row in connection.execute(query).mappings()]


def count_try(connection: sa.Connection, due: DueDelivery, next_try_at: float) -> DueDelivery | None:
    """Count one more try; None where that one is counted already."""
    begun = replace(due, tries=due.tries + 1)
    expected = (*_of_dispatch(due), dispatches.c.tries == due.tries)
    values = {"tries": begun.tries, "next_try_at": next_try_at}
    return begun if connection.execute(dispatches.update().where(*expected), values).rowcount else None


def put_off(connection: sa.Connection, due: DueDelivery, until: float) -> None:
    """Let the next try wait; not where a report has made it due meanwhile."""
    later = (*_of_dispatch(due), dispatches.c.next_try_at > time.time())
    connection.execute(dispatches.update().where(*later), {"next_try_at": until})


def _of_dispatch(due: DueDelivery) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        dispatches.c.study_instance_uid == due.study_instance_uid,
        dispatches.c.digest == due.digest,
        dispatches.c.destination == due.destination,
    )


def list_settled(connection: sa.Connection) -> list[tuple[str, str, bool]]:
    """List the revisions in delivery for which nothing is open: (study, digest, whether anything is parked).

    So is one that failed with results of which nothing is parked any more: it was retried just while it failed, or its
    last crash came after its results.
    """
    mine = sa.and_(
        deliveries.c.study_instance_uid == revisions.c.study_instance_uid, deliveries.c.digest == revisions.c.digest
    )
    is_open = sa.exists().where(mine, deliveries.c.state.in_(OPEN))
    parked = sa.exists().where(mine, deliveries.c.state == DeliveryState.PARKED)
    delivered = sa.and_(revisions.c.state == RevisionState.FAILED, sa.exists().where(mine), ~parked)
    query = sa.select(revisions.c.study_instance_uid, revisions.c.digest, parked).where(
        sa.or_(revisions.c.state == RevisionState.DELIVERING, delivered), ~is_open
    )
    return [(row[0], row[1], bool(row[2])) for row in connection.execute(query)]


def reopen_parked(
    connection: sa.Connection, study_instance_uid: str | None, destination: str | None
) -> set[tuple[str, str]]:
    """Make parked deliveries pending and due, of all studies or destinations where None; return their revisions."""
    where = [deliveries.c.state == DeliveryState.PARKED]
    if study_instance_uid is not None:
        where.append(deliveries.c.study_instance_uid == study_instance_uid)
    if destination is not None:
        where.append(deliveries.c.destination == destination)
    return reopen(connection, where, {**UNSENT, "losses": 0})


def reopen(
    connection: sa.Connection,
    where: Sequence[sa.ColumnElement[bool]],
    values: Mapping[str, float | str | None],
    state: DeliveryState = DeliveryState.PENDING,
) -> set[tuple[str, str]]:
    """Make deliveries open again, and due; return their revisions."""
    columns = (deliveries.c.study_instance_uid, deliveries.c.digest, deliveries.c.destination)
    settled = connection.execute(sa.select(*columns).where(*where).distinct()).all()
    connection.execute(deliveries.update().where(*where), {**values, "state": state})
    now = time.time()
    for study, digest, name in settled:
        due = DueDelivery(study_instance_uid=study, digest=digest, destination=name, tries=0)
        connection.execute(dispatches.update().where(*_of_dispatch(due)), {"next_try_at": now})
    return {(study, digest) for study, digest, _ in settled}


def to_destination_status(name: str, rows: Sequence[sa.RowMapping]) -> DestinationStatus:
    """Count what one destination has of a revision."""
    mine = [row for row in rows if row["destination"] == name]
    told = sorted((row for row in mine if describe(row)), key=lambda row: row["changed_at"])
    refused = [describe(row) for row in told if row["state"] == DeliveryState.LEFT_OUT]
    return DestinationStatus(
        destination=name,
        objects=len(mine),
        pending=sum(row["state"] == DeliveryState.PENDING for row in mine),
        parked=sum(row["state"] == DeliveryState.PARKED for row in mine),
        sent=sum(row["sent_at"] is not None for row in mine),
        committed=sum(row["committed_at"] is not None for row in mine),
        verified=sum(row["verified_at"] is not None for row in mine),
        attempts=max(row["attempts"] for row in mine),
        detail="; ".join(dict.fromkeys([*map(describe, told[-1:]), *refused])),
        left_out=sum(row["state"] == DeliveryState.LEFT_OUT for row in mine),
    )


def list_objects(rows: Sequence[sa.RowMapping], made: Sequence[StoredResult]) -> tuple[ObjectStatus, ...]:
    """List how far each object of a revision is, by destination and in the order they were made."""
    kinds = {one.sop_instance_uid: one.kind for one in made}
    places = {uid: place for place, uid in enumerate(kinds)}
    same = ("destination", "sop_instance_uid", "sent_at", "committed_at", "verified_at")
    return tuple(
        ObjectStatus(
            **{name: row[name] for name in same},
            kind=kinds[row["sop_instance_uid"]],
            state=DeliveryState(row["state"]),
            detail=describe(row),
        )
        for row in sorted(rows, key=lambda row: (row["destination"], places[row["sop_instance_uid"]]))
    )


def describe(row: sa.RowMapping) -> str:
    """Say what was no plain success about a delivery."""
    return "; ".join(filter(None, (row["warning"], row["detail"])))
