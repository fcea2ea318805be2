"""What statistics, drift and alerts keep; studies from before have no statistics."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "image_statistics",
        sa.Column("study_instance_uid", sa.String(64), primary_key=True),
        sa.Column("sop_instance_uid", sa.String(64), primary_key=True),
        sa.Column("made_at", sa.Float, nullable=False, index=True),
        sa.Column("sender", sa.String(16), nullable=False),
        sa.Column("decision", sa.String(16), nullable=False, index=True),
        sa.Column("region", sa.String(32), nullable=True),
        sa.Column("probability", sa.Float, nullable=True),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("region_model", sa.String(128), nullable=True),
        sa.Column("fracture_model", sa.String(128), nullable=True),
        sa.Column("scope_distance", sa.Float, nullable=True),
    )
    op.create_table(
        "timings",
        sa.Column("study_instance_uid", sa.String(64), primary_key=True),
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("sender", sa.String(16), nullable=False),
        sa.Column("received_at", sa.Float, nullable=False),
        sa.Column("made_at", sa.Float, nullable=False),
        sa.Column("delivered_at", sa.Float, nullable=True),
        sa.Index("timings_in_order", "made_at", "received_at", "delivered_at"),
    )
    op.create_table(
        "alerts",
        sa.Column("channel", sa.String(16), primary_key=True),
        sa.Column("kind", sa.String(32), primary_key=True),
        sa.Column("subject", sa.String(64), primary_key=True),
        sa.Column("says", sa.String, nullable=False),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("told_at", sa.Float, nullable=False),
        sa.Column("gone_at", sa.Float, nullable=True),
    )
