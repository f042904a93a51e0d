"""Proving a backup by restoring it: to a scratch place, compared with its fingerprints, and gone again afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

import psycopg
from psycopg import sql

from squizzle.backups.notes import write_proof
from squizzle.backups.proofs import Proof, ProofKind, Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.store import BackupStore
from squizzle.backups.surroundings import saved_surroundings
from squizzle.errors import (
    BackupDamagedError,
    ConnectionFailedError,
    CouldNotVerifyError,
    InvalidInputError,
    RecoveryError,
    SquizzleError,
)
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.database_properties import DatabaseProperties, read_properties
from squizzle.postgres.scratch_server import ScratchServer, named_server, scratch_server
from squizzle.postgres.translation import translate_error
from squizzle.proof.records import Comparison
from squizzle.recovery.cluster_copy import check_indexes, check_pages, compare_copy, running_copy, without_fingerprints
from squizzle.recovery.fence import control_session
from squizzle.recovery.restore import restore_beside, verify_copy
from squizzle.recovery.scratch import drill_names, living_run, remove_run, sweep_dead_runs

_DEFAULT_TABLESPACE = "pg_default"
# What a server that is not the source's may lack without the backup being any worse.
_SERVER_IS_AT_FAULT = (
    "No space left on device",
    "could not open extension control file",
    "is not available",
    "must be superuser",
    "permission denied",
    "could not access file",
    "not supported in this build",
    "not supported by this build",
    "locale name",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScratchPlace:
    """Where backups are restored to for a test.

    Attributes:
        server: A server that the user named; None starts one of our own, of the backup's major version.
        programs: Folder of client programs that the user named.
    """

    server: ServerAccess | None = None
    programs: Path | None = None

    @contextmanager
    def open(self, backup: Backup) -> Iterator[ScratchServer]:
        """The server, for the length of the block.

        Raises:
            CouldNotVerifyError: There is no server of this version on this machine, or the named one is older.
            ConnectionFailedError: The named one cannot be reached.
        """
        major = backup.server_version // 10000
        if self.server is None:
            with scratch_server(major, prefix="restore", programs=self.programs) as server:
                yield server
            return
        server = named_server(self.server, programs=self.programs)
        if server.programs.major < major:
            raise CouldNotVerifyError(
                f"the backup is of PostgreSQL {major}, which {server.where} is too old for",
                hint="name a newer server, or none: then one of our own is started",
            )
        yield server


Details = dict[str, str]
Restorer = Callable[[BackupStore, Backup, ScratchPlace, Details], Comparison]


def prove_by_restore(
    store: BackupStore,
    backup: Backup,
    place: ScratchPlace,
    *,
    by: str,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Proof:
    """Restore a backup to a scratch place, compare it, and put the result beside it. No other database is touched.

    Args:
        store: Where the backup lies.
        backup: Which.
        place: Where to restore it to.
        by: Who looks.
        clock: The time.

    Returns:
        The proof. `fail`: it is damaged, or the restored copy is not what was saved; `could_not_verify`: it could not
        be tried here. Its duration is that of check, restore and comparison, which is about what a recovery takes.

    Raises:
        InvalidInputError: Backups of this kind are not restored alone.
        ToolError: The result could not be written.
    """
    restorer = RESTORERS.get(backup.kind)
    if restorer is None:
        known = ", ".join(sorted(RESTORERS))
        raise InvalidInputError(
            f"backup {backup.id} ({backup.kind}) cannot be restored for a test", hint=f"name one of: {known}"
        )
    at, started = clock(), monotonic()
    details: dict[str, str] = {}
    try:
        opened = store.read(backup.id) if backup.is_sealed else backup
        comparison = restorer(store, opened, place, details)
    except SquizzleError as exc:
        verdict = _verdict_of(exc)
        sentences: tuple[str, ...] = (exc.message,)
    else:
        verdict = Verdict.PASS if comparison.is_equal else Verdict.FAIL
        sentences = comparison.sentences()
        details["tables"] = str(len(comparison.tables))
        details["rows"] = str(sum(table.found_rows or 0 for table in comparison.tables))
        details["schema"] = comparison.schema.value
    proof = Proof(
        backup_id=backup.id,
        kind=ProofKind.RESTORE,
        verdict=verdict,
        at=at,
        duration=timedelta(seconds=monotonic() - started),
        by=by,
        sentences=sentences,
        details=details,
    )
    write_proof(store, proof)
    return proof


def _verdict_of(error: SquizzleError) -> Verdict:
    """Whether the backup is bad, or only this attempt."""
    if isinstance(error, BackupDamagedError):
        return Verdict.FAIL
    if isinstance(error, (CouldNotVerifyError, ConnectionFailedError, InvalidInputError, RecoveryError)):
        return Verdict.COULD_NOT_VERIFY
    text = f"{error.message} {getattr(error, 'stderr_tail', '')}"
    return Verdict.COULD_NOT_VERIFY if any(sign in text for sign in _SERVER_IS_AT_FAULT) else Verdict.FAIL


def _restore_database(store: BackupStore, backup: Backup, place: ScratchPlace, details: Details) -> Comparison:
    """A whole database, or its definitions."""
    with place.open(backup) as server:
        details["server"] = server.where
        with (
            _scratch_database(store, backup, server) as (access, name),
            connect(access, name, purpose="verify", read_only=True) as copy,
        ):
            return verify_copy(copy, backup)


def _restore_cluster(store: BackupStore, backup: Backup, _place: ScratchPlace, details: Details) -> Comparison:
    """A copy of a cluster, always on a server of our own: nowhere else is room for a whole cluster."""
    with running_copy(store, backup) as copy:
        details["server"] = copy.where
        # First: looking at the indexes adds an extension to the copy.
        comparison = None if backup.digest is None else compare_copy(copy, backup)
        details["indexes"] = check_indexes(copy, backup)
        details["pages"] = check_pages(copy, backup)
        if comparison is None:
            raise without_fingerprints(backup)
        return comparison


@contextmanager
def _scratch_database(store: BackupStore, backup: Backup, server: ScratchServer) -> Iterator[tuple[ServerAccess, str]]:
    """The backup as a database of its own, dropped afterwards, by the next run if we are killed."""
    access = server.access
    run_id = secrets.token_hex(4)
    with control_session(access, purpose="restore test") as control:
        sweep_dead_runs(control)
        with living_run(control, run_id):
            try:
                name = drill_names(run_id).restored
                with store.fetch(backup) as folder:
                    like = _properties(control, folder, server)
                    restore_beside(
                        access, control, backup, folder, programs=server.programs, into=name, like=like, elsewhere=True
                    )
                yield access, name
            finally:
                if not control.closed:
                    remove_run(control, run_id)


def _properties(control: Connection, folder: Path, server: ScratchServer) -> DatabaseProperties:
    """What the scratch database must be like; the roles that the backup speaks of are made on a server of our own."""
    saved = saved_surroundings(folder)
    if saved is None:  # made before they were saved: the server's own template has to do
        return read_properties(control, "template0")
    if server.throwaway:
        there = {row[0] for row in control.execute("SELECT rolname FROM pg_roles")}
        for role in saved.roles:
            if role not in there:
                _execute(control, sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)), f"make the role {role}")
    return replace(saved.properties, tablespace=_DEFAULT_TABLESPACE)


def _execute(control: Connection, command: sql.Composed, doing: str) -> None:
    try:
        control.execute(command)
    except psycopg.Error as exc:
        raise translate_error(exc, doing=doing) from exc


RESTORERS: Mapping[BackupKind, Restorer] = {
    BackupKind.FULL: _restore_database,
    BackupKind.SCHEMA: _restore_database,
    BackupKind.PHYSICAL: _restore_cluster,
    BackupKind.INCREMENTAL: _restore_cluster,
}
"""How each kind is restored for a test."""
