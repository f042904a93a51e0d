"""Runs the revisions, as Alembic's own template has it."""

import os

import sqlalchemy as sa
from alembic import context

url = os.environ.get("ALEMBIC_URL", "postgresql+psycopg://localhost/library")


def run_migrations_offline() -> None:
    """Write SQL instead of running it."""
    context.configure(url=url, literal_binds=True, dialect_opts={"paramstyle": "named"})
    with context.begin_transaction():
        context.run_migrations()


def run_migrations_online() -> None:
    """Run them on a connection."""
    with sa.create_engine(url, poolclass=sa.pool.NullPool).connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_migrations_offline()
else:
    run_migrations_online()
