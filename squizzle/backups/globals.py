"""A backup of what belongs to the whole cluster: roles, tablespaces, and the properties of every database."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import psycopg

from squizzle.backups.order import Order
from squizzle.backups.records import Backup
from squizzle.backups.source import draft_backup, read_source
from squizzle.backups.surroundings import GLOBALS_FILE, dump_globals, write_properties
from squizzle.postgres.access import connect
from squizzle.postgres.database_properties import read_properties
from squizzle.postgres.translation import translate_error

_NOT_HELD = ("every database's content", "settings of the server (postgresql.conf, ALTER SYSTEM)", "pg_hba.conf")


def take_globals(order: Order, backup_id: str, on_progress: Callable[[int], None]) -> Backup:
    """Save roles, memberships, tablespaces (`globals.sql`) and every database's properties (`databases.json`).

    Args:
        order: The backup is listed under the name of the order's database.
        backup_id: Unique in the store.
        on_progress: Called a few times a second with the bytes written so far.

    Raises:
        ConnectionFailedError: No connection.
        ToolError: pg_dumpall failed or took too long; nothing was published.
        DatabaseError: The session was lost; the same.
    """
    access, database, options = order.access, order.target.database, order.options
    started = time.monotonic()
    with (
        connect(access, database, purpose="backup", read_only=True) as connection,
        order.store.receive(backup_id) as incoming,
    ):
        source = read_source(connection, options.schema)
        missing = dump_globals(
            access,
            connection,
            incoming.folder,
            order.programs,
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
        draft = draft_backup(
            order.store,
            incoming,
            source,
            backup_id=backup_id,
            kind=order.kind,
            database=database,
            client_version=order.programs.version,
            duration=timedelta(seconds=time.monotonic() - started),
        )
        backup = replace(draft, details=dict(options.details), not_covered=(*missing, *_NOT_HELD))
        return incoming.publish(backup)
