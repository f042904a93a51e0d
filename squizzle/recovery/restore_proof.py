"""Proving a backup by restoring it: to a scratch place, compared with its fingerprints, and gone again afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from time import monotonic

from squizzle.backups.notes import write_proof
from squizzle.backups.proofs import Proof, ProofKind, Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.store import BackupStore
from squizzle.errors import (
    BackupDamagedError,
    CloudError,
    ConnectionFailedError,
    CouldNotVerifyError,
    InvalidInputError,
    RecoveryError,
    SquizzleError,
    ToolError,
)
from squizzle.postgres.access import connect
from squizzle.proof.records import Comparison
from squizzle.recovery.cluster_copy import check_indexes, check_pages, compare_copy, running_copy, without_fingerprints
from squizzle.recovery.restore import verify_copy
from squizzle.recovery.scratch_copy import ScratchPlace, scratch_copy

# What a server that is not the source's may lack without the backup being any worse.
_SERVER_IS_AT_FAULT = (
    "No space left on device",
    "could not open extension control file",
    "is not available",
    "must be superuser",
    "permission denied",
    "could not access file",
    "must be owner",
    "must be member of role",
    "must be able to SET ROLE",
    "out of memory",
    "out of shared memory",
    "server closed the connection unexpectedly",
    "terminating connection",
    "connection to server",
    "the database system is",
    "too many clients already",
    "remaining connection slots",
    "canceling statement due to",
    "not supported in this build",
    "not supported by this build",
    "locale name",
)

# Errors of a store, which could not be read: as which command they say that they come from.
_OF_STORES = frozenset({"", "s3"})

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
        found: Comparison | SquizzleError = restorer(store, opened, place, details)
    except SquizzleError as exc:
        found = exc
    duration = timedelta(seconds=monotonic() - started)
    return note_restore(store, backup, found, at=at, duration=duration, by=by, details=details)


def note_restore(
    store: BackupStore,
    backup: Backup,
    found: Comparison | SquizzleError,
    *,
    at: datetime,
    duration: timedelta,
    by: str,
    details: Mapping[str, str],
) -> Proof:
    """Put what came of a restore beside its backup.

    Args:
        store: Where the backup lies.
        backup: Which.
        found: How the copy compares with the backup, or why there is none.
        at: When it began.
        duration: Check, restore and comparison.
        by: Who looked.
        details: What else there is to say.

    Raises:
        ToolError: The result could not be written.
    """
    if isinstance(found, SquizzleError):
        verdict, figures = verdict_of(found), {}
        sentences: tuple[str, ...] = (found.message,)
    else:
        verdict, sentences = verdict_of_comparison(found), found.sentences()
        figures = {
            "tables": str(len(found.tables)),
            "rows": str(sum(table.found_rows or 0 for table in found.tables)),
            "schema": found.schema.value,
        }
    proof = Proof(
        backup_id=backup.id,
        kind=ProofKind.RESTORE,
        verdict=verdict,
        at=at,
        duration=duration,
        by=by,
        sentences=sentences,
        details={**details, **figures},
    )
    write_proof(store, proof)
    return proof


def verdict_of_comparison(comparison: Comparison) -> Verdict:
    """Whether a restored copy is what was saved. Pure.

    A dump says nothing of an extension's version, so a server gives it the one that it has: no fault of the backup's.
    """
    if comparison.is_equal:
        return Verdict.PASS
    no_rows = not comparison.different_tables and not comparison.sequences
    extensions = all(label.startswith("extension ") for label in comparison.changed) and bool(comparison.changed)
    only = extensions and not comparison.missing and not comparison.unexpected
    return Verdict.COULD_NOT_VERIFY if no_rows and only else Verdict.FAIL


def verdict_of(error: SquizzleError) -> Verdict:
    """Whether the backup is bad, or only this attempt to restore it. Pure."""
    if isinstance(error, BackupDamagedError):
        return Verdict.FAIL
    if isinstance(error, (CouldNotVerifyError, ConnectionFailedError, InvalidInputError, RecoveryError)):
        return Verdict.COULD_NOT_VERIFY
    if isinstance(error, CloudError) or (type(error) is ToolError and error.command in _OF_STORES):
        return Verdict.COULD_NOT_VERIFY
    text = f"{error.message} {getattr(error, 'stderr_tail', '')}"
    return Verdict.COULD_NOT_VERIFY if any(sign in text for sign in _SERVER_IS_AT_FAULT) else Verdict.FAIL


def _restore_database(store: BackupStore, backup: Backup, place: ScratchPlace, details: Details) -> Comparison:
    """A whole database, or its definitions."""
    with place.open(backup) as server:
        details["server"] = server.where
        with (
            scratch_copy(store, backup, server) as copy,
            connect(server.access, copy.database, purpose="verify", read_only=True) as connection,
        ):
            return verify_copy(connection, backup)


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


RESTORERS: Mapping[BackupKind, Restorer] = {
    BackupKind.FULL: _restore_database,
    BackupKind.SCHEMA: _restore_database,
    BackupKind.PHYSICAL: _restore_cluster,
    BackupKind.INCREMENTAL: _restore_cluster,
}
"""How each kind is restored for a test."""
