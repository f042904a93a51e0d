"""golang-migrate's books: the newest version, and whether its script failed half-way.

Facts from golang-migrate's sources (`database/postgres/postgres.go`): one row; none when nothing is applied; after a
way back it holds the version before. All versions up to it count as applied, also those that came later with a lower
number.
"""

from __future__ import annotations

from psycopg import sql

from squizzle.errors import VersionConflictError
from squizzle.migrations.bookkeeping.tool_books import Entry, ToolBooks
from squizzle.migrations.history import read_history
from squizzle.migrations.records import Migration, Outcome
from squizzle.postgres.access import Connection


class GolangMigrateBooks(ToolBooks):
    """`schema_migrations (version, dirty)`."""

    tool = "golang-migrate"
    table = "schema_migrations"
    columns = ("version", "dirty")
    newest_only = True

    def key(self, migration: Migration) -> str:
        """The file's number."""
        return str(int(migration.version))

    def _read(self, connection: Connection, schema: str) -> tuple[Entry, ...]:
        query = sql.SQL("SELECT version, dirty FROM {table} LIMIT 1").format(table=self.name(schema))
        row = connection.execute(query).fetchone()
        if row is None:
            return ()
        version, dirty = row
        if dirty:
            raise VersionConflictError(
                f"{self.place(schema)} says that version {version} is dirty: it failed half-way",
                hint="put the schema right and clear the mark with the tool itself (`migrate force`), then go on here",
            )
        numbers = {int(migration.version) for migration in self.migrations}
        covered = sorted({number for number in numbers if number <= version} | {version})
        return tuple(Entry(key=str(number), label=str(number)) for number in covered)

    def _create(self, connection: Connection, schema: str) -> None:
        definition = sql.SQL("CREATE TABLE {table} (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)")
        connection.execute(definition.format(table=self.name(schema)))

    def add(self, connection: Connection, schema: str, migration: Migration, outcome: Outcome) -> None:  # noqa: ARG002 - others keep times
        """Write the newest version."""
        self._write_current(connection, schema)

    def remove(self, connection: Connection, schema: str, migration: Migration, outcome: Outcome) -> None:  # noqa: ARG002 - others keep times
        """Write the version that is the newest now."""
        self._write_current(connection, schema)

    def _write_current(self, connection: Connection, schema: str) -> None:
        """The history has the new row already, and knows of versions that came late, which this table cannot say."""
        current = read_history(connection, schema).current
        # The tool itself truncates; a DELETE locks out nobody who reads.
        connection.execute(sql.SQL("DELETE FROM {table}").format(table=self.name(schema)))
        if current is not None:
            insertion = sql.SQL("INSERT INTO {table} (version, dirty) VALUES (%s, false)")
            connection.execute(insertion.format(table=self.name(schema)), (int(current),))
