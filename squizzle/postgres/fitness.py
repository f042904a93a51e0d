"""Whether a session can migrate at all, asked before anything is changed."""

from __future__ import annotations

import psycopg

from squizzle.errors import DatabaseError, RefusedError
from squizzle.postgres.access import Connection
from squizzle.postgres.pooling import refuse_pooler
from squizzle.postgres.translation import UNDEFINED_FILE, translate_error

# SQLSTATE of what a read-only transaction may not do.
_READ_ONLY = "25006"
OLDEST_MAJOR = 15
"""Fingerprints, copies and properties of a database are read as from this version on."""


def refuse_unfit(connection: Connection, database: str) -> None:
    """Refuse a session in which a migration could not work or would not be safe. Nothing is changed.

    Args:
        connection: The session that is to migrate, outside a transaction.
        database: Its database, for messages.

    Raises:
        RefusedError: A pooler lends the session out between two statements, or the server is older than PostgreSQL 15.
        DatabaseError: The server or the session is read-only, or the server's own files do not fit it any more.
        ConnectionFailedError: The session was lost.
    """
    refuse_old_server(connection.info.server_version)
    try:
        refuse_pooler(connection, database)
        _refuse_read_only(connection, database)
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"look whether {database} can be migrated") from exc
    _refuse_upgraded_files(connection, database)


def refuse_old_server(version: int) -> None:
    """Refuse a server that lacks what a migration is followed by, before anything is changed. Pure.

    Args:
        version: As libpq says it, such as 150018.

    Raises:
        RefusedError: It is older than PostgreSQL 15.
    """
    major = version // 10000
    if major < OLDEST_MAJOR:
        raise RefusedError(
            f"this is PostgreSQL {major}, and Squizzle works from {OLDEST_MAJOR} on", hint="upgrade the server first"
        )


_WRITABLE = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::boolean"
# Apart: that view lists every setting before it looks for one.
_WHO_SAYS_SO = "SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only'"


def _refuse_read_only(connection: Connection, database: str) -> None:
    in_recovery, is_read_only = connection.execute(_WRITABLE).fetchone() or (False, False)
    if not in_recovery and not is_read_only:
        return
    where = f"{database} on {connection.info.host}:{connection.info.port}"
    if in_recovery:
        raise DatabaseError(
            f"{where} cannot be changed: the server is in recovery (a standby, or one that is being restored)",
            sqlstate=_READ_ONLY,
            hint="connect to the primary; with several hosts in the URL, target_session_attrs=read-write finds it",
        )
    (source,) = connection.execute(_WHO_SAYS_SO).fetchone() or ("",)
    raise DatabaseError(
        f"{where} cannot be changed: sessions are read-only"
        f" (default_transaction_read_only, set by {_SOURCES.get(source, source)})",
        sqlstate=_READ_ONLY,
        hint="connect to the primary as somebody who may write; before you reset the setting find out who made it"
        " and why: some providers do when the disk is full",
    )


# pg_settings.source in words.
_SOURCES = {
    "client": "the connection's own options",
    "session": "this session",
    "user": "ALTER ROLE",
    "database": "ALTER DATABASE",
    "database user": "ALTER ROLE … IN DATABASE",
    "configuration file": "the server's configuration",
    "command line": "the server's command line",
}


def _refuse_upgraded_files(connection: Connection, database: str) -> None:
    """A server whose programs were replaced under it works until it loads a library: in the middle of a script."""
    try:
        connection.execute("DO $$BEGIN END$$")
    except psycopg.Error as exc:
        if connection.closed or exc.sqlstate == UNDEFINED_FILE:
            raise translate_error(exc, doing=f"run PL/pgSQL in {database}") from exc
        # The language was dropped, or we may not use it: that is for the script that needs it to find out.
