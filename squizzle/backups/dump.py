"""Taking a logical backup: one snapshot, dumped in parallel and fingerprinted at the same time."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.source import draft_backup, read_source
from squizzle.backups.store import BackupStore, safe_name
from squizzle.backups.surroundings import dump_globals, read_surroundings, write_surroundings
from squizzle.errors import InvalidInputError, SquizzleError, ToolError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.client_run import run_client
from squizzle.postgres.programs import ClientPrograms, can_compress
from squizzle.postgres.translation import translate_error
from squizzle.proof.digests import digest_in_snapshot, read_sequences, read_snapshot
from squizzle.proof.records import NOT_COVERED, DatabaseDigest

DUMP_FOLDER = "dump"
# gzip 1 is the fastest that every client has: 3.8x the guide's `pg_dump | gzip`, 20 % larger than gzip 6.
_GZIP = "1"
_ZSTD = "zstd:3"
# A fingerprint query whose backup failed is asked to stop; the server answers at once or not at all.
_CANCEL_S = 5.0
# It is asked again until it has: between two queries there is none to stop.
_CANCEL_AGAIN_S = 0.5


VIEWS_DETAIL = "materialized_views"
"""Of a data backup: the materialized views that had rows, a JSON list of SQL names. No dump of rows refreshes them."""

_FILLED_VIEWS = """
    SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'm' AND c.relispopulated ORDER BY c.oid
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class DumpOptions:
    """How a dump is made.

    Attributes:
        jobs: Parallel sessions of pg_dump.
        schema: Where the migration history is.
        role_passwords: Whether the hashes of the roles' passwords are saved, too.
        timeout: After that the dump counts as failed.
        details: What else the manifest shall say.
    """

    jobs: int = 2
    schema: str = "public"
    role_passwords: bool = True
    timeout: timedelta = timedelta(hours=12)
    details: Mapping[str, str] = field(default_factory=dict)


def take_dump(
    access: ServerAccess,
    database: str,
    store: BackupStore,
    programs: ClientPrograms,
    *,
    backup_id: str,
    kind: BackupKind = BackupKind.FULL,
    options: DumpOptions = DumpOptions(),
    on_progress: Callable[[int], None] = lambda _bytes: None,
) -> Backup:
    """Dump a database into the store, with a manifest that proves a restored copy. The database is only read.

    A full one holds everything: the dump, the database's own properties, and the roles and tablespaces of the cluster.
    A schema dump has no rows, a data dump has only rows; both hold the properties, too.

    Args:
        access: Server and account; it must be allowed to read every table.
        database: The database to save.
        store: Where to.
        programs: pg_dump and pg_dumpall of the server's major version or newer.
        backup_id: Unique in the store (`new_backup_id`).
        kind: `full`, `schema` or `data`.
        options: How.
        on_progress: Called with the bytes written so far.

    Raises:
        ConnectionFailedError: No connection.
        ToolError: pg_dump failed, took too long, or the disk is full; nothing was published, no file stays.
        DatabaseError: A table cannot be read; the same.
    """
    if not kind.is_dump:
        raise InvalidInputError(f"a dump is full, schema or data, not {kind}", hint="see `squizzle backup --help`")
    dump = _Dump(access=access, database=database, programs=programs, kind=kind, options=options)
    started = time.monotonic()
    with (
        connect(access, database, purpose="backup", read_only=True) as connection,
        store.receive(backup_id) as incoming,
    ):
        # Only for as long as it is read: a snapshot keeps VACUUM from its work, and publishing may take its time.
        with read_snapshot(connection) as snapshot_id:
            source = read_source(connection, options.schema)
            views = _filled_views(connection) if kind is BackupKind.DATA else {}
            digest = _save_database(dump, connection, snapshot_id, incoming.folder, on_progress)
        missing = _save_globals(dump, connection, incoming.folder)
        draft = draft_backup(
            store,
            incoming,
            source,
            backup_id=backup_id,
            kind=kind,
            database=database,
            client_version=programs.version,
            duration=timedelta(seconds=time.monotonic() - started),
        )
        details, left_out = {**options.details, **views}, (*_LEFT_OUT[kind], *missing, *NOT_COVERED)
        return incoming.publish(replace(draft, digest=digest, details=details, not_covered=left_out))


_LEFT_OUT = {
    BackupKind.FULL: (),
    BackupKind.SCHEMA: ("rows and positions of sequences", "roles and tablespaces"),
    BackupKind.DATA: ("definitions: it is restored into a database that has them", "roles and tablespaces"),
}
# How each kind is asked of pg_dump.
_PARTS = {BackupKind.FULL: (), BackupKind.SCHEMA: ("--schema-only",), BackupKind.DATA: ("--data-only",)}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Dump:
    """What is dumped, by what, and how."""

    access: ServerAccess
    database: str
    programs: ClientPrograms
    kind: BackupKind
    options: DumpOptions


def _filled_views(connection: Connection) -> dict[str, str]:
    try:
        names = [name for (name,) in connection.execute(_FILLED_VIEWS)]
    except psycopg.Error as exc:
        raise translate_error(exc, doing="list the materialized views") from exc
    return {VIEWS_DETAIL: json.dumps(names, ensure_ascii=False)} if names else {}


def _save_database(
    dump: _Dump, connection: Connection, snapshot_id: str, folder: Path, on_progress: Callable[[int], None]
) -> DatabaseDigest:
    """Write the dump and the database's own properties; returns the fingerprints of the same snapshot."""
    has_rows = dump.kind is not BackupKind.SCHEMA
    # They follow no snapshot, so they are read before pg_dump reads them: the copy may stand higher, never lower.
    sequences = read_sequences(connection) if has_rows else {}
    write_surroundings(read_surroundings(connection, dump.database), folder)
    fingerprint = _Fingerprint(connection, rows=has_rows)
    digest = _dump_and_fingerprint(dump, snapshot_id, folder, fingerprint, lambda: on_progress(_written(folder)))
    return replace(digest, sequences=sequences)


def _save_globals(dump: _Dump, connection: Connection, folder: Path) -> tuple[str, ...]:
    """Write the cluster's roles and tablespaces beside a full dump; returns what they leave out."""
    if dump.kind is not BackupKind.FULL:
        return ()
    return dump_globals(
        dump.access,
        connection,
        folder,
        dump.programs,
        timeout=dump.options.timeout,
        role_passwords=dump.options.role_passwords,
    )


def _dump_and_fingerprint(
    dump: _Dump, snapshot_id: str, folder: Path, fingerprint: _Fingerprint, on_wait: Callable[[], None]
) -> DatabaseDigest:
    """Dump while the exporting session takes the fingerprints; if one of the two fails, the other is stopped."""
    fingerprint.start()

    def watch() -> None:
        fingerprint.raise_error()
        on_wait()

    try:
        run_client(
            dump.programs.path("pg_dump"),
            _dump_arguments(dump, snapshot_id, folder),
            access=dump.access,
            database=dump.database,
            doing=f"dump {dump.database}",
            timeout=dump.options.timeout,
            on_wait=watch,
        )
        fingerprint.join()
    except BaseException as exc:
        earlier = fingerprint.error
        fingerprint.stop()
        if earlier is not None and isinstance(exc, ToolError):
            raise earlier from exc  # its transaction held the snapshot, so pg_dump could only fail after it
        raise
    return fingerprint.result()


def new_backup_id(database: str, *, now: datetime, suffix: str) -> str:
    """A name that sorts by time and is safe in every file system and in S3.

    Args:
        database: The database's name.
        now: When the backup begins.
        suffix: A few random characters against two backups in one second.
    """
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{safe_name(database)}-{suffix}"


def _dump_arguments(dump: _Dump, snapshot_id: str, folder: Path) -> list[str]:
    return [
        *_PARTS[dump.kind],
        "--format=directory",
        f"--file={folder / DUMP_FOLDER}",
        f"--jobs={dump.options.jobs}",
        f"--snapshot={snapshot_id}",
        f"--compress={compression_of(dump.programs)}",
        "--no-sync",  # the store makes files durable when it publishes them
        "--no-password",
    ]


def compression_of(programs: ClientPrograms) -> str:
    """How these programs compress a dump best: zstd where they were built with it, else gzip.

    zstd has no checksum in a dump, so a flipped bit would be restored without a word; ours are restored only after
    every file's SHA-256 was compared with the manifest.
    """
    return _ZSTD if can_compress(programs, "zstd") else _GZIP


def _written(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.dat*") if path.exists())


class _Fingerprint(threading.Thread):
    """Fingerprints in the exporting session while pg_dump works in sessions of its own, under the same snapshot."""

    def __init__(self, connection: Connection, *, rows: bool) -> None:
        super().__init__(name="fingerprint", daemon=True)
        # Whoever is told how far the dump is hears of the fingerprints, too.
        self._context = copy_context()
        self._connection = connection
        self._rows = rows
        self._digest: DatabaseDigest | None = None
        self.error: SquizzleError | None = None

    def run(self) -> None:
        """Take the fingerprints, and keep what came of it."""
        try:
            self._digest = self._context.run(digest_in_snapshot, self._connection, bookkeeping=True, rows=self._rows)
        except SquizzleError as exc:
            self.error = exc

    def stop(self) -> None:
        """End the thread; a server that is gone ends it by itself."""
        while self.is_alive():
            with contextlib.suppress(psycopg.Error):
                self._connection.cancel_safe(timeout=_CANCEL_S)
            self.join(_CANCEL_AGAIN_S)

    def raise_error(self) -> None:
        """Raise what went wrong in the thread: a dump without a digest is not worth waiting for."""
        if self.error is not None:
            raise self.error

    def result(self) -> DatabaseDigest:
        """The digest; raises what went wrong in the thread."""
        self.raise_error()
        if self._digest is None:
            raise AssertionError("the fingerprint thread ended without a result")
        return self._digest
