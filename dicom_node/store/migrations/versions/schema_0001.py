"""The first schema that has a number; before it, a release made the tables that it knew, and changed none.

So a database without a number may be of any release up to here: what it lacks is added.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

tables = sa.MetaData()

sa.Table(
    "instances",
    tables,
    sa.Column("sop_instance_uid", sa.String(64), primary_key=True),
    sa.Column("study_instance_uid", sa.String(64), nullable=False, index=True),
    sa.Column("series_instance_uid", sa.String(64), nullable=False),
    sa.Column("sop_class_uid", sa.String(64), nullable=False),
    sa.Column("transfer_syntax_uid", sa.String(64), nullable=False),
    sa.Column("calling_ae_title", sa.String(16), nullable=False),
    sa.Column("path", sa.String, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("received_at", sa.Float, nullable=False),
    sa.Column("removed_at", sa.Float, nullable=True, index=True),
)

sa.Table(
    "studies",
    tables,
    sa.Column("study_instance_uid", sa.String(64), primary_key=True),
    sa.Column("first_open_at", sa.Float, nullable=True, index=True),
    sa.Column("last_received_at", sa.Float, nullable=False),
    sa.Column("forced", sa.Boolean, nullable=False),
    sa.Column("asked_at", sa.Float, nullable=True),
    sa.Column("listing", sa.JSON, nullable=True),
)

sa.Table(
    "revisions",
    tables,
    sa.Column("study_instance_uid", sa.String(64), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("changed_at", sa.Float, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("expectation", sa.JSON, nullable=True),
    sa.UniqueConstraint("study_instance_uid", "version"),
)

sa.Table(
    "revision_instances",
    tables,
    sa.Column("study_instance_uid", sa.String(64), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("sop_instance_uid", sa.String(64), primary_key=True),
)

sa.Table(
    "results",
    tables,
    sa.Column("sop_instance_uid", sa.String(64), primary_key=True),
    sa.Column("study_instance_uid", sa.String(64), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("sop_class_uid", sa.String(64), nullable=False),
    sa.Column("series_instance_uid", sa.String(64), nullable=False, index=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("path", sa.String, nullable=False),
    sa.Column("source_sop_instance_uid", sa.String(64), nullable=False, server_default=""),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Index("results_of_revision", "study_instance_uid", "digest"),
)

sa.Table(
    "findings",
    tables,
    sa.Column("study_instance_uid", sa.String(64), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("sop_instance_uid", sa.String(64), primary_key=True),
    sa.Column("decision", sa.String(16), nullable=False),
    sa.Column("region", sa.String(32), nullable=True),
    sa.Column("probability", sa.Float, nullable=True),
    sa.Column("reason", sa.String, nullable=False),
)

sa.Table(
    "deliveries",
    tables,
    sa.Column("destination", sa.String(32), primary_key=True),
    sa.Column("sop_instance_uid", sa.String(64), primary_key=True),
    sa.Column("study_instance_uid", sa.String(64), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("detail", sa.String, nullable=False),
    sa.Column("changed_at", sa.Float, nullable=False),
    sa.Column("warning", sa.String, nullable=False, server_default=""),
    sa.Column("sent_at", sa.Float, nullable=True),
    sa.Column("committed_at", sa.Float, nullable=True),
    sa.Column("verified_at", sa.Float, nullable=True),
    sa.Column("transaction_uid", sa.String(64), nullable=True, index=True),
    sa.Column("asked_at", sa.Float, nullable=True),
    sa.Column("asks", sa.Integer, nullable=False, server_default="0"),
    sa.Column("silences", sa.Integer, nullable=False, server_default="0"),
    sa.Column("losses", sa.Integer, nullable=False, server_default="0"),
    sa.Index("deliveries_of_revision", "study_instance_uid", "digest"),
)

sa.Table(
    "dispatches",
    tables,
    sa.Column("study_instance_uid", sa.String(64), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("destination", sa.String(32), primary_key=True),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("next_try_at", sa.Float, nullable=False, index=True),
)

sa.Table(
    "transactions",
    tables,
    sa.Column("transaction_uid", sa.String(64), primary_key=True),
    sa.Column("study_instance_uid", sa.String(64), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("destination", sa.String(32), nullable=False),
    sa.Column("asked_at", sa.Float, nullable=False),
)

sa.Table(
    "retrievals",
    tables,
    sa.Column("archive", sa.String(32), primary_key=True),
    sa.Column("study_instance_uid", sa.String(64), primary_key=True),
    sa.Column("related_instances", sa.Integer, nullable=True),
    sa.Column("is_whole", sa.Boolean, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("next_try_at", sa.Float, nullable=False),
)

sa.Table(
    "events",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("study_instance_uid", sa.String(64), nullable=False, index=True),
    sa.Column("what", sa.String, nullable=False),
)


def upgrade() -> None:
    """Make every table, or what it lacks; then the rows that earlier releases could do without."""
    connection = op.get_bind()
    inspector = sa.inspect(connection)
    there = set(inspector.get_table_names()) & set(tables.tables)
    had = {table: {column["name"] for column in inspector.get_columns(table)} for table in there}
    for table in tables.sorted_tables:
        if table.name in there:
            _complete(inspector, table)
        else:
            table.create(connection)
    if "cautious" in had.get("revisions", ()):  # without a default, and written by no release any more
        op.drop_column("revisions", "cautious")
    if there and "sent_at" not in had["deliveries"]:
        _begin_to_prove(connection)
    if there:
        _plan_what_is_open(connection)


def _complete(inspector: sa.Inspector, table: sa.Table) -> None:
    columns = {column["name"] for column in inspector.get_columns(table.name)}
    indexes = {index["name"] for index in inspector.get_indexes(table.name)}
    for column in table.columns:
        if column.name not in columns:
            default = column.server_default
            op.add_column(
                table.name, sa.Column(column.name, column.type, nullable=column.nullable, server_default=default)
            )
    for index in table.indexes:
        if index.name not in indexes:
            index.create(op.get_bind())


def _begin_to_prove(connection: sa.Connection) -> None:
    """Let what was answered with Success be proven, and what was refused for good be an alarm, as they are now."""
    deliveries = tables.tables["deliveries"]
    sent, refused = deliveries.c.state == "sent", deliveries.c.state == "refused"
    connection.execute(deliveries.update().where(sent).values(sent_at=deliveries.c.changed_at))
    connection.execute(deliveries.update().where(refused).values(state="parked"))


def _plan_what_is_open(connection: sa.Connection) -> None:
    """Make deliveries due that a release without dispatches had begun: nothing else would ever take them up."""
    deliveries, dispatches = tables.tables["deliveries"], tables.tables["dispatches"]
    key = [deliveries.c[name] for name in ("study_instance_uid", "digest", "destination")]
    planned = sa.exists().where(*(dispatches.c[column.name] == column for column in key))
    unplanned = sa.select(*key, sa.literal(0), sa.literal(0.0))
    unplanned = unplanned.where(deliveries.c.state.in_(("pending", "sent")), ~planned).distinct()
    names = [*(column.name for column in key), "tries", "next_try_at"]
    connection.execute(dispatches.insert().from_select(names, unplanned))
