"""Alembic's books: only a project's own env.py knows where they are, and its revisions write them themselves."""

from __future__ import annotations

from squizzle.errors import RefusedError
from squizzle.migrations.bookkeeping.tool_books import Entry, ToolBooks
from squizzle.migrations.records import Migration, Outcome, PlannedMigration
from squizzle.postgres.access import Connection


class AlembicBooks(ToolBooks):
    """`alembic_version`, or what env.py calls it: the heads; all that they need count as applied, too."""

    tool = "Alembic"
    table = "alembic_version"
    columns = ("version_num",)

    def place(self, schema: str) -> str:  # noqa: ARG002 - env.py decides
        """The table's name, for messages."""
        return "Alembic's version table"

    def exist(self, connection: Connection, schema: str) -> bool:  # noqa: ARG002 - an absent table says: nothing applied
        """Whether there are books; Alembic takes an absent table for an empty one."""
        return True

    def refuse_without_rights(self, connection: Connection, schema: str) -> None:
        """Nothing to refuse: a revision that cannot write the table fails as a whole."""

    def key(self, migration: Migration) -> str:
        """The revision."""
        return migration.alias

    def _read(self, connection: Connection, schema: str) -> tuple[Entry, ...]:  # noqa: ARG002
        program = next((one.program for one in self.migrations if one.program is not None), None)
        applied = program.applied(connection) if program is not None else frozenset()
        return tuple(Entry(key=revision, label=revision) for revision in sorted(applied))

    def _create(self, connection: Connection, schema: str) -> None:
        """Alembic makes its table itself, with the first revision."""

    def note(self, connection: Connection, schema: str, step: PlannedMigration, outcome: Outcome) -> None:
        """Nothing to write: the revision wrote it, in the same transaction."""

    def add(self, connection: Connection, schema: str, migration: Migration, outcome: Outcome) -> None:  # noqa: ARG002
        """Refuse: what is in Alembic's table is for Alembic to write.

        Raises:
            RefusedError: Always; nothing was changed.
        """
        raise RefusedError(
            f"Alembic's version table is Alembic's to write, and it lacks {migration.alias}",
            hint=f"alembic stamp {migration.alias}, then adopt again; nothing was changed",
        )

    def remove(self, connection: Connection, schema: str, migration: Migration, outcome: Outcome) -> None:
        """Refuse, as for `add`."""
        self.add(connection, schema, migration, outcome)
