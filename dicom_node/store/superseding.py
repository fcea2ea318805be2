"""What is parked of a version, when its destination has a later one that answers for all its images."""

from collections.abc import Collection

import sqlalchemy as sa

from dicom_node.store.proofs import change_state
from dicom_node.store.proven import is_delivery_proven, say_superseded
from dicom_node.store.records import DeliveryState, RevisionState
from dicom_node.store.rows import is_note, list_answered, list_images, list_results, of_revision, set_state
from dicom_node.store.schema import deliveries, revisions
from inference.phrases import Phrase

_IS_RESULT = ~is_note(deliveries.c.sop_instance_uid)


def leave_out_superseded(connection: sa.Connection, believed: Collection[str]) -> None:
    """Settle results that are parked, were never taken, and whose destination provably has a later version.

    Nobody needs them any more: sent after a retry, they would be an old answer that comes after the new one. What was
    taken and is parked for want of proof stays an alarm: it may lie under the wrong patient. So does an answer to an
    image that the later version could not analyse: nobody else has one. Rejection notes go on: what they reject is of
    yet another version.
    """
    ended: dict[tuple[str, str], int] = {}
    for row in connection.execute(_select_answered(believed)).mappings().all():
        study, digest = row["study_instance_uid"], row["digest"]
        if _answers_for(connection, study, digest, row["later_digest"]):
            change_state(connection, row, DeliveryState.LEFT_OUT, say_superseded(row["later_version"]))
            ended[study, digest] = row["later_version"]
    for (study, digest), version in ended.items():
        parked = (*of_revision(deliveries, study, digest), deliveries.c.state == DeliveryState.PARKED, _IS_RESULT)
        if connection.execute(sa.select(deliveries.c.sop_instance_uid).where(*parked)).first() is None:
            why = Phrase("version {version}, which holds all its images, is delivered in its place", version=version)
            set_state(connection, study, digest, RevisionState.SUPERSEDED, why)


def _answers_for(connection: sa.Connection, study: str, digest: str, later_digest: str) -> bool:
    """Tell whether a later version holds all images of an earlier one, and answers each image that that one does."""
    held, held_later = (list_images(connection, study, one) for one in (digest, later_digest))
    answered, answered_later = (list_answered(list_results(connection, study, one)) for one in (digest, later_digest))
    return held <= held_later and answered <= answered_later


def _select_answered(believed: Collection[str]) -> sa.Select[tuple[object, ...]]:
    """Select what is parked and was never taken, with each later version that its destination provably has."""
    mine, later, new = revisions.alias("mine"), revisions.alias("later"), deliveries.alias("new")
    of_later = (
        new.c.study_instance_uid == later.c.study_instance_uid,
        new.c.digest == later.c.digest,
        new.c.destination == deliveries.c.destination,
        ~is_note(new.c.sop_instance_uid),
    )
    same = sa.and_(mine.c.study_instance_uid == deliveries.c.study_instance_uid, mine.c.digest == deliveries.c.digest)
    after = sa.and_(later.c.study_instance_uid == mine.c.study_instance_uid, later.c.version > mine.c.version)
    return (
        sa.select(deliveries, later.c.version.label("later_version"), later.c.digest.label("later_digest"))
        .join(mine, same)
        .join(later, after)
        .where(deliveries.c.state == DeliveryState.PARKED, deliveries.c.sent_at.is_(None), _IS_RESULT)
        .where(mine.c.state == RevisionState.FAILED, sa.exists().where(*of_later))
        .where(~sa.exists().where(*of_later, ~is_delivery_proven(new, believed)))
        .order_by(later.c.version)
    )
