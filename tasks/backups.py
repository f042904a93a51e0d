"""Taking and checking backups."""

from __future__ import annotations

import secrets
from datetime import timedelta

from blocks import BackupFolder, PostgresDatabase
from squizzle.backups.dump import DUMP_FOLDER, DumpOptions, new_backup_id, take_dump
from squizzle.backups.records import Backup
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.programs import ClientPrograms, find_programs
from squizzle.recovery.disasters import flip_byte
from tasks.steps import now, step


def programs_for(access: ServerAccess, database: str) -> ClientPrograms:
    """Client programs that fit the server."""
    with connect(access, database, purpose="version check", read_only=True) as connection:
        return find_programs(explicit=None, server_major=connection.info.server_version // 10000)


def _taken(backup: Backup) -> str:
    return f"{backup.id}: {backup.size_bytes / 1_000_000:.1f} MB, {backup.rows:,} rows fingerprinted"


@step("Take a full backup", timeout=timedelta(hours=12), detail=_taken)
def take_backup(database: PostgresDatabase, store: BackupFolder) -> Backup:
    """Dump in parallel and fingerprint under the same snapshot; publish only with a manifest."""
    target = database.target()
    access = database.access()
    return take_dump(
        access,
        target.database,
        store.open(),
        programs_for(access, target.database),
        backup_id=new_backup_id(target.database, now=now(), suffix=secrets.token_hex(3)),
        options=DumpOptions(schema=target.schema),
    )


@step("Sabotage: flip one bit of the backup", timeout=timedelta(minutes=5), detail=lambda file: f"in {file}")
def damage_backup(store: BackupFolder, backup: Backup) -> str:
    """Flip one bit in the backup's largest file; returns the file's path within the backup."""
    return f"{DUMP_FOLDER}/{flip_byte(store.open().path_of(backup) / DUMP_FOLDER)}"
