"""The tables, and how a connection to them is opened."""

from typing import Any

import sqlalchemy as sa

NUMBER = "0004"
"""Of this schema: the last step in `migrations/versions`."""

metadata = sa.MetaData()

instances = sa.Table(
    "instances",
    metadata,
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
    # When retention removed its file; null while the file is kept.
    sa.Column("removed_at", sa.Float, nullable=True, index=True),
)

studies = sa.Table(
    "studies",
    metadata,
    sa.Column("study_instance_uid", sa.String(64), primary_key=True),
    # Set by the first image that belongs to no revision, cleared when a revision takes it in.
    sa.Column("first_open_at", sa.Float, nullable=True, index=True),
    sa.Column("last_received_at", sa.Float, nullable=False),
    sa.Column("forced", sa.Boolean, nullable=False, default=False),
    # When an archive was last asked what it holds of the study, and the images it listed; null while it is not open.
    sa.Column("asked_at", sa.Float, nullable=True),
    sa.Column("listing", sa.JSON(none_as_null=True), nullable=True),
)

revisions = sa.Table(
    "revisions",
    metadata,
    sa.Column("study_instance_uid", sa.String(64), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("changed_at", sa.Float, nullable=False),
    sa.Column("reason", sa.String, nullable=False, default=""),
    # Part of the workflow's id, so that an attempt after one that ended without results is a new workflow.
    sa.Column("attempt", sa.Integer, nullable=False, default=1),
    # What an archive listed, and which of it had not come when the revision was made; null where none was asked.
    sa.Column("expectation", sa.JSON(none_as_null=True), nullable=True),
    sa.UniqueConstraint("study_instance_uid", "version"),
)

revision_instances = sa.Table(
    "revision_instances",
    metadata,
    sa.Column("study_instance_uid", sa.String(64), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("sop_instance_uid", sa.String(64), primary_key=True),
)

results = sa.Table(
    "results",
    metadata,
    sa.Column("sop_instance_uid", sa.String(64), primary_key=True),
    sa.Column("study_instance_uid", sa.String(64), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("sop_class_uid", sa.String(64), nullable=False),
    sa.Column("series_instance_uid", sa.String(64), nullable=False, index=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("path", sa.String, nullable=False),
    # The image that it shows; empty for what is about the study.
    sa.Column("source_sop_instance_uid", sa.String(64), nullable=False, default=""),
    # In which language its texts are; empty for what is in none, or was made before there were several.
    sa.Column("language", sa.String(8), nullable=False, default=""),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Index("results_of_revision", "study_instance_uid", "digest"),
)

findings = sa.Table(
    "findings",
    metadata,
    sa.Column("study_instance_uid", sa.String(64), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("sop_instance_uid", sa.String(64), primary_key=True),
    sa.Column("decision", sa.String(16), nullable=False),
    sa.Column("region", sa.String(32), nullable=True),
    sa.Column("probability", sa.Float, nullable=True),
    sa.Column("reason", sa.String, nullable=False),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("destination", sa.String(32), primary_key=True),
    sa.Column("sop_instance_uid", sa.String(64), primary_key=True),
    sa.Column("study_instance_uid", sa.String(64), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("detail", sa.String, nullable=False, default=""),
    sa.Column("changed_at", sa.Float, nullable=False),
    # What the archive answered C-STORE with, where that was a warning: stays, whatever comes after it.
    sa.Column("warning", sa.String, nullable=False, default=""),
    # When each proof came; all three are of the latest sending.
    sa.Column("sent_at", sa.Float, nullable=True),
    sa.Column("committed_at", sa.Float, nullable=True),
    sa.Column("verified_at", sa.Float, nullable=True),
    # The storage commitment transaction that is open, when it was begun, and which one it is since the sending.
    sa.Column("transaction_uid", sa.String(64), nullable=True, index=True),
    sa.Column("asked_at", sa.Float, nullable=True),
    sa.Column("asks", sa.Integer, nullable=False, default=0),
    # How often a search for it was not answered at all since the sending.
    sa.Column("silences", sa.Integer, nullable=False, default=0),
    # How often the archive did not have it although it had answered Success.
    sa.Column("losses", sa.Integer, nullable=False, default=0),
    sa.Index("deliveries_of_revision", "study_instance_uid", "digest"),
)

# When a destination is next sent what it lacks of a revision.
dispatches = sa.Table(
    "dispatches",
    metadata,
    sa.Column("study_instance_uid", sa.String(64), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("destination", sa.String(32), primary_key=True),
    # Each try is a workflow of its own, and begun by whoever has counted it.
    sa.Column("tries", sa.Integer, nullable=False, default=0),
    sa.Column("next_try_at", sa.Float, nullable=False, index=True),
)

# Every storage commitment transaction that was ever begun: a report may come late, and one of none is refused.
transactions = sa.Table(
    "transactions",
    metadata,
    sa.Column("transaction_uid", sa.String(64), primary_key=True),
    sa.Column("study_instance_uid", sa.String(64), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("destination", sa.String(32), nullable=False),
    sa.Column("asked_at", sa.Float, nullable=False),
)

# What was found of a study, and fetched, by the search for studies that an archive never sent.
retrievals = sa.Table(
    "retrievals",
    metadata,
    sa.Column("archive", sa.String(32), primary_key=True),
    sa.Column("study_instance_uid", sa.String(64), primary_key=True),
    sa.Column("related_instances", sa.Integer, nullable=True),
    sa.Column("is_whole", sa.Boolean, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("next_try_at", sa.Float, nullable=False),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("study_instance_uid", sa.String(64), nullable=False, index=True),
    sa.Column("what", sa.String, nullable=False),
)

# One row an image, of the newest version that holds it: what statistics and drift are made of. Stays for good.
image_statistics = sa.Table(
    "image_statistics",
    metadata,
    sa.Column("study_instance_uid", sa.String(64), primary_key=True),
    sa.Column("sop_instance_uid", sa.String(64), primary_key=True),
    sa.Column("made_at", sa.Float, nullable=False, index=True),
    sa.Column("sender", sa.String(16), nullable=False),
    sa.Column("decision", sa.String(16), nullable=False, index=True),
    # The region that the image shows, and the model of which region answered; null where none was.
    sa.Column("region", sa.String(32), nullable=True),
    sa.Column("probability", sa.Float, nullable=True),
    # Why it was not analysed, without what is of this image alone; empty where it was.
    sa.Column("reason", sa.String, nullable=False, default=""),
    # Which models spoke, "name version"; null where none did.
    sa.Column("region_model", sa.String(128), nullable=True),
    sa.Column("fracture_model", sa.String(128), nullable=True),
    sa.Column("scope_distance", sa.Float, nullable=True),
)

# How long a version took, Unix times: its last image, its results, the proof that every destination has them.
timings = sa.Table(
    "timings",
    metadata,
    sa.Column("study_instance_uid", sa.String(64), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("sender", sa.String(16), nullable=False),
    sa.Column("received_at", sa.Float, nullable=False),
    sa.Column("made_at", sa.Float, nullable=False),
    sa.Column("delivered_at", sa.Float, nullable=True),
    # All that the histograms of all versions need, so that they are read from the index alone.
    sa.Index("timings_in_order", "made_at", "received_at", "delivered_at"),
)

# What each channel of alerts was told is wrong, until it was told that it is over.
alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("channel", sa.String(16), primary_key=True),
    sa.Column("kind", sa.String(32), primary_key=True),
    sa.Column("subject", sa.String(64), primary_key=True),
    sa.Column("says", sa.String, nullable=False),
    sa.Column("since", sa.Float, nullable=False),
    sa.Column("told_at", sa.Float, nullable=False),
    sa.Column("gone_at", sa.Float, nullable=True),
)


_POSTGRESQL = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    "options": "-c idle_in_transaction_session_timeout=60s",
}
"""Parameters of libpq: whichever side is gone without a word, the other notices within about a minute, not after hours.

Of the server: a writer that is gone holds the others up no longer.
"""
_WRITER = 0x4449434F4D
"""Key of PostgreSQL's advisory lock for whoever writes; what an earlier release took to bring a database up to date."""


def create_engine(url: str) -> sa.Engine:
    """Make an engine; SQLite gets a write-ahead log, full synchronisation and patience with other writers.

    PostgreSQL gets the time-outs of `_POSTGRESQL`, as far as the URL does not give others.
    """
    parsed = sa.make_url(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    patience = {} if is_sqlite else {key: value for key, value in _POSTGRESQL.items() if key not in parsed.query}
    # What people type into the pages, a name or an accession number, is a parameter: no log may repeat it.
    engine = sa.create_engine(parsed, hide_parameters=True, pool_pre_ping=not is_sqlite, connect_args=patience)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _set_pragmas)
        sa.event.listen(engine, "begin", _begin)
    else:
        sa.event.listen(engine, "begin", _wait_for_turn)
    return engine


def _set_pragmas(connection: Any, _record: object) -> None:
    # The driver must not open transactions by itself: _begin does, and takes the write lock at once where it will be
    # needed, so that two processes wait for each other (busy_timeout) instead of one failing half-way.
    connection.isolation_level = None
    for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _wait_for_turn(connection: sa.Connection) -> None:
    # One writer at a time, as in SQLite: else what a transaction has read may be otherwise before it acts upon it, and
    # an image that comes while its study is closed, or while its study's files are removed, would be lost.
    if connection.get_execution_options().get("writes", False):
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITER)))
