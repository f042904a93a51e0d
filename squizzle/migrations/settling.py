"""Saying in the history that a script which failed is not there: the server took it back, or what it did was undone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import psycopg
from psycopg import sql

from squizzle.errors import RefusedError, VersionConflictError
from squizzle.migrations.approvals import Approvals
from squizzle.migrations.bookkeeping.tool_books import ToolBooks
from squizzle.migrations.history import history_table, read_history
from squizzle.migrations.operations import roll_back_versions
from squizzle.migrations.records import Direction, Migration, Policy, RowState
from squizzle.migrations.session import exclusive
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target
from squizzle.postgres.translation import translate_error
from squizzle.proof.digests import digest_schema

_ROW = """
    INSERT INTO {history} (version, name, checksum, direction, success, environment, duration_ms, schema_digest)
    SELECT version, name, checksum, 'rollback', true, environment, 0, %s FROM {history} WHERE id = %s
"""

# A statement, for a script without any is none.
_DONE_BY_UNDO = "SELECT 'taken back by the change log before'"


def note_undone(
    connection: Connection,
    target: Target,
    migrations: Sequence[Migration],
    versions: Sequence[str],
    *,
    policy: Policy = Policy(),  # noqa: B008 - frozen
    books: ToolBooks | None = None,
    approvals: Approvals | None = None,
) -> str:
    """Write that versions are taken back whose rows the change log brought back, and whose schema is as before.

    Written by whoever runs down scripts, under the migration lock, each with a script that does nothing; so the books
    of another tool follow.

    Args:
        connection: A session in the target's database.
        target: The database, and who the caller means by it.
        migrations: What is on disk.
        versions: Which, in the order in which they go; applied, or half done.
        policy: What the project allows.
        books: Another tool's; None to leave them alone.
        approvals: What may be changed; None where nobody has to say so.

    Returns:
        What the schema is as, in a clause.

    Raises:
        RefusedError: The schema is not as the last run that succeeded left it; nothing was changed.
        SquizzleError: See `roll_back_versions`; what was written before stays.
    """
    before, found = (
        read_history(connection, target.schema).schema_digest,
        digest_schema(connection, schema=target.schema).logical,
    )
    _refuse_other_schema(", ".join(versions), before, found)
    undone = [replace(one, down_sql=_DONE_BY_UNDO) if one.version in versions else one for one in migrations]
    for version in versions:
        roll_back_versions(connection, target, undone, only=version, policy=policy, books=books, approvals=approvals)
    return _shown_by(found)


def settle_failed(connection: Connection, target: Target, version: str) -> str:
    """Write the row that a version is taken back which failed and left nothing, after the schema was compared.

    Nothing else is changed. It is pending again afterwards, and no longer failed.

    Args:
        connection: A session in the target's database.
        target: The database, and who the caller means by it.
        version: Which.

    Returns:
        What was compared, in a clause.

    Raises:
        IdentityMismatchError, BeingMigratedError: See `exclusive`; nothing was changed.
        VersionConflictError: Its last run did not fail, or it left something; nothing was changed.
        RefusedError: The schema is not as the last run that succeeded left it, or none did; nothing was changed.
        DatabaseError: No right to write the history; nothing was changed.
    """
    with exclusive(connection, target):
        history = read_history(connection, target.schema)
        failed = {row.version: row for row in history.in_state(RowState.FAILED)}
        row = failed.get(version)
        left_something = version in history.half_done()
        if row is None or row.direction is not Direction.APPLY or left_something:
            raise VersionConflictError(
                f"{version} has not failed as a whole, so the server has not taken all of it back",
                hint=f"`squizzle status` shows what is there; `squizzle rollback {version}` takes it back",
            )
        before, found = history.schema_digest, digest_schema(connection, schema=target.schema).logical
        _refuse_other_schema(version, before, found)
        try:
            connection.execute(sql.SQL(_ROW).format(history=history_table(target.schema)), (found, row.id))
        except psycopg.Error as exc:
            raise translate_error(exc, doing=f"write down that {version} is not there") from exc
    return _shown_by(found)


def _refuse_other_schema(what: str, before: str | None, found: str) -> None:
    if before != found:
        why = f"it was {before[:12]} and is {found[:12]}" if before else "no run before it has ended well"
        raise RefusedError(
            f"nothing shows that {what} left nothing behind: {why}",
            hint="`squizzle verify` says what is different; put it right, then apply again",
        )


def _shown_by(found: str) -> str:
    return f"the schema is as the last run before it left it ({found[:12]})"
