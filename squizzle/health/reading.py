"""Looking at who waits for whom; nothing is changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from squizzle.analysis.locks.modes import lock_mode
from squizzle.errors import CouldNotVerifyError
from squizzle.health.records import LockPicture, LockWait, PreparedTransaction, Session
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error

# "SQZ" in ASCII: the first key of every advisory lock of ours begins so, and its fourth byte says what it is for.
OUR_LOCKS = 0x53515A


def read_locks(connection: Connection) -> LockPicture:
    """Who waits for whom in this database, and every session of the cluster.

    Waits are read before sessions, so a blocker that has ended in between is missing, and none is there twice.

    Args:
        connection: A session in the database, outside a transaction.

    Raises:
        DatabaseError: The session was lost.
    """
    try:
        waits = tuple(_wait(*row) for row in connection.execute(load_sql("squizzle.health", "waits"), ()).fetchall())
        sessions = read_sessions(connection)
        with connection.cursor(row_factory=class_row(PreparedTransaction)) as cursor:
            prepared = tuple(cursor.execute(load_sql("squizzle.health", "prepared")).fetchall())
        row = connection.execute("SELECT current_database(), clock_timestamp()").fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="see who waits for whom") from exc
    if row is None:
        raise CouldNotVerifyError("the server did not say which database this is", hint="try again")
    return LockPicture(database=row[0], at=row[1], sessions=sessions, waits=waits, prepared=prepared)


def read_sessions(connection: Connection) -> tuple[Session, ...]:
    """Every session of the cluster but this one.

    Raises:
        psycopg.Error: The session was lost.
    """
    with connection.cursor(row_factory=class_row(Session)) as cursor:
        rows = cursor.execute(load_sql("squizzle.health", "sessions"), {"our_locks": OUR_LOCKS}).fetchall()
    return tuple(rows)


def _wait(
    pid: int,
    since: datetime | None,
    kind: str,
    mode: str,
    relation: str,
    blockers: Sequence[int],
    prepared: Sequence[str],
) -> LockWait:
    held = (one.rpartition("\n")[::2] for one in prepared)
    return LockWait(
        pid=pid,
        since=since,
        kind=kind,
        relation=relation,
        mode=mode,
        blockers=tuple(one for one in blockers if one),
        # pg_blocking_pids says 0 for a prepared transaction.
        prepared=tuple(dict.fromkeys(gid for gid, by in held if _conflict(mode, by))) if 0 in blockers else (),
    )


def _conflict(wanted: str, held: str) -> bool:
    first, second = lock_mode(wanted), lock_mode(held)
    return first is None or second is None or second in first.conflicts
