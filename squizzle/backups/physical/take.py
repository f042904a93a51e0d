"""Taking a copy of a whole cluster: streamed into the store as it comes, with fingerprints to prove a copy by.

A copy of the files is consistent at one moment, the end of the backup, and no snapshot of SQL can be taken at exactly
that moment. So one database is fingerprinted twice, in a snapshot from before the end and, if anything was written
since, in one from after it: a table that is the same in both is the same in between, and a restored copy must have it.
Tables that were written to meanwhile are named in the manifest, and not compared (docs/adr/0013).
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import IO

import psycopg
import zstandard

from squizzle.backups.order import Order
from squizzle.backups.physical.chain import (
    SERVER_MANIFEST,
    find_base,
    refuse_without_summaries,
    server_manifest_of,
)
from squizzle.backups.physical.tar_tap import TarTap
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.source import read_source
from squizzle.backups.store import previous_backup
from squizzle.errors import BackupDamagedError, InvalidInputError, SquizzleError, ToolError
from squizzle.postgres.access import Connection, client_environment, connect
from squizzle.postgres.translation import translate_error
from squizzle.processes import GuardedProcess
from squizzle.proof.digests import digest_in_snapshot, read_snapshot
from squizzle.proof.records import NOT_COVERED, DatabaseDigest

CLUSTER_FILE = "base.tar.zst"
"""The cluster, with the write-ahead log that it needs."""

USER_DETAIL = "user"
LEFT_OUT_DETAIL = "tables_not_compared"
_LABEL = "backup_label"
_TAIL_BYTES = 8192
_STOP_S = 5.0
_COMPRESSION_LEVEL = 1
# Client-side: the copy never lies anywhere uncompressed, and the server's processors are left alone.
_THREADS = 2


def take_physical(order: Order, backup_id: str, on_progress: Callable[[int], None]) -> Backup:
    """Copy the whole cluster, or what changed since the last copy, into the store; fingerprint the order's database.

    Args:
        order: The kind is `physical` or `incremental`. The account must be allowed to replicate; every table of the
            database must be readable.
        backup_id: Unique in the store.
        on_progress: Called with the bytes that came from the server.

    Raises:
        InvalidInputError: The cluster has tablespaces of its own; or an increment has nothing to build on, or the
            server does not keep what it needs. Nothing was begun.
        ConnectionFailedError, DatabaseError: No connection, or a table cannot be read; nothing was published.
        ToolError: pg_basebackup failed, found a damaged page, or took too long; nothing was published.
    """
    started = time.monotonic()
    database = order.target.database
    with (
        connect(order.access, database, purpose="backup", read_only=True) as connection,
        order.store.receive(backup_id) as incoming,
    ):
        _refuse_tablespaces(connection)
        source = read_source(connection, order.options.schema)
        base = None
        if order.kind is BackupKind.INCREMENTAL:
            refuse_without_summaries(connection)
            base = find_base(order.store, source, database)
        witness = _Witness(order)
        witness.start()
        try:
            with server_manifest_of(order.store, base) as manifest:
                tap = _copy(order, manifest, lambda stream: incoming.stream(CLUSTER_FILE, stream), on_progress, witness)
        except BaseException:
            witness.stop()
            raise
        proven = witness.result()
        facts = _facts_of(tap)
        (incoming.folder / SERVER_MANIFEST).write_bytes(tap.kept[SERVER_MANIFEST])
        backup = Backup(
            id=backup_id,
            kind=order.kind,
            store=order.store.address,
            location=backup_id,
            started_at=source.started_at,
            duration=timedelta(seconds=time.monotonic() - started),
            database=database,
            identity_id=source.identity_id,
            system_identifier=source.system_identifier,
            migration_version=source.migration_version,
            lsn=facts.start_lsn,
            stop_lsn=facts.stop_lsn,
            timeline=facts.timeline,
            server_version=source.server_version,
            client_version=order.programs.version,
            files=incoming.describe(),
            digest=proven.digest,
            chain=() if base is None else (*base.chain, base.id),
            previous=previous_backup(order.store, database, source.system_identifier),
            details={
                **order.options.details,
                USER_DETAIL: connection.info.user,
                LEFT_OUT_DETAIL: json.dumps([*proven.changed, *proven.unlogged], ensure_ascii=False),
            },
            not_covered=(*_not_covered(proven), *NOT_COVERED),
        )
        incoming.publish(backup)
    return backup


@dataclass(frozen=True, kw_only=True, slots=True)
class _Facts:
    """What the server's manifest says about the write-ahead log."""

    start_lsn: str
    stop_lsn: str
    timeline: int


def _facts_of(tap: TarTap) -> _Facts:
    try:
        ranges = json.loads(bytes(tap.kept[SERVER_MANIFEST]))["WAL-Ranges"]
        first, last = ranges[0], ranges[-1]
        return _Facts(start_lsn=first["Start-LSN"], stop_lsn=last["End-LSN"], timeline=int(last["Timeline"]))
    except (KeyError, ValueError, TypeError, IndexError) as exc:
        raise BackupDamagedError(
            f"the copy of the cluster has no readable {SERVER_MANIFEST}: {type(exc).__name__}; nothing was published",
            hint="look at the messages of the server, then run the same again",
        ) from exc


def _refuse_tablespaces(connection: Connection) -> None:
    rows = connection.execute("SELECT spcname FROM pg_tablespace WHERE oid >= 16384 ORDER BY 1").fetchall()
    if rows:
        names = ", ".join(name for (name,) in rows)
        raise InvalidInputError(
            f"the cluster has tablespaces of its own ({names}), which a copy of the cluster does not support yet",
            hint="take a full backup of each database, or copy the cluster with pg_basebackup into a folder",
        )


# Copying


def _copy(
    order: Order,
    manifest: Path | None,
    take_in: Callable[[IO[bytes]], object],
    on_progress: Callable[[int], None],
    witness: _Witness,
) -> TarTap:
    """Let pg_basebackup write into a pipe, and the store read from it."""
    program = order.programs.path("pg_basebackup")
    command = [
        str(program),
        "--pgdata=-",
        "--format=tar",
        "--wal-method=fetch",  # the only way that fits into one stream
        "--checkpoint=fast",
        "--manifest-checksums=SHA256",
        "--label=squizzle",
        "--no-password",
        *([] if manifest is None else [f"--incremental={manifest}"]),
    ]
    tap = TarTap({SERVER_MANIFEST, _LABEL})
    reading, writing = os.pipe()
    with (
        open(reading, "rb", buffering=0) as source,  # noqa: PTH123 - a descriptor, no path
        client_environment(order.access, order.target.database) as environment,
        tempfile.TemporaryFile() as errors,
    ):
        with open(writing, "wb", buffering=0) as output:  # noqa: PTH123 - same
            process = GuardedProcess(
                command, environment=environment | {"LC_MESSAGES": "C"}, output=output, errors=errors
            )
        with process:
            passing = _Passing(source, tap, on_progress, witness, order.options.timeout)
            compressor = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL, threads=_THREADS, write_checksum=True)
            take_in(compressor.stream_reader(passing))  # type: ignore[arg-type]  # it reads like any other file
            code = process.wait(_STOP_S)
        if code != 0:
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - _TAIL_BYTES))
            tail = errors.read().decode(errors="replace").strip()
            raise ToolError(
                f"could not copy the cluster of {order.target.database}: pg_basebackup ended with exit code {code}:"
                f" {tail.splitlines()[-1] if tail else 'it said nothing'}; nothing was published",
                command="pg_basebackup",
                exit_code=-1 if code is None else code,
                stderr_tail=tail,
                hint=_hint_for(tail),
            )
    return tap


def _hint_for(tail: str) -> str:
    if "checksum verification" in tail:
        return (
            "a page on the server's disk is damaged: copy everything before you mend anything, and keep older backups"
        )
    if "has already been removed" in tail:
        return "raise wal_keep_size, so that the log of the time that a copy takes is kept, then run the same again"
    if "number of requested standby connections" in tail or "max_wal_senders" in tail:
        return "raise max_wal_senders, or wait until another copy ends"
    if "WAL summaries" in tail or "summarization" in tail:
        return "the server no longer keeps what changed since the last copy: take a new one, `squizzle backup physical`"
    if "pg_hba.conf" in tail or "must be superuser or replication role" in tail:
        return "the account needs REPLICATION, and pg_hba.conf a line for replication connections"
    return "mend what it complains about, then run the same again; older backups are untouched"


class _Passing:
    """The pipe, looked at while it is read."""

    def __init__(
        self,
        source: IO[bytes],
        tap: TarTap,
        on_progress: Callable[[int], None],
        witness: _Witness,
        timeout: timedelta,
    ) -> None:
        self._source = source
        self._tap = tap
        self._on_progress = on_progress
        self._witness = witness
        self._deadline = time.monotonic() + timeout.total_seconds()
        self._passed = 0

    def read(self, size: int) -> bytes:
        """The next bytes; empty at the end."""
        chunk = self._source.read(max(size, 1 << 16))
        self._tap.feed(chunk)
        self._passed += len(chunk)
        self._witness.raise_error()
        self._on_progress(self._passed)
        if time.monotonic() > self._deadline:
            raise ToolError(
                "the copy of the cluster took too long and was stopped; nothing was published",
                hint="allow more time, or look at what slows the server down",
            )
        return chunk


# Fingerprinting


@dataclass(frozen=True, kw_only=True, slots=True)
class _Proven:
    """What a restored copy must have.

    Attributes:
        digest: Schema, and the tables that were the same before and after the end of the copy.
        changed: The other tables.
        unlogged: Tables that are empty in every copy.
    """

    digest: DatabaseDigest
    changed: tuple[str, ...]
    unlogged: tuple[str, ...]


_UNLOGGED = """
    SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relpersistence = 'u' ORDER BY 1
"""


class _Witness(threading.Thread):
    """Fingerprints the database while it is copied, and again afterwards if anything was written since."""

    def __init__(self, order: Order) -> None:
        super().__init__(name="witness", daemon=True)
        self._order = order
        self._connection = connect(order.access, order.target.database, purpose="backup witness", read_only=True)
        self._before: DatabaseDigest | None = None
        self._next_xid = ""
        self._unlogged: tuple[str, ...] = ()
        self._error: SquizzleError | None = None

    def run(self) -> None:
        """Take the first fingerprints, and keep what came of it."""
        try:
            self._before = self._look()
        except SquizzleError as exc:
            self._error = exc

    def _look(self) -> DatabaseDigest:
        with read_snapshot(self._connection):
            self._next_xid = _next_xid(self._connection)
            self._unlogged = tuple(name for (name,) in self._connection.execute(_UNLOGGED))
            return digest_in_snapshot(self._connection, bookkeeping=True)

    def raise_error(self) -> None:
        """Raise what went wrong in the thread."""
        if self._error is not None:
            raise self._error

    def result(self) -> _Proven:
        """What holds for the moment when the copy ended; called after that moment."""
        with self._connection:
            self.join()
            self.raise_error()
            if self._before is None:
                raise AssertionError("the witness ended without a result")
            before, seen_until = self._before, self._next_xid
            # No transaction with a number of its own began since: nothing can have been written.
            after = before if _next_xid(self._connection) == seen_until else self._look()
        if before.schema != after.schema:
            raise ToolError(
                "the schema was changed while the cluster was copied, so the copy cannot be proven;"
                " nothing was published",
                hint="run the same again when no migration runs",
            )
        same = {one.table: one for one in after.tables}
        stable = tuple(one for one in before.tables if same.get(one.table) == one and one.table not in self._unlogged)
        changed = tuple(
            one.table for one in before.tables if same.get(one.table) != one and one.table not in self._unlogged
        )
        return _Proven(digest=replace(before, tables=stable), changed=changed, unlogged=self._unlogged)

    def stop(self) -> None:
        """End the thread and its session."""
        while self.is_alive():
            with contextlib.suppress(psycopg.Error):  # a server that is gone ends the thread by itself
                self._connection.cancel_safe(timeout=_STOP_S)
            self.join(0.5)
        self._connection.close()


def _next_xid(connection: Connection) -> str:
    """The number that the next writing transaction gets, and which older ones are still running."""
    try:
        row = connection.execute("SELECT pg_current_snapshot()::text").fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="see whether anything was written") from exc
    return str(row[0]) if row else ""


def _not_covered(proven: _Proven) -> tuple[str, ...]:
    clauses = ["rows of the cluster's other databases: they are in the copy, and were not fingerprinted"]
    if proven.changed:
        clauses.append(f"rows of tables that were written to meanwhile: {', '.join(proven.changed)}")
    if proven.unlogged:
        clauses.append(f"rows of unlogged tables, which no copy of a cluster has: {', '.join(proven.unlogged)}")
    return tuple(clauses)
