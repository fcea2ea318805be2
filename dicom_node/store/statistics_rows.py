"""What is kept for statistics, written on the connection that records what it is of."""

import time
from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa

from dicom_node.store.records import ImageStatistic, InstanceRole
from dicom_node.store.schema import image_statistics, instances, revision_instances, timings


def note_made(connection: sa.Connection, key: dict[str, str], measured: Sequence[ImageStatistic]) -> None:
    """Note that the results of the revision `key` are made, and what was said of each of its images.

    An image of an earlier version is counted once: as this one says. Said twice, the first time of day stays.
    """
    known = connection.execute(sa.select(timings.c.digest).where(*_of(timings, key))).first()
    came = _find_arrivals(connection, key)
    if known is not None or not came:
        return
    now, last = time.time(), max(came.values(), key=lambda arrival: arrival[1])
    row = {**key, "sender": last[0], "received_at": last[1], "made_at": now, "delivered_at": None}
    connection.execute(timings.insert(), row)
    study = key["study_instance_uid"]
    for one in measured:
        same = (
            image_statistics.c.study_instance_uid == study,
            image_statistics.c.sop_instance_uid == one.sop_instance_uid,
        )
        connection.execute(image_statistics.delete().where(*same))
        sender = came.get(one.sop_instance_uid, last)[0]
        about = {"study_instance_uid": study, "made_at": now, "sender": sender}
        connection.execute(image_statistics.insert(), {**asdict(one), **about})


def note_delivered(connection: sa.Connection, study_instance_uid: str, digest: str) -> None:
    """Note that every destination provably has the results of a revision; the first time counts."""
    key = {"study_instance_uid": study_instance_uid, "digest": digest}
    where = (*_of(timings, key), timings.c.delivered_at.is_(None))
    connection.execute(timings.update().where(*where), {"delivered_at": time.time()})


def _of(table: sa.Table, key: dict[str, str]) -> list[sa.ColumnElement[bool]]:
    return [table.c[name] == value for name, value in key.items()]


def _find_arrivals(connection: sa.Connection, key: dict[str, str]) -> dict[str, tuple[str, float]]:
    """Return sender and time of arrival of each instance of a revision; of its images alone where it has any."""
    query = (
        sa.select(instances.c.sop_instance_uid, instances.c.calling_ae_title, instances.c.received_at, instances.c.role)
        .join(revision_instances, revision_instances.c.sop_instance_uid == instances.c.sop_instance_uid)
        .where(*_of(revision_instances, key))
    )
    rows = connection.execute(query).all()
    images = [row for row in rows if row.role == InstanceRole.IMAGE] or rows
    return {row.sop_instance_uid: (row.calling_ae_title, row.received_at) for row in images}
