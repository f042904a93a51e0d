"""Saying in the history that a script which failed is not there: the server took it back, or what it did was undone."""

from __future__ import annotations

import psycopg
from psycopg import sql

from squizzle.errors import RefusedError, VersionConflictError
from squizzle.migrations.history import history_table, read_history
from squizzle.migrations.records import Direction, RowState
from squizzle.migrations.session import exclusive
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target
from squizzle.postgres.translation import translate_error
from squizzle.proof.digests import digest_schema

_ROW = """
    INSERT INTO {history} (version, name, checksum, direction, success, environment, duration_ms, schema_digest)
    SELECT version, name, checksum, 'rollback', true, environment, 0, %s FROM {history} WHERE id = %s
"""


def settle_failed(connection: Connection, target: Target, version: str, *, is_undone: bool = False) -> str:
    """Write the row that a version is taken back which failed and left nothing, after the schema was compared.

    Nothing else is changed. It is pending again afterwards, and no longer failed.

    Args:
        connection: A session in the target's database.
        target: The database, and who the caller means by it.
        version: Which.
        is_undone: It left something, and the caller has brought every row back and compared them.

    Returns:
        What was compared, in a clause.

    Raises:
        IdentityMismatchError, BeingMigratedError: See `exclusive`; nothing was changed.
        VersionConflictError: Its last run did not fail, or what it left was not undone; nothing was changed.
        RefusedError: The schema is not as the last run that succeeded left it, or none did; nothing was changed.
        DatabaseError: No right to write the history; nothing was changed.
    """
    with exclusive(connection, target):
        history = read_history(connection, target.schema)
        failed = {row.version: row for row in history.in_state(RowState.FAILED)}
        row = failed.get(version)
        left_something = version in history.half_done() and not is_undone
        if row is None or row.direction is not Direction.APPLY or left_something:
            raise VersionConflictError(
                f"{version} has not failed as a whole, so the server has not taken all of it back",
                hint=f"`squizzle status` shows what is there; `squizzle rollback {version}` takes it back",
            )
        before, found = history.schema_digest, digest_schema(connection, schema=target.schema).logical
        if before is None or before != found:
            why = f"it was {before[:12]} and is {found[:12]}" if before else "no run before it has ended well"
            raise RefusedError(
                f"nothing shows that {version} left nothing behind: {why}",
                hint="`squizzle verify` says what is different; put it right, then apply again",
            )
        try:
            connection.execute(sql.SQL(_ROW).format(history=history_table(target.schema)), (found, row.id))
        except psycopg.Error as exc:
            raise translate_error(exc, doing=f"write down that {version} is not there") from exc
    return f"the schema is as the last run before it left it ({found[:12]})"
