"""Statements that PostgreSQL runs outside transactions only: they are stopped half way, and looked at.

Such a statement takes and leaves locks in transactions of its own. A first session holds the table in a mode that
stops it at its very first lock. At each stop another session begins to use the table, as clients do, and only then the
one before lets go: the statement goes on to its next wait, until it is done. What it holds or waits for at the stops is
noted; what it takes for a moment between two stops is not seen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from squizzle.analysis.locks.modes import LockMode, lock_mode
from squizzle.postgres.access import Connection, ServerAccess, connect

_PATIENCE_S = 20.0
_PAUSE_S = 0.002
# A client that comes while the statement waits for ACCESS EXCLUSIVE would wait behind it.
_CLIENT_WAITS = "SET lock_timeout = '30ms'"


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What a second session saw of a statement.

    Attributes:
        locks: OID and mode, as in pg_locks.
        files: Relfilenodes afterwards, by name.
        read: Rows read by sequential scans, by OID.
        refused: SQLSTATE when the server refused it.
    """

    locks: tuple[tuple[int, str], ...] = ()
    files: Mapping[str, int | None] = field(default_factory=dict)
    read: Mapping[int, int] = field(default_factory=dict)
    refused: str = ""

    def modes(self) -> Iterator[tuple[int, LockMode]]:
        """The locks that are table-level locks."""
        for oid, name in self.locks:
            mode = lock_mode(name)
            if mode is not None:
                yield oid, mode


def watch_half_way(
    access: ServerAccess, worker: Connection, looker: Connection, *, database: str, statement: str, table: str
) -> tuple[tuple[int, str], ...]:
    """Run a statement, stop it wherever it waits for those who use the table, and note its locks at each stop.

    Raises:
        TimeoutError: It neither waited nor ended.
        psycopg.Error: It failed.
    """
    failures: list[psycopg.Error] = []
    pid = worker.info.backend_pid
    locks: set[tuple[int, str]] = set()
    holder: Connection | None = _hold(access, database, table)
    thread = threading.Thread(target=_run, args=(worker, statement, failures), daemon=True)
    thread.start()
    try:
        while _waits_for(looker, pid, holder, thread):
            locks.update(_asked_for(looker, pid))
            client = _use(access, database, table)
            if holder is not None:
                holder.close()
            holder = client
    finally:
        if holder is not None:
            holder.close()
        thread.join(_PATIENCE_S)
    if failures:
        raise failures[0]
    return tuple(sorted(locks))


def _run(worker: Connection, statement: str, failures: list[psycopg.Error]) -> None:
    try:
        worker.execute(statement.encode())
    except psycopg.Error as exc:
        failures.append(exc)


def _hold(access: ServerAccess, database: str, table: str) -> Connection:
    connection = connect(access, database, purpose="lock map holds")
    connection.execute("BEGIN")
    connection.execute(sql.SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE").format(sql.Identifier(table)))
    return connection


def _use(access: ServerAccess, database: str, table: str) -> Connection | None:
    """A client with an old snapshot that may write; None when the statement keeps clients out already."""
    connection = connect(access, database, purpose="lock map uses")
    try:
        connection.execute(_CLIENT_WAITS)
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        connection.execute(sql.SQL("SELECT FROM {} LIMIT 0").format(sql.Identifier(table)))
        connection.execute(sql.SQL("LOCK TABLE {} IN ROW EXCLUSIVE MODE").format(sql.Identifier(table)))
    except psycopg.errors.LockNotAvailable:
        connection.close()
        return None
    return connection


def _waits_for(looker: Connection, pid: int, holder: Connection | None, thread: threading.Thread) -> bool:
    """Whether the statement came to wait for our session; False when it is done.

    Waits for others pass by themselves: for the looker's own query, for autovacuum.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while thread.is_alive():
        blockers = looker.execute("SELECT pg_blocking_pids(%s)", (pid,)).fetchall()[0][0]
        if holder is not None and holder.info.backend_pid in blockers:
            return True
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} neither waits for our session nor ends")
        time.sleep(_PAUSE_S)
    return False


def _asked_for(looker: Connection, pid: int) -> list[tuple[int, str]]:
    query = "SELECT relation, mode FROM pg_locks WHERE pid = %s AND locktype = 'relation'"
    return looker.execute(query, (pid,)).fetchall()
