"""dbmate's books: the versions, nothing else.

Facts from dbmate's sources (`pkg/driver/postgres/postgres.go`) and its program, version 2.37: `version` is `varchar`
without a length (255 in older versions); a rollback deletes the row; the schema is that of `search_path`.
"""

from __future__ import annotations

from psycopg import sql

from squizzle.migrations.bookkeeping.tool_books import RowBooks
from squizzle.migrations.records import Migration


class DbmateBooks(RowBooks):
    """`schema_migrations (version)`."""

    tool = "dbmate"
    table = "schema_migrations"
    columns = ("version",)
    key_column = "version"
    creation = sql.SQL("CREATE TABLE {table} (version varchar PRIMARY KEY)")
    reading = sql.SQL("SELECT version, NULL FROM {table}")
    insertion = sql.SQL("INSERT INTO {table} (version) VALUES (%s)")

    def key(self, migration: Migration) -> str:
        """The digits in front of the file's name."""
        return migration.version
