"""What every tool's books can do; how each does it stands in a module of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import psycopg
from psycopg import sql

from squizzle.errors import InvalidInputError, RefusedError
from squizzle.migrations.records import Direction, Migration, Outcome, PlannedMigration
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One migration that is in the database, as far as the tool's books say.

    Attributes:
        key: What `ToolBooks.key` gives for the migration on disk.
        label: What the tool's users call it.
        applied_at: When; None where the tool keeps no times.
        outdated: A repeatable migration that was applied with another text than it has now.
        changed: The tool's own checksum says that the file of this version was changed since.
    """

    key: str
    label: str
    applied_at: datetime | None = None
    outdated: bool = False
    changed: bool = False


class ToolBooks(ABC):
    """How one tool keeps its books about one folder of migrations.

    Args:
        folder: The migrations folder.
        migrations: What lies in it, in the tool's order.

    Attributes:
        tool: Its name.
        table: The table that says what is applied.
        columns: Those that we read and write; they tell this tool's table from another's of the same name.
        rights: What a user needs on the table to keep it.
        newest_only: The table holds nothing but the newest version: all before it count as applied, too.
    """

    tool: ClassVar[str]
    table: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    rights: ClassVar[tuple[str, ...]] = ("SELECT", "INSERT", "DELETE")
    newest_only: ClassVar[bool] = False

    def __init__(self, folder: Path, migrations: Sequence[Migration]) -> None:
        self.folder = folder
        self.migrations = tuple(migrations)

    # Where they are

    def schema(self, schema: str) -> str:
        """The schema of the tool's tables, for scripts that work in `schema`."""
        return schema

    def tables(self) -> tuple[str, ...]:
        """All tables that are written."""
        return (self.table,)

    def place(self, schema: str) -> str:
        """The table's name, for messages."""
        return f"{self.schema(schema)}.{self.table}"

    def name(self, schema: str) -> sql.Identifier:
        """The table's name, for queries: scripts may change `search_path`."""
        return sql.Identifier(self.schema(schema), self.table)

    def exist(self, connection: Connection, schema: str) -> bool:
        """Whether the table is there. Nothing is changed.

        Raises:
            InvalidInputError: It is another tool's, or of a version that we do not know.
        """
        rows = connection.execute(
            "SELECT attname, attnotnull AND NOT atthasdef AND attidentity = '' FROM pg_attribute"
            " WHERE attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) AND attnum > 0 AND NOT attisdropped",
            (self.schema(schema), self.table),
        )
        found: dict[str, bool] = dict(rows.fetchall())
        if not found:
            return False
        missing = [column for column in self.columns if column not in found]
        unknown = [column for column, needed in found.items() if needed and column not in self.columns]
        if missing or unknown:
            what = f"lacks {', '.join(missing)}" if missing else f"wants {', '.join(unknown)}, too"
            raise InvalidInputError(
                f"{self.place(schema)} is not as {self.tool} makes it: it {what}",
                hint="check --layout and --schema; nothing was changed",
            )
        return True

    def refuse_without_rights(self, connection: Connection, schema: str) -> None:
        """Make sure, before anything is run, that we may write what we will have to write.

        Raises:
            RefusedError: A right is missing; the message names it. Nothing was changed.
        """
        query = load_sql("squizzle.migrations.bookkeeping", "missing_rights")
        values = {"schema": self.schema(schema), "tables": list(self.tables()), "rights": list(self.rights)}
        missing = connection.execute(query, values).fetchall()
        if missing:
            rights = ", ".join(f"{right} on {where}" for where, right in missing)
            raise RefusedError(
                f"the books of {self.tool} cannot be kept: the user may not {rights}",
                hint="have it granted (GRANT … ON …), or set keep_in_step = false in [project]; nothing was changed",
            )

    # What they say

    @abstractmethod
    def key(self, migration: Migration) -> str:
        """What the books call a migration on disk."""

    def entries(self, connection: Connection, schema: str) -> tuple[Entry, ...]:
        """What is applied, as far as the books say; nothing when there are none. Nothing is changed.

        Raises:
            InvalidInputError: See `exist`.
            VersionConflictError: The tool's last run failed half-way.
            DatabaseError: No right to read them, or the session was lost.
        """
        try:
            return self._read(connection, schema) if self.exist(connection, schema) else ()
        except psycopg.Error as exc:
            raise translate_error(exc, doing=f"read {self.place(schema)}") from exc

    @abstractmethod
    def _read(self, connection: Connection, schema: str) -> tuple[Entry, ...]: ...

    # What we write

    def ensure(self, connection: Connection, schema: str) -> None:
        """Create the tables as the tool itself does, where they are missing.

        Raises:
            DatabaseError: No right to create them, or the session was lost.
        """
        if self.exist(connection, schema):
            return
        try:
            with connection.transaction():
                self._create(connection, schema)
        except psycopg.Error as exc:
            raise translate_error(exc, doing=f"create {self.place(schema)}") from exc

    @abstractmethod
    def _create(self, connection: Connection, schema: str) -> None: ...

    def note(self, connection: Connection, schema: str, step: PlannedMigration, outcome: Outcome) -> None:
        """Write what a script did, in the transaction that also writes our own history.

        Raises:
            psycopg.Error: They cannot be written.
        """
        if step.direction is Direction.APPLY:
            self.add(connection, schema, step.migration, outcome)
        else:
            self.remove(connection, schema, step.migration, outcome)

    @abstractmethod
    def add(self, connection: Connection, schema: str, migration: Migration, outcome: Outcome) -> None:
        """Write that a migration was applied."""

    @abstractmethod
    def remove(self, connection: Connection, schema: str, migration: Migration, outcome: Outcome) -> None:
        """Write that a migration was rolled back; nothing when the books do not have it."""


class RowBooks(ToolBooks):
    """Books that hold a row for each applied migration, found by one column.

    Attributes:
        key_column: The column.
        creation: Creates the table.
        reading: Gives the key and the time of each.
        insertion: Adds one.
    """

    key_column: ClassVar[str]
    creation: ClassVar[sql.SQL]
    reading: ClassVar[sql.SQL]
    insertion: ClassVar[sql.SQL]

    def _read(self, connection: Connection, schema: str) -> tuple[Entry, ...]:
        rows = connection.execute(self.reading.format(table=self.name(schema)))
        return tuple(Entry(key=key, label=key, applied_at=applied_at) for key, applied_at in rows)

    def _create(self, connection: Connection, schema: str) -> None:
        connection.execute(self.creation.format(table=self.name(schema)))

    def add(self, connection: Connection, schema: str, migration: Migration, outcome: Outcome) -> None:  # noqa: ARG002 - others keep times
        """Write that a migration was applied."""
        connection.execute(self.insertion.format(table=self.name(schema)), (self.key(migration),))

    def remove(self, connection: Connection, schema: str, migration: Migration, outcome: Outcome) -> None:  # noqa: ARG002 - others keep times
        """Write that a migration was rolled back."""
        deletion = sql.SQL("DELETE FROM {table} WHERE {column} = %s")
        query = deletion.format(table=self.name(schema), column=sql.Identifier(self.key_column))
        connection.execute(query, (self.key(migration),))
