"""When a destination provably has what it was sent: the one place that says so.

Proven is what the archive has vouched for (storage commitment) or what was found in it (C-FIND). Of a destination that
is asked for neither, by the operator's own words (`commitment = "never"`, `verify = "never"`), its Success is believed.
What a rejection note has told it to hide is not asked for any more.
"""

from collections.abc import Collection

import sqlalchemy as sa

from dicom_node.store.records import ENDED, DeliveryState, UnprovenFiles
from dicom_node.store.rows import is_note
from dicom_node.store.schema import deliveries, instances, revisions
from inference.phrases import Phrase


def say_superseded(version: int | str) -> Phrase:
    """Say of what was left out that its destination has a later version; `%` stands for any of them in a query.

    The state of its revision does not say so: the same version may be delivered elsewhere, or be retried there.
    """
    return Phrase("superseded by version {version}, which the destination has", version=version)


def is_proven(study: sa.ColumnElement[str], believed: Collection[str]) -> sa.ColumnElement[bool]:
    """Tell of a study whether every destination provably has every result; `believed` are names of destinations.

    What a rule has excluded has none.
    """
    unfinished = sa.exists().where(revisions.c.study_instance_uid == study, revisions.c.state.not_in(ENDED))
    lacking = sa.exists().where(deliveries.c.study_instance_uid == study, ~is_delivery_proven(deliveries, believed))
    return sa.and_(~unfinished, ~lacking)


def count_unproven(connection: sa.Connection, believed: Collection[str]) -> list[UnprovenFiles]:
    """Count the studies whose files stay because a destination cannot prove that it has their results."""
    query = (
        sa.select(deliveries.c.destination, sa.func.count(deliveries.c.study_instance_uid.distinct()).label("studies"))
        .where(*is_kept(believed))
        .group_by(deliveries.c.destination)
        .order_by(deliveries.c.destination)
    )
    return [UnprovenFiles(**row) for row in connection.execute(query).mappings()]


def is_kept(believed: Collection[str]) -> tuple[sa.ColumnElement[bool], ...]:
    """Choose the rows of `deliveries` that were settled without proof, and whose study has its files for that."""
    has_files = sa.exists().where(
        instances.c.study_instance_uid == deliveries.c.study_instance_uid, instances.c.removed_at.is_(None)
    )
    settled = (deliveries.c.state == DeliveryState.DELIVERED, ~is_note(deliveries.c.sop_instance_uid))
    return (*settled, ~_has_proof(deliveries, believed), has_files)


def is_delivery_proven(row: sa.FromClause, believed: Collection[str]) -> sa.ColumnElement[bool]:
    """Tell of a row of `deliveries` whether there is proof of it, of the answer in another form, or of a later one."""
    form = deliveries.alias("form")
    same = (form.c[name] == row.c[name] for name in ("study_instance_uid", "digest", "destination"))
    answered = sa.or_(
        sa.and_(form.c.state == DeliveryState.DELIVERED, _has_proof(form, believed)),
        sa.and_(form.c.state == DeliveryState.LEFT_OUT, form.c.detail.like(str(say_superseded("%")))),
    )
    otherwise = sa.exists().where(*same, ~is_note(form.c.sop_instance_uid), answered)
    # A rejection note holds no answer, and an archive that heeds it may hide it: its Success is enough.
    proven = sa.or_(_has_proof(row, believed), is_note(row.c.sop_instance_uid))
    return sa.or_(
        sa.and_(row.c.state == DeliveryState.DELIVERED, proven),
        sa.and_(row.c.state == DeliveryState.LEFT_OUT, otherwise),
    )


def _has_proof(row: sa.FromClause, believed: Collection[str]) -> sa.ColumnElement[bool]:
    """Tell whether there is proof of a result, or none is needed any more: its destination was told to reject it.

    The new results are proven there then, and who heeds the note hides the old ones from whoever would look for them.
    """
    note, mine, later = deliveries.alias("note"), revisions.alias("mine"), revisions.alias("later")
    rejected = sa.exists().where(
        *(note.c[name] == row.c[name] for name in ("study_instance_uid", "destination")),
        note.c.state == DeliveryState.DELIVERED,
        is_note(note.c.sop_instance_uid),
        *(mine.c[name] == row.c[name] for name in ("study_instance_uid", "digest")),
        *(later.c[name] == note.c[name] for name in ("study_instance_uid", "digest")),
        later.c.version > mine.c.version,
    )
    proofs = (row.c.committed_at.is_not(None), row.c.verified_at.is_not(None))
    return sa.or_(*proofs, row.c.destination.in_(believed), rejected)
