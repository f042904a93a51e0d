"""Marks: points to recover to or to undo to, each a manifest without files."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from squizzle.backups.change_log.changes import ChangeLogMark, mark
from squizzle.backups.change_log.reading import is_installed, may_read
from squizzle.backups.order import Order
from squizzle.backups.records import Backup
from squizzle.backups.source import draft_backup, read_source
from squizzle.backups.store import safe_name
from squizzle.backups.wal.restore_point import make_restore_point
from squizzle.errors import InvalidInputError
from squizzle.postgres.access import connect

# The longest part of a database's name that leaves room for the time and the random end of the backup's id.
_NAME_CHARACTERS = 34
_NOT_HELD = "rows: it is a point, for a copy of the cluster with the write-ahead log up to it, or for the change log"
_NO_NAME = "a name for it: this account may not make restore points, so recovery goes to its LSN"
_NO_LOG = "a point in the change log: no table is logged, or this account may not read the log"


def take_mark(order: Order, backup_id: str, on_progress: Callable[[int], None]) -> Backup:
    """Make a named restore point, and note where write-ahead log and change log are. No row is changed.

    Where the account may not name a restore point, the position in the write-ahead log is the mark.

    Args:
        order: Of which database.
        backup_id: Unique in the store; its time and its random end are part of the restore point's name.
        on_progress: Not called: there is nothing to wait for.

    Raises:
        ConnectionFailedError: No connection.
        RefusedError: This is a standby, or wal_level = minimal; nothing was published.
        DatabaseError, ToolError: As the server or the store says; the same.
    """
    del on_progress
    database = order.target.database
    started = time.monotonic()
    with (
        connect(order.access, database, purpose="backup mark") as connection,
        order.store.receive(backup_id) as incoming,
    ):
        source = read_source(connection, order.options.schema)
        time_of, _, end = backup_id.partition("-")
        label = f"mark-{safe_name(database)[:_NAME_CHARACTERS]}".rstrip("-")
        point = make_restore_point(connection, label, suffix=f"{time_of}-{end.rpartition('-')[2]}")
        logged = mark(connection) if is_installed(connection) and may_read(connection) else None
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
        backup = replace(
            draft,
            lsn=point.lsn,
            timeline=point.timeline,
            details={
                **order.options.details,
                "restore_point": point.name or "",
                "restore_point_time": point.time.isoformat(),
                "segment": point.segment,
                **(_details(logged) if logged else {}),
            },
            not_covered=(
                _NOT_HELD,
                *(() if point.name else (_NO_NAME,)),
                *(() if logged else (_NO_LOG,)),
            ),
        )
        return incoming.publish(backup)


def _details(logged: ChangeLogMark) -> dict[str, str]:
    return {
        "log_snapshot": logged.snapshot,
        "log_xid": str(logged.xid),
        "log_lsn": logged.lsn,
        "log_at": logged.at.isoformat(),
        "log_timeline": str(logged.timeline),
        "log_database_oid": str(logged.database_oid),
        "log_position": str(logged.position),
    }


def log_mark_of(backup: Backup) -> ChangeLogMark:
    """The point in the change log that a mark holds, for undoing what came after it.

    Raises:
        InvalidInputError: It holds none.
    """
    details = backup.details
    if "log_snapshot" not in details:
        raise InvalidInputError(
            f"backup {backup.id} ({backup.kind}) holds no point in the change log",
            hint="name one of kind mark that was made while tables were logged, or ask by time",
        )
    return ChangeLogMark(
        snapshot=details["log_snapshot"],
        xid=int(details["log_xid"]),
        lsn=details["log_lsn"],
        at=datetime.fromisoformat(details["log_at"]),
        system_identifier=backup.system_identifier,
        timeline=int(details["log_timeline"]),
        database_oid=int(details["log_database_oid"]),
        position=int(details["log_position"]),
    )
