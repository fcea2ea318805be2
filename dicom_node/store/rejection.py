"""When a rejection note may go to a destination: once the new results are proven there, and never before the old ones.

A note that came first would take the earlier answer out of sight while the new one is still on its way; and what came
after its note, such as an earlier result that was parked and is retried, would stay in sight.
"""

import sqlalchemy as sa

from dicom_node.store.records import SETTLED, DeliveryState
from dicom_node.store.schema import deliveries, results
from dicom_node.values import ResultKind

_OPEN = (DeliveryState.PENDING, DeliveryState.SENT)
_WAITS = "waits for other results of the study, which are parked"


def is_note(sop_instance_uid: sa.ColumnElement[str] | str) -> sa.Exists:
    """Tell whether a result is a rejection note."""
    return sa.exists().where(
        results.c.sop_instance_uid == sop_instance_uid, results.c.kind == ResultKind.REJECTION_NOTE
    )


def is_held(connection: sa.Connection, study_instance_uid: str, destination: str) -> bool:
    """Tell whether the rejection notes of a study must wait: for the new results, or for anything older."""
    query = sa.select(deliveries.c.sop_instance_uid).where(
        deliveries.c.study_instance_uid == study_instance_uid,
        deliveries.c.destination == destination,
        deliveries.c.state.not_in(SETTLED),
        ~is_note(deliveries.c.sop_instance_uid),
    )
    return connection.execute(query).first() is not None


def park_held_notes(connection: sa.Connection) -> None:
    """Park the rejection notes that wait for results that are parked, so that an operator sees one thing to mend."""
    other = deliveries.alias("other")
    beside = (
        other.c.study_instance_uid == deliveries.c.study_instance_uid,
        other.c.destination == deliveries.c.destination,
        ~is_note(other.c.sop_instance_uid),
    )
    held = (
        deliveries.c.state == DeliveryState.PENDING,
        is_note(deliveries.c.sop_instance_uid),
        sa.exists().where(*beside, other.c.state == DeliveryState.PARKED),
        ~sa.exists().where(*beside, other.c.state.in_(_OPEN)),
    )
    connection.execute(deliveries.update().where(*held), {"state": DeliveryState.PARKED, "detail": _WAITS})
