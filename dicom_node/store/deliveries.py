"""Which destination lacks which results, and when it is next sent them."""

import time
from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from dicom_node.store.records import DeliveryState, DestinationStatus, DueDelivery, RevisionState
from dicom_node.store.schema import deliveries, dispatches, revisions

_SAME_REVISION = sa.and_(
    deliveries.c.study_instance_uid == dispatches.c.study_instance_uid, deliveries.c.digest == dispatches.c.digest
)


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
    lacks = (
        sa.exists()
        .where(_SAME_REVISION, deliveries.c.destination == dispatches.c.destination)
        .where(deliveries.c.state == DeliveryState.PENDING)
    )
    columns = [dispatches.c[name] for name in DueDelivery.__dataclass_fields__]
    query = sa.select(*columns).where(dispatches.c.next_try_at <= now, lacks).order_by(dispatches.c.next_try_at)
    return [DueDelivery(**row) for row in connection.execute(query).mappings()]


def count_try(connection: sa.Connection, due: DueDelivery, next_try_at: float) -> DueDelivery:
    """Count one more try."""
    where = (
        dispatches.c.study_instance_uid == due.study_instance_uid,
        dispatches.c.digest == due.digest,
        dispatches.c.destination == due.destination,
    )
    begun = replace(due, tries=due.tries + 1)
    connection.execute(dispatches.update().where(*where), {"tries": begun.tries, "next_try_at": next_try_at})
    return begun


def list_settled(connection: sa.Connection) -> list[tuple[str, str, bool]]:
    """List the revisions in delivery for which nothing is pending: (study, digest, whether anything was refused)."""
    mine = sa.and_(
        deliveries.c.study_instance_uid == revisions.c.study_instance_uid, deliveries.c.digest == revisions.c.digest
    )
    pending = sa.exists().where(mine, deliveries.c.state == DeliveryState.PENDING)
    refused = sa.exists().where(mine, deliveries.c.state == DeliveryState.REFUSED)
    query = sa.select(revisions.c.study_instance_uid, revisions.c.digest, refused).where(
        revisions.c.state == RevisionState.DELIVERING, ~pending
    )
    return [(row[0], row[1], bool(row[2])) for row in connection.execute(query)]


def reopen_refused(connection: sa.Connection, study_instance_uid: str) -> set[str]:
    """Set the refused deliveries of a study back to pending and due; return the revisions they belong to."""
    where = (deliveries.c.study_instance_uid == study_instance_uid, deliveries.c.state == DeliveryState.REFUSED)
    digests = set(connection.execute(sa.select(deliveries.c.digest).where(*where)).scalars())
    connection.execute(deliveries.update().where(*where), {"state": DeliveryState.PENDING})
    mine = dispatches.c.study_instance_uid == study_instance_uid
    connection.execute(dispatches.update().where(mine), {"next_try_at": time.time()})
    return digests


def to_destination_status(name: str, sent: Sequence[sa.RowMapping]) -> DestinationStatus:
    """Count what one destination has of a revision."""
    mine = [row for row in sent if row["destination"] == name]
    counts = {state: sum(row["state"] == state for row in mine) for state in DeliveryState}
    latest = sorted((row for row in mine if row["detail"]), key=lambda row: row["changed_at"])
    return DestinationStatus(
        destination=name,
        pending=counts[DeliveryState.PENDING],
        sent=counts[DeliveryState.SENT],
        refused=counts[DeliveryState.REFUSED],
        attempts=max(row["attempts"] for row in mine),
        detail=latest[-1]["detail"] if latest else "",
    )
