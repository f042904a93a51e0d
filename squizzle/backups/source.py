"""What a server says about itself and the database at the moment of a snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.store import BackupStore, Incoming, previous_backup
from squizzle.migrations.history import read_history
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import read_identity


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a backup comes from.

    Attributes:
        started_at: The server's clock.
        lsn: Write-ahead log position: inserted on a primary, replayed on a standby.
        server_version: Such as 180006.
        system_identifier: Of the cluster; empty when it may not be read.
        timeline: Of the write-ahead log, as the last checkpoint has it; None when it may not be read.
        identity_id: The id in `squizzle.identity`; None when there is none.
        migration_version: The highest applied version.
    """

    started_at: datetime
    lsn: str
    server_version: int
    system_identifier: str
    timeline: int | None
    identity_id: str | None
    migration_version: str | None


def read_source(connection: Connection, schema: str) -> Source:
    """Ask a server who it is. Nothing is changed.

    Args:
        connection: A session in the database.
        schema: Where the migration history is.
    """
    row = connection.execute(
        "SELECT clock_timestamp(),"
        " CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END::text,"
        " current_setting('server_version_num')::int,"
        " (SELECT system_identifier::text FROM pg_control_system()),"
        " (SELECT timeline_id FROM pg_control_checkpoint())"
    ).fetchone()
    if row is None:
        raise AssertionError("a SELECT without FROM returned no row")
    identity = read_identity(connection)
    return Source(
        started_at=row[0],
        lsn=row[1],
        server_version=row[2],
        system_identifier=row[3],
        timeline=row[4],
        identity_id=str(identity.id) if identity else None,
        migration_version=read_history(connection, schema).current,
    )


def draft_backup(
    store: BackupStore,
    incoming: Incoming,
    source: Source,
    *,
    backup_id: str,
    kind: BackupKind,
    database: str,
    client_version: str,
    duration: timedelta,
) -> Backup:
    """What the manifests of all kinds have in common; the kind adds its own before it publishes.

    Args:
        store: Where the backup goes.
        incoming: With all its files.
        source: Where it comes from.
        backup_id: Unique in the store.
        kind: What it holds.
        database: The database that was saved, or fingerprinted.
        client_version: Of the program that made it.
        duration: From the snapshot until now.
    """
    return Backup(
        id=backup_id,
        kind=kind,
        store=store.address,
        location=backup_id,
        started_at=source.started_at,
        # As the manifest says it, so that what is published is what is read.
        duration=timedelta(milliseconds=round(duration.total_seconds() * 1000)),
        database=database,
        identity_id=source.identity_id,
        system_identifier=source.system_identifier,
        migration_version=source.migration_version,
        lsn=source.lsn,
        timeline=source.timeline,
        server_version=source.server_version,
        client_version=client_version,
        files=incoming.describe(),
        digest=None,
        previous=previous_backup(store, database, source.system_identifier),
    )
