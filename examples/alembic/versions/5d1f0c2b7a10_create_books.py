"""create books."""

import sqlalchemy as sa
from alembic import op

revision = "5d1f0c2b7a10"
down_revision = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "books",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("title", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_table("books")
