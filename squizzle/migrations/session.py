"""The one session that may migrate a database at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache

import psycopg
from psycopg import sql

from squizzle.errors import BeingMigratedError
from squizzle.migrations.records import Timeouts
from squizzle.postgres.access import Connection
from squizzle.postgres.fitness import refuse_unfit
from squizzle.postgres.identity import Target, check_identity, read_identity
from squizzle.postgres.translation import translate_error

# The advisory lock "a migration works here": first key "SQZL" in ASCII, second key 1. Advisory locks are per database.
LOCK_KEYS = (0x53515A4C, 1)
# A session of ours that is stuck between two statements holds locks that applications wait for.
_IDLE_LIMIT = timedelta(minutes=5)

_HOLDER = """
    SELECT a.pid, a.application_name, coalesce(a.client_addr::text, 'this host'), a.usename, a.backend_start
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.classid = %s AND l.objid = %s AND l.objsubid = 2 AND l.granted
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

# Nobody is left to go on with the script of a process that was killed, so its session ends soon instead of holding its
# locks to the end of a statement that is rolled back anyway. From PostgreSQL 14 on, where a server can notice it
# (manual, "client_connection_check_interval"); looking costs one system call.
_ENDS_WITH_US = (
    "SELECT set_config('client_connection_check_interval', '1s', false)"
    " WHERE current_setting('client_connection_check_interval', true) IS NOT NULL AND strpos(version(), 'linux') > 0"
)
_TAKE_LOCK = sql.SQL("SELECT pg_try_advisory_lock(%s, %s), ({})").format(sql.SQL(_ENDS_WITH_US))

# In this order: the role of the script before may not be allowed to give up its settings.
_FORGET = (
    "SET SESSION AUTHORIZATION DEFAULT; RESET ALL; DEALLOCATE ALL; CLOSE ALL; UNLISTEN *;"
    " DISCARD PLANS; DISCARD TEMP; DISCARD SEQUENCES"
)
_GONE = "the holder ended a moment ago; try again"
_HOLDS_LOCK = (
    "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = {} AND objid = {}"
    " AND objsubid = 2 AND granted AND pid = pg_backend_pid())"
)


@contextmanager
def exclusive(connection: Connection, target: Target) -> Iterator[None]:
    """Hold the database's migration lock with this session; a session that dies lets go of it by itself.

    Args:
        connection: A session in the target's database.
        target: Who the caller means; compared before anything else happens.

    Raises:
        IdentityMismatchError: Another database than was meant.
        RefusedError, DatabaseError: The session cannot migrate (`refuse_unfit`).
        BeingMigratedError: Somebody else migrates this database; the message says who, from where, since when.
    """
    check_identity(read_identity(connection), target.expected, database=target.database)
    refuse_unfit(connection, target.database)
    _take_lock(connection, target.database)
    try:
        yield
    finally:
        _give_lock_back(connection)


def _take_lock(connection: Connection, database: str) -> None:
    try:
        taken, _ = connection.execute(_TAKE_LOCK, LOCK_KEYS).fetchone() or (False, None)
        if taken:
            return
        holder = lock_holder(connection)
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"take the migration lock of {database}") from exc
    raise BeingMigratedError(
        f"{database} is being migrated by somebody else: {holder or _GONE}",
        hint="wait until that run ends (`squizzle status` shows it), or end it with pg_terminate_backend",
    )


def _give_lock_back(connection: Connection) -> None:
    if connection.closed:
        return
    try:
        connection.execute("SELECT pg_advisory_unlock(%s, %s)", LOCK_KEYS)
    except psycopg.Error:
        # Ending the session gives the lock back, too; the error that brought us here must stay the one that is seen.
        connection.close()


def lock_holder(connection: Connection, keys: tuple[int, int] = LOCK_KEYS) -> str | None:
    """Who migrates this database now, as a sentence; None when nobody does. Nothing is changed.

    Args:
        connection: A session in the database.
        keys: Of another advisory lock of ours, to be told who has that one.
    """
    holder = connection.execute(_HOLDER, [key % 2**32 for key in keys]).fetchone()
    return None if holder is None else _describe(holder)


def _describe(holder: tuple[object, ...]) -> str:
    pid, application, address, user, since = holder
    if since is None:
        # Hidden from whoever is neither of the same role nor a member of pg_read_all_stats.
        return f"session {pid} ({application}) of {user}; from where and since when, pg_read_all_stats may see"
    return f"session {pid} ({application}) of {user} from {address}, connected since {since:%Y-%m-%d %H:%M:%S %Z}"


def prepare_session(connection: Connection, *, schema: str, timeouts: Timeouts) -> bool:
    """Give the session the state that every script starts with, whatever the script before left behind.

    The parts of DISCARD ALL, except that it would also give up the migration lock. Temporary tables, settings,
    roles and prepared statements of the script before are gone afterwards. All in one round trip: sent one by one,
    these commands took as long as a small script.

    Returns:
        Whether the session still holds the migration lock; a script may have let go of it.

    Raises:
        DatabaseError: The session was lost.
    """
    try:
        cursor = connection.execute(_preparation(schema, timeouts))
    except psycopg.Error as exc:
        raise translate_error(exc, doing="clear away what is left in the session") from exc
    while cursor.nextset():
        """The last answer is about the lock."""
    return cursor.fetchone() == (True,)


@lru_cache(maxsize=8)
def _preparation(schema: str, timeouts: Timeouts) -> sql.Composed:
    settings = {
        "lock_timeout": timeouts.lock,
        "statement_timeout": timeouts.statement,
        "idle_in_transaction_session_timeout": _IDLE_LIMIT,
    }
    commands = [
        sql.SQL(_FORGET),
        *(
            sql.SQL("SET {} = {}").format(sql.Identifier(name), _milliseconds(value))
            for name, value in settings.items()
        ),
        *_schema_commands(schema),
        sql.SQL(_ENDS_WITH_US),
        sql.SQL(_HOLDS_LOCK).format(*LOCK_KEYS),
    ]
    return sql.SQL("; ").join(commands)


def set_lock_timeout(connection: Connection, timeout: timedelta, *, local: bool = False) -> None:
    """Set `lock_timeout` of the session, or only of the transaction that is open (`local`)."""
    # SET is no query, so that a script may still say SET TRANSACTION behind it.
    scope = sql.SQL("LOCAL" if local else "SESSION")
    connection.execute(sql.SQL("SET {} lock_timeout = {}").format(scope, sql.Literal(_milliseconds(timeout))))


def work_in_schema(connection: Connection, schema: str) -> None:
    """Let unqualified names be of this schema; inside a transaction that is rolled back, only until its end."""
    for command in _schema_commands(schema):
        connection.execute(command)


def _schema_commands(schema: str) -> tuple[sql.Composed, ...]:
    return () if schema == "public" else (sql.SQL("SET search_path = {}, public").format(sql.Identifier(schema)),)


def _milliseconds(duration: timedelta) -> str:
    return f"{round(duration.total_seconds() * 1000)}ms"
