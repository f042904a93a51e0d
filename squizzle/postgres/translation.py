"""Driver errors become ours, once, at the edge."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from squizzle.errors import (
    AuthenticationFailedError,
    ConnectionFailedError,
    DatabaseError,
    DatabaseState,
    LockTimeoutError,
)

# SQLSTATE classes and codes, PostgreSQL manual, appendix "PostgreSQL Error Codes".
_LOCK_NOT_AVAILABLE = "55P03"
_DEADLOCK = "40P01"
_CONNECTION_CLASS = "08"
_SHUTDOWNS = frozenset({"57P01", "57P02", "57P03", "57P05"})
_INSUFFICIENT_PRIVILEGE = "42501"
_DISK_FULL = "53100"
_TOO_MANY_CONNECTIONS = "53300"
_READ_ONLY = "25006"
_NO_SUCH_SCHEMA = "3F000"
UNDEFINED_FILE = "58P01"

_HINTS = {
    _INSUFFICIENT_PRIVILEGE: "connect as the owner of the database, or have the missing right granted"
    " (`squizzle grants` prints what each job takes)",
    _DISK_FULL: "free space on the server's disk, then run the same command again",
    _TOO_MANY_CONNECTIONS: "end sessions that are not needed, or raise max_connections",
    _READ_ONLY: "this is a standby or a read-only session; connect to the primary",
    _LOCK_NOT_AVAILABLE: "find out who holds the lock with pg_blocking_pids(), then run the same command again",
    _DEADLOCK: "run the same command again",
    _NO_SUCH_SCHEMA: "create it first (CREATE SCHEMA), or correct the name",
    UNDEFINED_FILE: "a file of the server's is missing: PostgreSQL was upgraded under the running server, or an"
    " extension's package was removed; restart the server or install the package, then run the same command again",
}


def translate_error(
    exc: psycopg.Error,
    *,
    doing: str,
    database_state: DatabaseState = DatabaseState.UNTOUCHED,
    needs: str = "",
) -> DatabaseError:
    """The error of ours for one of the driver's, by SQLSTATE.

    Args:
        exc: What psycopg raised on an open connection.
        doing: What was being done, as the beginning of a sentence ("read the history of shop").
        database_state: What the failed action left behind, as far as the caller knows.
        needs: The rights that it takes, and on what, for somebody who lacks them.

    Returns:
        An error whose message has the server's own words, without the excerpt of the statement (which may hold
        data or a password).
    """
    sqlstate = exc.sqlstate or ""
    kind: type[DatabaseError] = DatabaseError
    if sqlstate in {_LOCK_NOT_AVAILABLE, _DEADLOCK}:
        kind = LockTimeoutError
    elif is_connection_loss(exc):
        kind = ConnectionFailedError
    hint = _HINTS.get(sqlstate, "")
    if sqlstate == _INSUFFICIENT_PRIVILEGE and needs:
        hint = f"it takes {needs}; {hint}"
    return kind(
        f"could not {doing}: {server_words(exc)}",
        sqlstate=sqlstate,
        hint=hint,
        database_state=database_state,
    )


@contextmanager
def translated(doing: str, *, hint: str = "") -> Iterator[None]:
    """Around a piece of work: whatever of the driver's nobody has translated on its way leaves it as an error of ours.

    That is a session that was lost between two statements, so what became of the database is not known.

    Args:
        doing: What was being done, as the beginning of a sentence.
        hint: The next step, where the error itself has none.
    """
    try:
        yield
    except psycopg.Error as exc:
        error = translate_error(exc, doing=doing, database_state=DatabaseState.UNKNOWN)
        error.hint = error.hint or hint
        raise error from exc


def is_connection_loss(exc: psycopg.Error) -> bool:
    """Whether the session is gone, so that what it had begun is decided by the server alone."""
    sqlstate = exc.sqlstate or ""
    if sqlstate.startswith(_CONNECTION_CLASS) or sqlstate in _SHUTDOWNS:
        return True
    return not sqlstate and isinstance(exc, psycopg.OperationalError)


def server_words(exc: psycopg.Error) -> str:
    """The server's primary message and detail on one line, or the driver's first line when there is none."""
    primary = exc.diag.message_primary
    if primary:
        detail = f" ({exc.diag.message_detail})" if exc.diag.message_detail else ""
        return f"{primary}{detail}".replace("\n", " ")
    lines = str(exc).strip().splitlines()
    return lines[0] if lines else type(exc).__name__


# A role that has too many sessions is not among them: its password is right, and waiting helps.
_NOT_LET_IN = re.compile(
    r'authentication failed|no password supplied|role ".*" (?:does not exist|is not permitted to log in)'
)


def translate_connect_error(exc: psycopg.Error, *, where: str, database: str, user: str) -> ConnectionFailedError:
    """The error of ours for a connection that was not made.

    libpq keeps the SQLSTATE of a refused start-up to itself, so the server's words decide here (they are English
    unless its `lc_messages` says otherwise; then the error is the general one).

    Args:
        exc: What `psycopg.connect` raised.
        where: Host and port.
        database: The database asked for.
        user: The account; empty for the default.
    """
    # Anything but an OperationalError complains about our parameters, and may repeat them.
    words = str(exc) if isinstance(exc, psycopg.OperationalError) else "the connection parameters are not usable"
    account = f" as {user}" if user else ""
    if _NOT_LET_IN.search(words):
        return AuthenticationFailedError(
            f"{where} does not accept the login to {database}{account}: {_last_fatal(words)}",
            hint="check user and password (PGPASSWORD, a password file, or the block's password field)",
        )
    if f'database "{database}" does not exist' in words:
        return ConnectionFailedError(
            f"{where} has no database {database!r}",
            hint=f"create it (createdb {database}), or correct the name; `psql -l` lists what is there",
        )
    if "not currently accepting connections" in words:
        return ConnectionFailedError(
            f"database {database!r} on {where} is fenced: it accepts no connections",
            hint="a recovery may be working on it: `squizzle fence --show` says whose, `squizzle unfence` opens it",
        )
    return ConnectionFailedError(
        f"no connection to database {database!r} on {where}{account}: {_last_fatal(words)}",
        hint="check that the server runs and that host, port and pg_hba.conf let you in",
    )


def _last_fatal(words: str) -> str:
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    fatal = [line.split("FATAL:")[-1].strip() for line in lines if "FATAL:" in line]
    return (fatal or lines or ["no reason given"])[-1]
