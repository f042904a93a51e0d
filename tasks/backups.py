"""Taking, checking and removing backups."""

from __future__ import annotations

import logging
import secrets
from datetime import timedelta

from blocks import BackupBucket, BackupFolder, PostgresDatabase, RdsInstance
from squizzle.backups.catalogue import (
    carry_out_pruning,
    check_chain,
    known_backups,
    plan_pruning,
    read_catalogue,
    verify_files,
)
from squizzle.backups.dump import DUMP_FOLDER, DumpOptions
from squizzle.backups.encryption.store import EncryptedStore
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.order import CopyOptions, Order
from squizzle.backups.proofs import Proof, StoreCheck, Verdict
from squizzle.backups.rds.provider import RdsProvider
from squizzle.backups.rds.records import SnapshotProgress
from squizzle.backups.rds.snapshot_source import SnapshotSource
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.s3.damage import flip_stored_bit
from squizzle.backups.s3.store import S3Store
from squizzle.backups.settings import Retention
from squizzle.backups.space import size_words
from squizzle.backups.taking import take_backup as take
from squizzle.backups.wal.check import archive_problems
from squizzle.backups.wal.open_archive import archive_of
from squizzle.backups.wal.retention import carry_out_log_pruning, plan_log_pruning
from squizzle.backups.wal.server_side import look_at_server
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.programs import ClientPrograms, find_programs
from squizzle.recovery.disasters import flip_byte
from squizzle.recovery.restore_proof import RESTORERS, prove_by_restore
from squizzle.recovery.scratch_copy import ScratchPlace
from squizzle.rehearsal.certificate_store import check_certificates
from tasks.sources import DatabaseSource, StoreSource
from tasks.steps import log_line, now, run_name, step

AS_FAST_AS_IT_CAN = CopyOptions()


def programs_for(access: ServerAccess, database: str) -> ClientPrograms:
    """Client programs that fit the server."""
    with connect(access, database, purpose="version check", read_only=True) as connection:
        return find_programs(explicit=None, server_major=connection.info.server_version // 10000)


def _taken(backup: Backup) -> str:
    return f"{backup.id}: {size_words(backup.size_bytes)}, {backup.rows:,} rows fingerprinted"


class _SnapshotLog:
    """Says in the run's log what RDS does, whenever that is something else."""

    def __init__(self) -> None:
        self._last = ("", 0)

    def __call__(self, progress: SnapshotProgress) -> None:
        tenths = (progress.percent or 0) // 10
        if (progress.status, tenths) == self._last:
            return
        self._last = (progress.status, tenths)
        percent = "" if progress.percent is None else f", {progress.percent} %"
        log_line(f"waiting for {progress.doing}: {progress.status}{percent}")


def _snapshots(rds: RdsInstance | None) -> SnapshotSource | None:
    if rds is None:
        return None
    from squizzle.backups.rds.instance import InstanceSnapshots  # noqa: PLC0415 - boto3 costs 200 ms

    return InstanceSnapshots(rds.access(), rds.instance, tell=_SnapshotLog())


def _provider(rds: RdsInstance | None) -> RdsProvider:
    """Who is asked for snapshots; without a block the worker's own account."""
    return RdsProvider(rds.access() if rds else None)


@step("Take a backup", timeout=timedelta(hours=12), detail=_taken)
def take_backup(
    database: DatabaseSource,
    store: StoreSource,
    *,
    kind: BackupKind = BackupKind.FULL,
    rds: RdsInstance | None = None,
    copying: CopyOptions = AS_FAST_AS_IT_CAN,
) -> Backup:
    """Save under one snapshot with its fingerprints; publish only with a manifest. The database is only read."""
    target = database.target()
    access = database.access()
    order = Order(
        access=access,
        target=target,
        store=store.open(),
        kind=kind,
        programs=programs_for(access, target.database),
        options=DumpOptions(schema=target.schema),
        snapshots=_snapshots(rds),
        copying=copying,
    )
    return take(order, suffix=secrets.token_hex(3))


def _verified(proof: Proof) -> str:
    return proof.verdict.value if not proof.sentences else f"{proof.verdict.value}: {proof.sentences[0]}"


@step("Read every file of the backup again", timeout=timedelta(hours=12), detail=_verified)
def verify_backup(store: BackupFolder | BackupBucket, backup: Backup, *, rds: RdsInstance | None = None) -> Proof:
    """Compare every file with the manifest, and ask RDS for its snapshot; the result is put beside it."""
    return verify_files(store.open(), backup, by=run_name(), provider=_provider(rds))


@step("Read the catalogue", timeout=timedelta(minutes=30), detail=lambda found: f"{len(found)} of this kind")
def earlier_backups(store: BackupFolder | BackupBucket, backup: Backup) -> tuple[Backup, ...]:
    """Every backup of the same kind and database that the store holds, for the trend; newest first."""
    entries = known_backups(read_catalogue(store.open()))
    same = (backup.kind, backup.database, backup.system_identifier)
    found = (one.backup for one in entries)
    return tuple(one for one in found if (one.kind, one.database, one.system_identifier) == same)


def _looked_at(found: StoreCheck) -> str:
    proofs = [*found.files, *found.restores]
    bad = [proof for proof in proofs if proof.verdict is not Verdict.PASS]
    said = f"{len(found.files)} read again, {len(found.restores)} restored"
    return f"{said}: all pass" if not bad else f"{said}: {len(bad)} DID NOT PASS, {bad[0].backup_id} first"


@step("Read every file of every backup again", timeout=timedelta(hours=24), detail=_looked_at)
def check_store(
    store: BackupFolder | BackupBucket,
    *,
    restore: bool,
    database: PostgresDatabase | None = None,
    slot: str = "",
    rds: RdsInstance | None = None,
) -> StoreCheck:
    """Look at everything in a store; the newest backup of each database and kind is restored to a scratch place.

    With a database its server is asked, too, whether its log comes into the store: by itself, or by the receiver of a
    slot.
    """
    place = store.open()
    provider = _provider(rds)
    entries = read_catalogue(place)
    files = []
    restores = []
    seen: set[tuple[str, str, str]] = set()
    for backup in (entry.backup for entry in entries if entry.backup is not None):
        proof = verify_files(place, backup, by=run_name(), provider=provider)
        log_line(f"{backup.id}: files {_verified(proof)}")
        files.append(proof)
        series = (backup.kind.value, backup.database, backup.system_identifier)
        if not restore or series in seen or backup.kind not in RESTORERS:
            continue
        seen.add(series)
        restored = prove_by_restore(place, backup, ScratchPlace(), by=run_name())
        log_line(f"{backup.id}: restore {_verified(restored)}")
        restores.append(restored)
    problems = [text for entry in entries for text in entry.problems]
    archive = archive_of(place)
    problems += archive_problems(archive, [known.backup for known in known_backups(entries)])
    if database is not None:
        with connect(database.access(), database.target().database, purpose="wal", read_only=True) as connection:
            problems += look_at_server(connection, archive, slot or None).problems
    return StoreCheck(
        store=place.address,
        files=tuple(files),
        restores=tuple(restores),
        problems=(*problems, *check_chain(place, entries), *check_certificates(place).problems),
    )


def _pruned(removed: tuple[str, ...]) -> str:
    return ", ".join(removed) or "nothing is out of date"


@step("Remove backups that are out of date", timeout=timedelta(hours=2), detail=_pruned)
def prune_backups(
    store: BackupFolder | BackupBucket, retention: Retention, *, rds: RdsInstance | None = None
) -> tuple[str, ...]:
    """Remove what retention lets go, and the write-ahead log that no copy needs any more; returns the backups' ids.

    Raises:
        RefusedError: A manifest is damaged or missing: nothing is removed before that is understood.
    """
    place = store.open()
    plan = plan_pruning(place, retention, now=now())
    result = carry_out_pruning(place, plan, by=run_name(), reason="out of date", now=now(), provider=_provider(rds))
    for backup_id, reason in result.refused.items():
        log_line(f"{backup_id} was not removed: {reason}", logging.WARNING)
    archive = archive_of(place)
    for log in carry_out_log_pruning(archive, plan_log_pruning(archive, result)):
        if log.why_not:
            log_line(f"log of cluster {log.system_identifier}: nothing goes: {log.why_not}", logging.WARNING)
        elif log.removed:
            size = size_words(log.size_bytes)
            log_line(f"log of cluster {log.system_identifier}: {log.segments} segments ({size}) removed")
    return result.removed


@step("Sabotage: flip one bit of the backup", timeout=timedelta(minutes=5), detail=lambda file: f"in {file}")
def damage_backup(store: BackupFolder | BackupBucket, backup: Backup) -> str:
    """Flip one bit in the dump's largest file, as it lies in the store; returns the file's path within the backup."""
    place = store.open()
    if isinstance(place, EncryptedStore):
        place = place.inner
    if isinstance(place, FolderStore):
        return f"{DUMP_FOLDER}/{flip_byte(place.path_of(backup) / DUMP_FOLDER)}"
    if isinstance(place, S3Store):
        return f"{DUMP_FOLDER}/{flip_stored_bit(place, backup.id, DUMP_FOLDER)}"
    raise TypeError(f"nobody has written how to damage a backup in a {type(place).__name__}")
