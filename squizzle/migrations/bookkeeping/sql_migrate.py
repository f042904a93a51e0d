"""sql-migrate's books: the files and when each was run.

Facts from sql-migrate's sources (`migrate.go`, table made by gorp) and its program: a migration is known by its whole
file name; the time is the program's own; a way back deletes the row.
"""

from __future__ import annotations

from psycopg import sql

from squizzle.migrations.bookkeeping.tool_books import RowBooks
from squizzle.migrations.records import Migration


class SqlMigrateBooks(RowBooks):
    """`gorp_migrations (id, applied_at)`."""

    tool = "sql-migrate"
    table = "gorp_migrations"
    columns = ("id", "applied_at")
    key_column = "id"
    creation = sql.SQL("CREATE TABLE {table} (id text NOT NULL PRIMARY KEY, applied_at timestamp with time zone)")
    reading = sql.SQL("SELECT id, applied_at FROM {table}")
    insertion = sql.SQL("INSERT INTO {table} (id, applied_at) VALUES (%s, clock_timestamp())")

    def key(self, migration: Migration) -> str:
        """The file's name."""
        return migration.labels.up
