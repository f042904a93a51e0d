"""diesel's books: the versions and when each was run.

Facts from diesel's sources (`diesel/src/migration/setup_migration_table.sql`, `diesel_migrations`): the version is the
number of the folder without its `-`; a revert deletes the row.
"""

from __future__ import annotations

from psycopg import sql

from squizzle.migrations.bookkeeping.tool_books import RowBooks
from squizzle.migrations.records import Migration


class DieselBooks(RowBooks):
    """`__diesel_schema_migrations (version, run_on)`."""

    tool = "diesel"
    table = "__diesel_schema_migrations"
    columns = ("version", "run_on")
    key_column = "version"
    creation = sql.SQL(
        "CREATE TABLE {table}"
        " (version varchar(50) PRIMARY KEY NOT NULL, run_on timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP)"
    )
    reading = sql.SQL("SELECT version, run_on::timestamptz FROM {table}")
    insertion = sql.SQL("INSERT INTO {table} (version) VALUES (%s)")

    def key(self, migration: Migration) -> str:
        """The folder's number."""
        return migration.version
