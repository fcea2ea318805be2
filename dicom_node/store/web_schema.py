"""The tables of the web process: who may see its pages. No patient data, and no secret: only what secrets are known by.

They are beside the studies, and not in a file of their own, because every web process of a node must see at once that a
user is gone or a session has ended, whichever machine it runs on.
"""

import sqlalchemy as sa

from dicom_node.store.schema import metadata

web_users = sa.Table(
    "web_users",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("role", sa.String(32), nullable=False),
    sa.Column("password_hash", sa.String(255), nullable=False),
    sa.Column("changed_at", sa.Float, nullable=False),
)

web_sessions = sa.Table(
    "web_sessions",
    metadata,
    # SHA-256 of what the cookie holds.
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("user", sa.String(64), nullable=False, index=True),
    sa.Column("begun_at", sa.Float, nullable=False),
    sa.Column("seen_at", sa.Float, nullable=False, index=True),
)

web_tokens = sa.Table(
    "web_tokens",
    metadata,
    # SHA-256 of what the program shows that has it.
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("user", sa.String(64), nullable=False, index=True),
    sa.Column("label", sa.String(64), nullable=False),
    sa.Column("made_at", sa.Float, nullable=False),
    sa.UniqueConstraint("user", "label"),
)

# Passwords that were tried and have not proven right.
web_attempts = sa.Table(
    "web_attempts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    # SHA-256 of the account and the address it was tried from, or of the address alone.
    sa.Column("key", sa.String(64), nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False, index=True),
)
