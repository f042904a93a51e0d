"""add isbn."""

import sqlalchemy as sa
from alembic import op

revision = "9a3e4417c0de"
down_revision = "5d1f0c2b7a10"


def upgrade() -> None:
    """Add the column, and its index without keeping anybody from writing."""
    op.add_column("books", sa.Column("isbn", sa.Text))
    with op.get_context().autocommit_block():
        op.create_index("books_isbn_idx", "books", ["isbn"], postgresql_concurrently=True)


def downgrade() -> None:
    """Both go with the column."""
    op.drop_column("books", "isbn")
