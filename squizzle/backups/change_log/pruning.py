"""Letting old changes go: whole transactions, in batches, and noting how far the log reaches back after that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from squizzle.backups.change_log.reading import LOG_TABLES, NEEDS, is_installed
from squizzle.errors import DatabaseState, InvalidInputError
from squizzle.postgres.access import Connection
from squizzle.postgres.own_tables import ensure_tables
from squizzle.postgres.translation import translate_error

# A batch is one transaction of well under a second; nobody waits for it, and autovacuum can follow.
_BATCH = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Prunable:
    """What of the log may go.

    Attributes:
        before: Changes of transactions that changed nothing at or after this; None when nothing goes.
        changes: How many those are.
    """

    before: datetime | None
    changes: int


def find_prunable(
    connection: Connection,
    *,
    now: datetime,
    keep: timedelta | None,
    max_bytes: int | None,
    tables: tuple[tuple[str, str], ...] = (),
) -> Prunable:
    """What goes when the log keeps so much: whatever is too old, and the oldest that is too much. Nothing is changed.

    Args:
        connection: A session in the database, of the owner of the log.
        now: The server's time, or the caller's.
        keep: How long changes are kept; None for ever.
        max_bytes: How large the log may be with its indexes, taking every change as equally large; None for any size.
        tables: (schema, name): changes of these only, those that are no longer logged too; none for all.

    Raises:
        InvalidInputError: One of them was never logged.
        DatabaseError: No right to read the log.
    """
    if not is_installed(connection):
        return Prunable(before=None, changes=0)
    try:
        limits = [now - keep] if keep is not None else []
        if max_bytes is not None:
            limits += _limit_of_size(connection, max_bytes)
        if not limits:
            return Prunable(before=None, changes=0)
        logged = _entries(connection, tables)
        given = {"before": max(limits), "logged": logged}
        row = connection.execute(f"SELECT count(*) FROM ({_OLD}) old", given).fetchone()  # noqa: S608
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read the change log", needs=NEEDS) from exc
    return Prunable(before=max(limits), changes=row[0] if row else 0)


def prune(connection: Connection, before: datetime, *, tables: tuple[tuple[str, str], ...] = ()) -> int:
    """Delete changes of transactions that changed nothing at or after a time; returns how many.

    First how far the log reaches back is noted, so that a prune that is killed never leaves a log that seems whole.
    The space is used again by new changes; only VACUUM FULL squizzle_log.change gives it back to the disk.

    Args:
        connection: A session in the database, of the owner of the log.
        before: Changes of transactions that changed nothing at or after this.
        tables: As for `find_prunable`.

    Raises:
        InvalidInputError: One of them was never logged; nothing was changed.
        DatabaseError: No right to, or the session was lost; batches before it stay deleted.
    """
    done = 0
    try:
        given = {"before": before, "logged": _entries(connection, tables), "batch": _BATCH}
        newest = f"SELECT max(xid) FROM ({_OLD}) o"  # noqa: S608
        ensure_tables(connection, LOG_TABLES)
        values = f"SELECT %(before)s, ({newest}), %(logged)s::integer[]"
        connection.execute(f"INSERT INTO squizzle_log.pruned (before, xid, logged) {values}", given)
        while True:
            count = connection.execute(
                f"DELETE FROM squizzle_log.change WHERE id IN (SELECT id FROM ({_OLD}) old LIMIT %(batch)s)",  # noqa: S608
                given,
            ).rowcount
            done += count
            if count < _BATCH:
                return done
    except psycopg.Error as exc:
        state = DatabaseState.CHANGED if done else DatabaseState.UNTOUCHED
        raise translate_error(exc, doing="prune the change log", database_state=state, needs=NEEDS) from exc


# Whole transactions, of which a part would be a wrong way back; `kept` are the few that reach over the limit. A batch
# that ends within a transaction is no harm: `pruned` says already that it is gone.
_OLD = """
    SELECT c.id, c.xid FROM squizzle_log.change c WHERE c.logged_at < %(before)s
    AND (%(logged)s::integer[] IS NULL OR c.logged = ANY (%(logged)s::integer[])) AND NOT EXISTS (
        SELECT FROM squizzle_log.change kept WHERE kept.logged_at >= %(before)s
        AND kept.began_at < %(before)s AND kept.xid = c.xid AND kept.began_at = c.began_at)
"""


def _entries(connection: Connection, tables: tuple[tuple[str, str], ...]) -> list[int] | None:
    """The entries of these tables in the log; None for all tables."""
    if not tables:
        return None
    found: list[int] = []
    for schema, name in tables:
        rows = connection.execute(
            "SELECT id FROM squizzle_log.logged_table WHERE schema_name = %s AND table_name = %s", (schema, name)
        ).fetchall()
        if not rows:
            raise InvalidInputError(
                f"{schema}.{name} was never logged", hint="`squizzle changelog status` lists what is and was"
            )
        found += [number for (number,) in rows]
    return found


def _limit_of_size(connection: Connection, max_bytes: int) -> list[datetime]:
    row = connection.execute(
        "SELECT pg_total_relation_size('squizzle_log.change'), count(*) FROM squizzle_log.change"
    ).fetchone()
    size, changes = row or (0, 0)
    if size <= max_bytes or not changes:
        return []
    kept = int(changes * max_bytes / size)
    found = connection.execute(
        "SELECT logged_at FROM squizzle_log.change ORDER BY id DESC OFFSET %s LIMIT 1", (max(kept - 1, 0),)
    ).fetchone()
    return [found[0]] if found else []
