"""Taking a full logical backup: one snapshot, dumped in parallel and fingerprinted at the same time."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.source import read_source
from squizzle.backups.store import BackupStore, previous_backup, safe_name
from squizzle.errors import SquizzleError, ToolError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.client_run import run_client
from squizzle.postgres.programs import ClientPrograms
from squizzle.proof.digests import digest_in_snapshot, read_sequences, read_snapshot
from squizzle.proof.records import DatabaseDigest

DUMP_FOLDER = "dump"
# gzip 1 is the fastest that every client has and that checks itself (CRC): 3.8x the guide's `pg_dump | gzip`, 20 %
# larger than gzip 6. zstd and lz4 have no checksum in dumps.
_COMPRESSION = "1"
# A fingerprint query whose backup failed is asked to stop; the server answers at once or not at all.
_CANCEL_S = 5.0
# It is asked again until it has: between two queries there is none to stop.
_CANCEL_AGAIN_S = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class DumpOptions:
    """How a dump is made.

    Attributes:
        jobs: Parallel sessions of pg_dump.
        schema: Where the migration history is.
        timeout: After that the dump counts as failed.
    """

    jobs: int = 2
    schema: str = "public"
    timeout: timedelta = timedelta(hours=12)


def take_full_backup(
    access: ServerAccess,
    database: str,
    store: BackupStore,
    programs: ClientPrograms,
    *,
    backup_id: str,
    options: DumpOptions = DumpOptions(),
    on_progress: Callable[[int], None] = lambda _bytes: None,
) -> Backup:
    """Dump a database into the store, with a manifest that proves a restored copy. The database is only read.

    Args:
        access: Server and account; it must be allowed to read every table.
        database: The database to save.
        store: Where to.
        programs: pg_dump of the server's major version or newer.
        backup_id: Unique in the store (`new_backup_id`).
        options: How.
        on_progress: Called with the bytes written so far.

    Raises:
        ConnectionFailedError: No connection.
        ToolError: pg_dump failed, took too long, or the disk is full; nothing was published, no file stays.
        DatabaseError: A table cannot be read; the same.
    """
    started = time.monotonic()
    with (
        connect(access, database, purpose="backup", read_only=True) as connection,
        store.receive(backup_id) as incoming,
        read_snapshot(connection) as snapshot_id,
    ):
        source = read_source(connection, options.schema)
        # They follow no snapshot, so they are read before pg_dump reads them: the copy may stand higher, never lower.
        sequences = read_sequences(connection)
        dump = _Dump(
            program=programs.path("pg_dump"),
            arguments=_dump_arguments(incoming.folder, snapshot_id, options.jobs),
            access=access,
            database=database,
            timeout=options.timeout,
        )
        digest = _dump_and_fingerprint(dump, connection, lambda: on_progress(_written(incoming.folder)))
        backup = Backup(
            id=backup_id,
            kind=BackupKind.FULL,
            store=store.address,
            location=backup_id,
            started_at=source.started_at,
            duration=timedelta(seconds=time.monotonic() - started),
            database=database,
            identity_id=source.identity_id,
            system_identifier=source.system_identifier,
            migration_version=source.migration_version,
            lsn=source.lsn,
            timeline=source.timeline,
            server_version=source.server_version,
            client_version=programs.version,
            files=incoming.describe(),
            digest=replace(digest, sequences=sequences),
            previous=previous_backup(store, database, source.system_identifier),
        )
        incoming.publish(backup)
    return backup


@dataclass(frozen=True, kw_only=True, slots=True)
class _Dump:
    """One call of pg_dump."""

    program: Path
    arguments: list[str]
    access: ServerAccess
    database: str
    timeout: timedelta


def _dump_and_fingerprint(dump: _Dump, connection: Connection, on_wait: Callable[[], None]) -> DatabaseDigest:
    """Dump while the exporting session takes the fingerprints; if one of the two fails, the other is stopped."""
    fingerprint = _Fingerprint(connection)
    fingerprint.start()

    def watch() -> None:
        fingerprint.raise_error()
        on_wait()

    try:
        run_client(
            dump.program,
            dump.arguments,
            access=dump.access,
            database=dump.database,
            doing=f"dump {dump.database}",
            timeout=dump.timeout,
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


def _dump_arguments(folder: Path, snapshot_id: str, jobs: int) -> list[str]:
    return [
        "--format=directory",
        f"--file={folder / DUMP_FOLDER}",
        f"--jobs={jobs}",
        f"--snapshot={snapshot_id}",
        f"--compress={_COMPRESSION}",
        "--no-sync",  # the store makes files durable when it publishes them
        "--no-password",
    ]


def _written(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.dat*") if path.exists())


class _Fingerprint(threading.Thread):
    """Fingerprints in the exporting session while pg_dump works in sessions of its own, under the same snapshot."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(name="fingerprint", daemon=True)
        self._connection = connection
        self._digest: DatabaseDigest | None = None
        self.error: SquizzleError | None = None

    def run(self) -> None:
        """Take the fingerprints, and keep what came of it."""
        try:
            self._digest = digest_in_snapshot(self._connection, bookkeeping=True)
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
