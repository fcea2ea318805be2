"""When a rejection note may go to a destination: once the new results are proven there, and never before the old ones.

A note that came first would take the earlier answer out of sight while the new one is still on its way, or lost; and
what came after its note, such as an earlier result that was parked and is retried, would stay in sight. What proof is,
is said in `proven`: the same that lets retention remove the files.
"""

from collections.abc import Collection

import sqlalchemy as sa

from dicom_node.store.deliveries import reopen
from dicom_node.store.proofs import change_state
from dicom_node.store.proven import is_delivery_proven
from dicom_node.store.records import SETTLED, DeliveryState
from dicom_node.store.rows import deliver_again, is_note
from dicom_node.store.schema import deliveries
from inference.phrases import Phrase

_OPEN = (DeliveryState.PENDING, DeliveryState.SENT)
_WAITS = "waits for other results of the study, which are parked"
_UNPROVEN = Phrase("the old results are not rejected: the destination has not proven that it has the new ones")
NOTHING_TO_REJECT = Phrase("the destination has none of the old results")
"""Why a rejection note is left out for good."""


def is_held(
    connection: sa.Connection, study_instance_uid: str, digest: str, destination: str, *, is_believed: bool
) -> bool:
    """Tell whether the rejection notes of a revision must wait: for proof of its results, or for anything older."""
    unproven = ~is_delivery_proven(deliveries, [destination] if is_believed else [])
    query = sa.select(deliveries.c.sop_instance_uid).where(
        deliveries.c.study_instance_uid == study_instance_uid,
        deliveries.c.destination == destination,
        sa.or_(deliveries.c.state.not_in(SETTLED), sa.and_(deliveries.c.digest == digest, unproven)),
        ~is_note(deliveries.c.sop_instance_uid),
    )
    return connection.execute(query).first() is not None


def settle_held_notes(connection: sa.Connection, believed: Collection[str]) -> None:
    """Settle the rejection notes that would wait for ever.

    They are parked with results that are parked, so that an operator sees one thing to mend, and go on with it; and
    left out where all results have settled without proof.
    """
    other = deliveries.alias("other")
    beside = _beside(other)
    is_parked = sa.exists().where(*beside, other.c.state == DeliveryState.PARKED)
    waiting = (deliveries.c.state == DeliveryState.PARKED, deliveries.c.detail == _WAITS)
    deliver_again(connection, reopen(connection, [*waiting, ~is_parked], {"detail": ""}))
    pending = (deliveries.c.state == DeliveryState.PENDING, is_note(deliveries.c.sop_instance_uid))
    held = (
        *pending,
        is_parked,
        ~sa.exists().where(*beside, other.c.state.in_(_OPEN)),
    )
    connection.execute(deliveries.update().where(*held), {"state": DeliveryState.PARKED, "detail": _WAITS})
    unsettled = sa.exists().where(*beside, other.c.state.not_in(SETTLED))
    query = sa.select(deliveries).where(*pending, ~unsettled, _has_unproven_results(believed))
    for row in connection.execute(query).mappings().all():
        change_state(connection, row, DeliveryState.LEFT_OUT, _UNPROVEN)


def release_notes(connection: sa.Connection, believed: Collection[str]) -> None:
    """Make the rejection notes due that were left out and whose results are proven by now, or believed."""
    left_out = (
        deliveries.c.state == DeliveryState.LEFT_OUT,
        is_note(deliveries.c.sop_instance_uid),
        deliveries.c.detail != str(NOTHING_TO_REJECT),
    )
    deliver_again(connection, reopen(connection, [*left_out, ~_has_unproven_results(believed)], {"detail": ""}))


def _beside(other: sa.FromClause) -> tuple[sa.ColumnElement[bool], ...]:
    """Choose the results of the note's study that its destination was to get."""
    return (
        other.c.study_instance_uid == deliveries.c.study_instance_uid,
        other.c.destination == deliveries.c.destination,
        ~is_note(other.c.sop_instance_uid),
    )


def _has_unproven_results(believed: Collection[str]) -> sa.Exists:
    """Tell of a note's row whether its destination lacks the proof of a result of the same revision."""
    result = deliveries.alias("result")
    same = result.c.digest == deliveries.c.digest
    return sa.exists().where(*_beside(result), same, ~is_delivery_proven(result, believed))
