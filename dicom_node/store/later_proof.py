"""Results that a destination took and could not prove: taken up again when it can."""

import time

import sqlalchemy as sa

from dicom_node.store.deliveries import reopen
from dicom_node.store.proofs import MOST_LOSSES
from dicom_node.store.proven import is_kept
from dicom_node.store.records import DeliveryState
from dicom_node.store.rows import deliver_again, of_revision
from dicom_node.store.schema import deliveries

MOST_AT_ONCE = 100
"""Revisions of one destination whose proof may be open, or parked for want of it, before more are taken up."""


def has_unproven(connection: sa.Connection, destination: str) -> bool:
    """Tell whether anything was settled without proof there."""
    query = sa.select(deliveries.c.sop_instance_uid).where(deliveries.c.destination == destination, *is_kept(()))
    return connection.execute(query.limit(1)).first() is not None


def reopen_unproven(connection: sa.Connection, destination: str) -> int:
    """Open what was settled without proof as if it had just been sent, the newest first; return of how many revisions.

    Only so many at once: a destination whose new proof is worth nothing must not park thousands. What it does not have
    any more is parked at the first loss: an archive removes studies of its own accord, and they must not come back by
    themselves.
    """
    columns = (deliveries.c.study_instance_uid, deliveries.c.digest)
    there = deliveries.c.destination == destination
    in_question = sa.or_(
        deliveries.c.state == DeliveryState.SENT,
        sa.and_(deliveries.c.state == DeliveryState.PARKED, deliveries.c.sent_at.is_not(None)),
    )
    busy = len(connection.execute(sa.select(*columns).where(there, in_question).distinct()).all())
    newest_first = sa.func.max(deliveries.c.sent_at).desc()
    query = sa.select(*columns).where(there, *is_kept(())).group_by(*columns).order_by(newest_first)
    chosen = [(row[0], row[1]) for row in connection.execute(query.limit(max(MOST_AT_ONCE - busy, 0)))]
    taken_up: dict[str, float | str | None] = {"detail": "", "changed_at": time.time()}
    taken_up |= {"losses": MOST_LOSSES - 1, "asks": 0, "silences": 0}
    for study, digest in chosen:
        where = [*of_revision(deliveries, study, digest), there, *is_kept(())]
        deliver_again(connection, reopen(connection, where, taken_up, DeliveryState.SENT))
    return len(chosen)
