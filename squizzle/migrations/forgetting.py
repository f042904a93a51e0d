"""Letting go of saved rows, when nobody will want them back."""

from __future__ import annotations

import psycopg
from psycopg import sql

from squizzle.errors import VersionConflictError
from squizzle.migrations.history import note_saved, read_history
from squizzle.migrations.saved_rows import RowsOfTable
from squizzle.migrations.session import exclusive
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target, check_identity, read_identity
from squizzle.postgres.translation import translate_error


def forget_saved_rows(connection: Connection, target: Target, version: str) -> tuple[RowsOfTable, ...]:
    """Drop the rows that every run of a version saved; in one transaction, together with their notes.

    Args:
        connection: A session in the target's database.
        target: The database, and who the caller means by it.
        version: Whose.

    Returns:
        What was dropped.

    Raises:
        IdentityMismatchError, LockTimeoutError: See `exclusive`; nothing was changed.
        VersionConflictError: It saved none; nothing was changed.
        DatabaseError: No right to drop them; nothing was changed.
    """
    check_identity(read_identity(connection), target.expected, database=target.database)
    with exclusive(connection, target):
        rows = [row for row in read_history(connection, target.schema).rows if row.version == version]
        saved = [(row.id, row.saved_rows) for row in rows if row.saved_rows is not None]
        if not saved:
            raise VersionConflictError(
                f"no run of {version} has saved rows", hint="`squizzle status --json` lists what is saved"
            )
        tables = {one.name: one for _, each in saved for one in each.tables}
        try:
            with connection.transaction():
                for name in tables:
                    _drop(connection, name)
                for row_id, _ in saved:
                    note_saved(connection, target.schema, row_id, None)
        except psycopg.Error as exc:
            raise translate_error(exc, doing=f"drop the saved rows of {version}") from exc
        return tuple(tables.values())


_SAVED = """
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = to_regclass(%s) AND n.nspname = 'squizzle_undo' AND c.relkind = 'r'
"""


def _drop(connection: Connection, name: str) -> None:
    # Whoever may write to the history must not have anything else dropped, or run, as us.
    for place in connection.execute(_SAVED, (name,)).fetchall():
        connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(*place)))
