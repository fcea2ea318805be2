"""Received instances into the database: the one transaction that senders wait for, so its statements are few."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from dicom_node.store.records import Admission, InstanceRole, ReceivedInstance
from dicom_node.store.schema import instances, studies

# Built once: SQLAlchemy takes longer to build and compare a statement than SQLite to run it.
_INSERT: dict[str, sa.Insert] = {
    "sqlite": sqlite.insert(instances).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(instances).on_conflict_do_nothing(),
}
_FIND = sa.select(instances.c.sha256, instances.c.study_instance_uid).where(
    instances.c.sop_instance_uid == sa.bindparam("uid")
)
_AT = sa.bindparam("at", type_=sa.Float)
_RESTORE = (
    instances.update()
    .where(
        instances.c.sop_instance_uid == sa.bindparam("uid"),
        instances.c.sha256 == sa.bindparam("digest"),
        instances.c.removed_at.is_not(None),
    )
    .values(removed_at=None, received_at=_AT)
)
_TOUCH = (
    studies.update()
    .where(
        studies.c.study_instance_uid == sa.bindparam("uid"),
        sa.or_(sa.bindparam("is_image", type_=sa.Boolean), studies.c.first_open_at.is_not(None)),
    )
    .values(
        first_open_at=sa.func.coalesce(studies.c.first_open_at, _AT),
        # A row that is rebuilt from the spool may be older than the last arrival.
        last_received_at=sa.case((studies.c.last_received_at > _AT, studies.c.last_received_at), else_=_AT),
    )
)
_FIND_STUDY = sa.select(studies.c.forced).where(studies.c.study_instance_uid == sa.bindparam("uid"))
_COLUMNS = tuple(ReceivedInstance.__dataclass_fields__)


def add_instance(connection: sa.Connection, row: ReceivedInstance) -> Admission:
    """Add a row; tell whether it is new, and where it is not, whether it is the same instance."""
    values = {column: getattr(row, column) for column in _COLUMNS}
    if connection.execute(_INSERT[connection.dialect.name], values).rowcount == 0:
        sha256, study_instance_uid = connection.execute(_FIND, {"uid": row.sop_instance_uid}).one()
        if (sha256, study_instance_uid) != (row.sha256, row.study_instance_uid):
            return Admission.CONFLICT
        # Its file is here again where retention had removed it. It was analysed, so that no study opens.
        connection.execute(_RESTORE, {"uid": row.sop_instance_uid, "digest": row.sha256, "at": row.received_at})
        return Admission.DUPLICATE
    if row.role != InstanceRole.OWN_RESULT:
        _touch_study(connection, row)
    return Admission.NEW


def _touch_study(connection: sa.Connection, row: ReceivedInstance) -> None:
    """Let an arriving instance restart the study's quiet period; a report after the analysis opens nothing."""
    key = {"uid": row.study_instance_uid}
    touch: dict[str, Any] = {**key, "at": row.received_at, "is_image": row.role == InstanceRole.IMAGE}
    if connection.execute(_TOUCH, touch).rowcount == 0 and connection.execute(_FIND_STUDY, key).first() is None:
        times = {"first_open_at": row.received_at, "last_received_at": row.received_at}
        connection.execute(studies.insert(), {"study_instance_uid": row.study_instance_uid, "forced": False, **times})
