"""Keeping everybody out of a database while it is being recovered, and letting them in again.

The fence is `ALTER DATABASE … ALLOW_CONNECTIONS false`: it stops superusers and owners alike, which a connection limit
or a REVOKE does not (measured). It is a property of the database, so a killed process leaves it as it is, and who
comes next can see it. Existing sessions are ended afterwards, so that no pool can slip in between.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from squizzle.errors import ConnectionFailedError, RecoveryError, RefusedError
from squizzle.postgres.access import CONTROL_DATABASE, Connection, ServerAccess, connect, server_pid
from squizzle.postgres.translation import translate_error, translated

# A session in a C function that ignores interrupts takes longer.
_TERMINATE_DEADLINE = timedelta(seconds=30)
# A session starts, and ends, within milliseconds.
_LOOK_AGAIN_S = 0.002
# A pooler keeps its session with the server when ours ends, so this is not waited for longer.
_OWN_END_DEADLINE = timedelta(seconds=1)


@contextmanager
def control_session(access: ServerAccess, *, purpose: str) -> Iterator[Connection]:
    """A session in the maintenance database, from where other databases are fenced and renamed.

    Raises:
        DatabaseError: Also for whatever of the driver's leaves the block, such as a server that went away.
    """
    with translated(f"go on ({purpose})"), connect(access, CONTROL_DATABASE, purpose=purpose) as connection:
        yield connection


def fence(control: Connection, database: str) -> int:
    """Let nobody new into a database, then end the sessions that are in it. Safe to repeat.

    Args:
        control: A session in another database of the same cluster.
        database: The database to close.

    Returns:
        How many sessions were ended.

    Raises:
        RecoveryError: Sessions would not end in time; the database is fenced and still has them.
        DatabaseError: Not the owner, or no such database; the database is as it was.
    """
    set_allow_connections(control, database, allow=False)
    return terminate_sessions(control, database)


def unfence(control: Connection, database: str) -> None:
    """Let everybody in again. Safe to repeat."""
    set_allow_connections(control, database, allow=True)


def is_fenced(control: Connection, database: str) -> bool:
    """Whether the database accepts no connections; ConnectionFailedError when there is no such database."""
    query: LiteralString = "SELECT datallowconn FROM pg_database WHERE datname = %s"
    rows = _rows(control, query, (database,), doing=f"see whether {database} is fenced")
    if not rows:
        raise ConnectionFailedError(f"there is no database {database!r}", hint="`psql -l` lists what is there")
    return not rows[0][0]


def set_allow_connections(control: Connection, database: str, *, allow: bool) -> None:
    """Open or close a database for new sessions; takes effect at once and needs no empty database.

    Raises:
        RefusedError: It is the maintenance database, from where every other one is fenced; nothing was changed.
        DatabaseError: Not the owner, or no such database; nothing was changed.
    """
    if database == CONTROL_DATABASE:
        raise RefusedError(
            f"{database} is the maintenance database, from where others are fenced: it cannot be fenced itself",
            hint="name the database of your application; one that is called postgres has to be renamed first",
        )
    command = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
        sql.Identifier(database), sql.SQL("true" if allow else "false")
    )
    try:
        control.execute(command)
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"{'open' if allow else 'fence'} {database}") from exc


def terminate_sessions(control: Connection, database: str, *, keep_pid: int = 0) -> int:
    """End every session in a database, except one, until none is left.

    Args:
        control: A session in another database.
        database: Whose sessions.
        keep_pid: A session to leave alone; 0 for none.

    Returns:
        How many clients were ended; autovacuum and other workers of the server end, too, and do not count.

    Raises:
        RecoveryError: Some would not end within 30 seconds; the message names them.
        DatabaseError: Not allowed to end a session (another superuser's, for one who is none).
    """
    ended: set[int] = set()
    starting: set[int] | None = None
    deadline = time.monotonic() + _TERMINATE_DEADLINE.total_seconds()
    while True:
        now, rows = _end_once(control, database, keep_pid)
        starting = now if starting is None else starting & now
        if not rows and not starting:
            return len(ended)
        ended.update(pid for pid, _name, kind, _told in rows if kind == "client backend")
        if time.monotonic() > deadline:
            break
        time.sleep(_LOOK_AGAIN_S)
    seen = [f"{pid} ({name or kind})" for pid, name, kind, _told in rows]
    left = ", ".join([*seen, *(f"{pid} (starting)" for pid in starting)])
    raise RecoveryError(
        f"sessions in {database} do not end: {left}", hint="end their processes on the server, then run the same again"
    )


def end_sessions(control: Connection, database: str) -> int:
    """End the sessions that are in a database now, once; those who come back meanwhile stay.

    Args:
        control: A session in any database of the cluster; it is left alone.
        database: Whose sessions.

    Returns:
        How many clients were ended; autovacuum and other workers of the server end, too, and do not count.

    Raises:
        ConnectionFailedError: There is no such database.
        RecoveryError: Some would not end within 30 seconds; the message names them.
        DatabaseError: Not allowed to end a session (another superuser's, for one who is none).
    """
    is_fenced(control, database)  # says so when there is none
    rows = _rows(control, _TERMINATE, (database, 0), doing=f"end the sessions in {database}")
    words = {pid: f"{pid} ({name or kind})" for pid, name, kind, _told in rows}
    deadline = time.monotonic() + _TERMINATE_DEADLINE.total_seconds()
    while left := _rows(control, _STILL_THERE, (list(words), database), doing=f"see who is in {database}"):
        if time.monotonic() > deadline:
            raise RecoveryError(
                f"sessions in {database} do not end: {', '.join(words[pid] for (pid,) in left)}",
                hint="run the same again; where it does not help, end their processes on the server",
            )
        time.sleep(_LOOK_AGAIN_S)
    return sum(1 for _pid, _name, kind, _told in rows if kind == "client backend")


def wait_until_gone(control: Connection, pid: int) -> None:
    """Wait until the server has ended a session that we closed, so that it is not counted among those of others.

    Closing only sends a farewell; the process at the server ends some milliseconds later. After a second this gives up:
    a pooler keeps its own session with the server.

    Args:
        control: Another session in the same cluster.
        pid: The process that served the closed one (`server_pid`).

    Raises:
        DatabaseError: The server was lost.
    """
    deadline = time.monotonic() + _OWN_END_DEADLINE.total_seconds()
    query: LiteralString = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
    while _rows(control, query, (pid,), doing="see whether our own session has ended"):
        if time.monotonic() > deadline:
            return
        time.sleep(_LOOK_AGAIN_S)


def server_time(control: Connection) -> datetime:
    """The time by the server's clock, so that what several machines did can be put in order."""
    row = _rows(control, "SELECT clock_timestamp()", (), doing="read the server's clock")[0]
    at: datetime = row[0]
    return at.astimezone(UTC)


def terminate_once(control: Connection, database: str) -> int:
    """End the sessions that are in a database at this moment; others may come. Returns how many clients were ended."""
    rows = _rows(control, _TERMINATE, (database, 0), doing=f"end the sessions in {database}")
    return sum(kind == "client backend" for _pid, _name, kind, _told in rows)


# All are told at once, and waited for together: with a timeout pg_terminate_backend waits for one before it tells the
# next, and looks only every 100 ms (pg_wait_until_termination() in PostgreSQL's source), so sixty took six seconds.
_TERMINATE = (
    "SELECT pid, application_name, backend_type, pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = %s AND pid NOT IN (%s, pg_backend_pid())"
)
_STILL_THERE = "SELECT pid FROM pg_stat_activity WHERE pid = ANY(%s) AND datname = %s"
# A session that starts is let in some milliseconds before pg_stat_activity shows it. For that long it holds this lock
# on the database (InitPostgres() in PostgreSQL's source), and one that comes after the fence is refused anyway.
_STARTING = (
    "SELECT pid FROM pg_locks WHERE locktype = 'object' AND classid = 'pg_database'::regclass"
    " AND objid = (SELECT oid FROM pg_database WHERE datname = %s) AND mode = 'RowExclusiveLock' AND granted"
)


# First who starts, then who is in: the join is a nested loop with the one row as its outer side, as no other join can
# have a condition like this one.
_END_ONCE = f"""
    WITH starting AS MATERIALIZED (SELECT coalesce(array_agg(s.pid), '{{}}') AS pids FROM ({_STARTING}) s)
    SELECT starting.pids, pid, application_name, backend_type, pg_terminate_backend(pid)
    FROM starting LEFT JOIN pg_stat_activity ON datname = %s AND pid NOT IN (%s, pg_backend_pid())
"""  # noqa: S608 - of constants


def _end_once(control: Connection, database: str, keep_pid: int) -> tuple[set[int], list[TupleRow]]:
    """Who is starting, and who was told to end. In this order: who does not start any more can be seen, or has gone.

    Both in one message: a hundred clients that are refused leave little processor time for a second one.
    """
    rows = _rows(control, _END_ONCE, (database, database, keep_pid), doing=f"end the sessions in {database}")
    return set(rows[0][0]), [row[1:] for row in rows if row[1] is not None]


def _rows(control: Connection, query: LiteralString, values: tuple[object, ...], *, doing: str) -> list[TupleRow]:
    try:
        return control.execute(query, values).fetchall()
    except psycopg.Error as exc:
        raise translate_error(exc, doing=doing) from exc


@contextmanager
def session_through_fence(access: ServerAccess, database: str, *, purpose: str) -> Iterator[Connection]:
    """A session in a database that may be fenced, without letting anybody else stay in.

    PostgreSQL has no exception for the one who recovers, so the fence is opened for the few milliseconds of our own
    connecting; whoever slipped in meanwhile is ended before the caller gets the session. A database that was open
    stays open.

    Args:
        access: Server and account.
        database: The database to work in.
        purpose: Shown in `pg_stat_activity`.
    """
    with control_session(access, purpose=f"{purpose} door") as control:
        fenced = is_fenced(control, database)
        if fenced:
            set_allow_connections(control, database, allow=True)
        try:
            connection = connect(access, database, purpose=purpose)
        finally:
            if fenced:
                set_allow_connections(control, database, allow=False)
        with connection:
            if fenced:
                terminate_sessions(control, database, keep_pid=server_pid(connection))
            yield connection
