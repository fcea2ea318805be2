"""Databases as earlier releases made them, before schemas had numbers: their own statements, and rows of theirs."""

import sqlalchemy as sa

FIRST = """
CREATE TABLE deliveries ( destination VARCHAR(32) NOT NULL, sop_instance_uid VARCHAR(64) NOT NULL,
    study_instance_uid VARCHAR(64) NOT NULL, digest VARCHAR(64) NOT NULL, state VARCHAR(16) NOT NULL, attempts
    INTEGER NOT NULL, detail VARCHAR NOT NULL, changed_at FLOAT NOT NULL, PRIMARY KEY (destination,
    sop_instance_uid) );
CREATE INDEX deliveries_of_revision ON deliveries (study_instance_uid, digest);
CREATE INDEX ix_deliveries_state ON deliveries (state);
CREATE TABLE events ( id INTEGER NOT NULL, at FLOAT NOT NULL, study_instance_uid VARCHAR(64) NOT NULL, what
    VARCHAR NOT NULL, PRIMARY KEY (id) );
CREATE INDEX ix_events_study_instance_uid ON events (study_instance_uid);
CREATE TABLE findings ( study_instance_uid VARCHAR(64) NOT NULL, digest VARCHAR(64) NOT NULL, sop_instance_uid
    VARCHAR(64) NOT NULL, decision VARCHAR(16) NOT NULL, region VARCHAR(32), probability FLOAT, reason VARCHAR
    NOT NULL, PRIMARY KEY (study_instance_uid, digest, sop_instance_uid) );
CREATE TABLE instances ( sop_instance_uid VARCHAR(64) NOT NULL, study_instance_uid VARCHAR(64) NOT NULL,
    series_instance_uid VARCHAR(64) NOT NULL, sop_class_uid VARCHAR(64) NOT NULL, transfer_syntax_uid
    VARCHAR(64) NOT NULL, calling_ae_title VARCHAR(16) NOT NULL, path VARCHAR NOT NULL, sha256 VARCHAR(64) NOT
    NULL, size BIGINT NOT NULL, role VARCHAR(16) NOT NULL, received_at FLOAT NOT NULL, PRIMARY KEY
    (sop_instance_uid) );
CREATE INDEX ix_instances_study_instance_uid ON instances (study_instance_uid);
CREATE TABLE results ( sop_instance_uid VARCHAR(64) NOT NULL, study_instance_uid VARCHAR(64) NOT NULL, digest
    VARCHAR(64) NOT NULL, sop_class_uid VARCHAR(64) NOT NULL, series_instance_uid VARCHAR(64) NOT NULL, kind
    VARCHAR(32) NOT NULL, path VARCHAR NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (sop_instance_uid) );
CREATE INDEX results_of_revision ON results (study_instance_uid, digest);
CREATE TABLE revision_instances ( study_instance_uid VARCHAR(64) NOT NULL, digest VARCHAR(64) NOT NULL,
    sop_instance_uid VARCHAR(64) NOT NULL, PRIMARY KEY (study_instance_uid, digest, sop_instance_uid) );
CREATE TABLE revisions ( study_instance_uid VARCHAR(64) NOT NULL, digest VARCHAR(64) NOT NULL, version INTEGER
    NOT NULL, created_at FLOAT NOT NULL, state VARCHAR(16) NOT NULL, changed_at FLOAT NOT NULL, reason VARCHAR
    NOT NULL, attempt INTEGER NOT NULL, PRIMARY KEY (study_instance_uid, digest), UNIQUE (study_instance_uid,
    version) );
CREATE INDEX ix_revisions_state ON revisions (state);
CREATE TABLE studies ( study_instance_uid VARCHAR(64) NOT NULL, first_open_at FLOAT, last_received_at FLOAT
    NOT NULL, forced BOOLEAN NOT NULL, PRIMARY KEY (study_instance_uid) );
CREATE INDEX ix_studies_first_open_at ON studies (first_open_at)
"""
"""The first release."""

WITH_DISPATCHES = f"""{FIRST};
ALTER TABLE revisions ADD COLUMN cautious BOOLEAN NOT NULL DEFAULT FALSE;
CREATE TABLE dispatches ( study_instance_uid VARCHAR(64) NOT NULL, digest VARCHAR(64) NOT NULL, destination
    VARCHAR(32) NOT NULL, tries INTEGER NOT NULL, next_try_at FLOAT NOT NULL, PRIMARY KEY (study_instance_uid,
    digest, destination) );
CREATE INDEX ix_dispatches_next_try_at ON dispatches (next_try_at)
"""
"""A later one, which also noted whether a study had taken the worker down."""

STUDIES = ("1.2.1", "1.2.2", "1.2.3")
"""What was delivered, what was being delivered, and what the archive had refused."""


def make_database(url: str, statements: str) -> None:
    """Make a database as an earlier release did, with an answered study for each of `STUDIES`."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            statements = statements.replace("id INTEGER", "id SERIAL")
        for statement in statements.split(";"):
            connection.execute(sa.text(" ".join(statement.split())))  # SQLAlchemy reads them back
        for study, state, delivery in zip(
            STUDIES, ("done", "delivering", "done"), ("sent", "pending", "refused"), strict=True
        ):
            for table, values in _rows_of(study, state, delivery).items():
                names = ", ".join(values)
                marks = ", ".join(f":{name}" for name in values)
                connection.execute(sa.text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), values)  # noqa: S608  # our own names
    engine.dispose()


def _rows_of(study: str, state: str, delivery: str) -> dict[str, dict[str, object]]:
    key = {"study_instance_uid": study, "digest": "d"}
    image, result = f"{study}.1", f"{study}.2"
    return {
        "studies": {"study_instance_uid": study, "last_received_at": 100.0, "forced": False},
        "instances": {
            "sop_instance_uid": image,
            "study_instance_uid": study,
            "series_instance_uid": f"{study}.3",
            "sop_class_uid": "1.9",
            "transfer_syntax_uid": "1.8",
            "calling_ae_title": "PACS",
            "path": f"{study}/{image}.dcm",
            "sha256": "0",
            "size": 3_000_000_000,
            "role": "image",
            "received_at": 100.0,
        },
        "revisions": {
            **key,
            "version": 1,
            "created_at": 110.0,
            "state": state,
            "changed_at": 120.0,
            "reason": "",
            "attempt": 1,
        },
        "revision_instances": {**key, "sop_instance_uid": image},
        "results": {
            **key,
            "sop_instance_uid": result,
            "sop_class_uid": "1.7",
            "series_instance_uid": f"{study}.4",
            "kind": "encapsulated pdf",
            "path": f"{study}/d/{result}.dcm",
            "position": 0,
        },
        "deliveries": {
            **key,
            "destination": "archive",
            "sop_instance_uid": result,
            "state": delivery,
            "attempts": 1,
            "detail": "",
            "changed_at": 130.0,
        },
        "events": {"at": 110.0, "study_instance_uid": study, "what": "version 1"},
    }
