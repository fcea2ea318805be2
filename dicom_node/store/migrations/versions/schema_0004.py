"""Results in several languages."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; what was made before goes to every destination, as it did."""
    op.add_column("results", sa.Column("language", sa.String(8), nullable=False, server_default=""))
