"""A backup of what belongs to the whole cluster: roles, tablespaces, and the properties of every database."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import psycopg

from squizzle.backups.dump import DumpOptions
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.source import read_source
from squizzle.backups.store import BackupStore, previous_backup
from squizzle.backups.surroundings import GLOBALS_FILE, dump_globals, write_properties
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.database_properties import read_properties
from squizzle.postgres.programs import ClientPrograms
from squizzle.postgres.translation import translate_error

_NOT_HELD = ("every database's content", "settings of the server (postgresql.conf, ALTER SYSTEM)", "pg_hba.conf")


def take_globals(
    access: ServerAccess,
    database: str,
    store: BackupStore,
    programs: ClientPrograms,
    *,
    backup_id: str,
    options: DumpOptions,
    on_progress: Callable[[int], None] = lambda _bytes: None,
) -> Backup:
    """Save roles, memberships, tablespaces (`globals.sql`) and every database's properties (`databases.json`).

    Args:
        access: Server and account.
        database: A database of the cluster; the backup is listed under its name.
        store: Where to.
        programs: pg_dumpall of the server's major version or newer.
        backup_id: Unique in the store.
        options: Whether the hashes of passwords are wanted, and how long it may take.
        on_progress: Called a few times a second.

    Raises:
        ConnectionFailedError: No connection.
        ToolError: pg_dumpall failed or took too long; nothing was published.
        DatabaseError: The session was lost; the same.
    """
    started = time.monotonic()
    with (
        connect(access, database, purpose="backup", read_only=True) as connection,
        store.receive(backup_id) as incoming,
    ):
        source = read_source(connection, options.schema)
        missing = dump_globals(
            access,
            connection,
            incoming.folder,
            programs,
            timeout=options.timeout,
            role_passwords=options.role_passwords,
            on_wait=lambda: on_progress((incoming.folder / GLOBALS_FILE).stat().st_size),
        )
        try:
            rows = connection.execute("SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1").fetchall()
        except psycopg.Error as exc:
            raise translate_error(exc, doing="list the databases") from exc
        properties = {name: read_properties(connection, name) for (name,) in rows}
        write_properties(properties, incoming.folder)
        backup = Backup(
            id=backup_id,
            kind=BackupKind.GLOBALS,
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
            digest=None,
            previous=previous_backup(store, database, source.system_identifier),
            details=dict(options.details),
            not_covered=(*missing, *_NOT_HELD),
        )
        incoming.publish(backup)
    return backup
