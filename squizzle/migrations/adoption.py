"""Taking over from another tool: its bookkeeping becomes our history, and nothing is run.

It can be done again: what the tool did since is taken in, too. Where the two contradict each other, only a person can
know which is right, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import psycopg
from psycopg import sql

from squizzle.errors import (
    ChecksumMismatchError,
    DatabaseState,
    InvalidInputError,
    SquizzleError,
    VersionConflictError,
)
from squizzle.migrations.bookkeeping.comparison import Difference, compare, refuse_unknown, which_is_right
from squizzle.migrations.bookkeeping.tool_books import ToolBooks
from squizzle.migrations.history import ensure_history, history_table, read_history, record_digest
from squizzle.migrations.records import Direction, Migration, Outcome
from squizzle.migrations.session import exclusive
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target, check_identity, ensure_identity, read_identity
from squizzle.postgres.translation import is_connection_loss, translate_error
from squizzle.proof.digests import digest_schema


class Trust(StrEnum):
    """Which of the two is right about what only our history has."""

    BOOKS = "books"
    HISTORY = "history"


@dataclass(frozen=True, kw_only=True, slots=True)
class Adopted:
    """One migration that the other tool applied; `applied_at` is None where it keeps no times."""

    migration: Migration
    applied_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Adoption:
    """What becomes, or became, of the differences between the two.

    Attributes:
        adopted: What the history gets from the tool's books, in the order of versions.
        rolled_back: What the tool took back, which the history notes, newest first.
        written: What the tool's books get from the history, oldest first.
    """

    adopted: tuple[Adopted, ...] = ()
    rolled_back: tuple[Migration, ...] = ()
    written: tuple[Migration, ...] = ()


def preview_adoption(
    connection: Connection, target: Target, books: ToolBooks, *, trust: Trust | None = None
) -> Adoption:
    """What `adopt_history` would write now; raises what it would raise. Nothing is changed.

    Args:
        connection: A session in the target's database.
        target: The database, and who the caller means by it.
        books: Those of the tool that was used so far.
        trust: Which is right about versions that the history has and the books lack; None when there should be none.

    Raises:
        InvalidInputError: The tool's table is not there, or is another tool's.
        VersionConflictError: The tool's last run failed half-way; it applied what is not on disk; or the history has
            what the books lack, and nobody said which is right.
        ChecksumMismatchError: The tool's checksum says that a file was changed after it was applied.
        IdentityMismatchError: Another database than was meant.
    """
    check_identity(read_identity(connection), target.expected, database=target.database)
    history = read_history(connection, target.schema)
    if (not history.rows or trust is Trust.BOOKS) and not books.exist(connection, target.schema):
        raise InvalidInputError(
            f"{books.tool} keeps its books in {books.place(target.schema)}, which is not there",
            hint="check --layout and --schema; nothing was changed",
        )
    difference = compare(books, books.entries(connection, target.schema), history)
    refuse_unknown(books, difference.unknown, target.schema)
    _refuse_changed(books, difference)
    ours = difference.only_ours
    if ours and trust is None:
        raise VersionConflictError(
            f"the history has what {books.tool} does not know as applied: {', '.join(one.version for one in ours)}",
            hint=which_is_right(books),
        )
    return Adoption(
        adopted=tuple(Adopted(migration=one, applied_at=entry.applied_at) for one, entry in difference.only_theirs),
        rolled_back=ours[::-1] if trust is Trust.BOOKS else (),
        written=ours if trust is Trust.HISTORY else (),
    )


def adopt_history(connection: Connection, target: Target, books: ToolBooks, *, trust: Trust | None = None) -> Adoption:
    """Fill the history from the other tool's books, all of it or nothing; no script is run.

    Args and errors as for `preview_adoption`, and LockTimeoutError when somebody migrates this database.
    """
    with exclusive(connection, target):
        adoption = preview_adoption(connection, target, books, trust=trust)
        ensure_identity(connection, target.expected, database=target.database)
        try:
            with connection.transaction():
                ensure_history(connection, target.schema)
                for one in adoption.adopted:
                    _insert(connection, target, one.migration, Direction.APPLY, one.applied_at)
                for migration in adoption.rolled_back:
                    _insert(connection, target, migration, Direction.ROLLBACK, None)
                _write(connection, target, books, adoption.written)
        except psycopg.Error as exc:
            raise _not_written(exc, target) from exc
        if adoption != Adoption():
            record_digest(connection, target.schema, digest_schema(connection, schema=target.schema).logical)
    return adoption


def _not_written(exc: psycopg.Error, target: Target) -> SquizzleError:
    lost = is_connection_loss(exc)
    error = translate_error(
        exc,
        doing=f"write the history of {target.database}",
        database_state=DatabaseState.UNKNOWN if lost else DatabaseState.UNTOUCHED,
        needs=f"SELECT, INSERT and UPDATE on {target.schema}.squizzle_history",
    )
    if lost:
        error.hint = (
            "`squizzle status` says whether the history is there: all of it or nothing; then run the same again"
        )
    return error


def _refuse_changed(books: ToolBooks, difference: Difference) -> None:
    changed = [entry.label for _, entry in difference.only_theirs if entry.changed]
    if changed:
        raise ChecksumMismatchError(
            f"changed after {books.tool} applied it: {', '.join(changed)}",
            hint=f"restore the file as it was (git log shows it), or have {books.tool} accept it (`flyway repair`)",
        )


def _write(connection: Connection, target: Target, books: ToolBooks, migrations: Sequence[Migration]) -> None:
    if not migrations:
        return
    books.ensure(connection, target.schema)
    try:
        for migration in migrations:
            outcome = Outcome(version=migration.version, direction=Direction.APPLY, duration=timedelta())
            books.add(connection, target.schema, migration, outcome)
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"write {books.place(target.schema)}") from exc


def _insert(
    connection: Connection, target: Target, migration: Migration, direction: Direction, at: datetime | None
) -> None:
    query = sql.SQL(
        "INSERT INTO {history} (version, name, checksum, direction, environment, success, applied_at)"
        " VALUES (%s, %s, %s, %s, %s, true, coalesce(%s, clock_timestamp()))"
    ).format(history=history_table(target.schema))
    values = (migration.version, migration.name, migration.checksum, direction.value, target.environment, at)
    connection.execute(query, values)
