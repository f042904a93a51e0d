"""A mark in the write-ahead log, made before a migration, and the proof that the archive holds the log up to it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import psycopg

from squizzle.backups.wal.archive import WalArchive
from squizzle.backups.wal.archiver import read_archiver
from squizzle.backups.wal.names import lsn_number
from squizzle.backups.wal.slots import read_slot, slot_problems
from squizzle.backups.wal.transfer import fetch_wal
from squizzle.backups.work_folder import work_folder
from squizzle.errors import CouldNotVerifyError, InvalidInputError, RefusedError
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error

DEFAULT_PATIENCE = timedelta(minutes=2)
# MAXFNAMELEN of xlog_internal.h, 64, counts the byte that ends it.
_LONGEST_NAME = 63
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_POLL_S = 0.2
_TELL_EVERY_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RestorePoint:
    """A point that a cluster can be recovered to, if a base backup from before it and the log up to it are there.

    Attributes:
        name: For `recovery_target_name`; None when this account may not make one, then time and position are the mark.
        lsn: Position in the log right behind it, for `recovery_target_lsn`.
        time: The server's clock, for `recovery_target_time`.
        timeline: The timeline it is on.
        system_identifier: The cluster.
        xid: A transaction that began before it; everything that committed before it is there.
        segment: The segment that holds it.
        made_by: The account.
        archived: Whether that segment was fetched back from an archive and is what its hash says.
        received_by: The slot whose receiver has the log up to it on its disk; None when that is not known.
    """

    name: str | None
    lsn: str
    time: datetime
    timeline: int
    system_identifier: str
    xid: str
    segment: str
    made_by: str
    archived: bool = False
    received_by: str | None = None


def make_restore_point(connection: Connection, label: str, *, suffix: str) -> RestorePoint:
    """Make a mark in the log. No row of the database is changed.

    PostgreSQL stops at the first point of a name (manual, "Backup Control Functions"), so the suffix has to be new.

    Args:
        connection: A session on a primary, outside a transaction.
        label: What it is before, such as `before-0042`: letters, digits, `.`, `_` and `-`.
        suffix: What no other point has.

    Raises:
        InvalidInputError: The label is unusable.
        RefusedError: This is a standby, or wal_level = minimal.
        DatabaseError: The session was lost.
    """
    name = f"{label}-{suffix}"
    if not _LABEL.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise InvalidInputError(
            f"{label!r} cannot name a restore point",
            hint=f"up to {_LONGEST_NAME - 1 - len(suffix)} letters, digits, '.', '_' and '-', a letter or digit first",
        )
    try:
        _refuse_without_log(connection)
        row = connection.execute(load_sql("squizzle.backups.wal", "mark")).fetchone()
        if row is None:
            raise AssertionError("a SELECT without FROM returned no row")
        moment, lsn, segment, system_identifier, xid, user, may_name = row
        if may_name:
            made = connection.execute(
                "SELECT p::text, pg_walfile_name(p) FROM pg_create_restore_point(%s) p", (name,)
            ).fetchone()
            if made is None:
                raise AssertionError("a function returned no row")
            lsn, segment = made
    except psycopg.Error as exc:
        raise translate_error(exc, doing="make a restore point") from exc
    return RestorePoint(
        name=name if may_name else None,
        lsn=lsn,
        time=moment,
        timeline=int(segment[:8], 16),
        system_identifier=system_identifier,
        xid=xid,
        segment=segment,
        made_by=user,
    )


def _refuse_without_log(connection: Connection) -> None:
    row = connection.execute("SELECT pg_is_in_recovery(), current_setting('wal_level')").fetchone()
    if row == (False, "minimal"):
        raise RefusedError("wal_level = minimal keeps no log to recover from", hint="set wal_level = replica, restart")
    if row and row[0]:
        raise RefusedError("this server is a standby; its log is the primary's", hint="name the primary")


def await_archived(
    connection: Connection,
    point: RestorePoint,
    archive: WalArchive,
    *,
    patience: timedelta = DEFAULT_PATIENCE,
    on_progress: Callable[[str], None] = lambda _text: None,
) -> RestorePoint:
    """Close the segment of a mark, wait until it is in the archive, and fetch it back as the proof.

    Args:
        connection: A session on the primary.
        point: The mark.
        archive: Where the server's archive_command puts segments.
        patience: How long to wait.
        on_progress: Told every few seconds what is waited for.

    Returns:
        The mark, known to be archived.

    Raises:
        CouldNotVerifyError: Not archived in time, or nobody may close the segment; says what the archiver does.
        BackupDamagedError: The archive holds it, damaged.
        DatabaseError: The session was lost.
    """
    _switch(connection, point)
    begin = told = time.monotonic()
    while not _is_there(archive, point):
        archiver = read_archiver(connection)
        waited = time.monotonic() - begin
        state = f"last archived {archiver.last_archived or 'nothing'}, {archiver.failed} failures"
        if waited > patience.total_seconds():
            raise CouldNotVerifyError(
                f"{point.segment} with the restore point {point.name or point.lsn} is not in {archive.address} after "
                f"{waited:.0f} s ({state})",
                hint="the mark itself was made; `squizzle wal --store …` and the server's log say what archiving does",
            )
        if time.monotonic() - told > _TELL_EVERY_S:
            told = time.monotonic()
            on_progress(f"waiting for {point.segment} in the archive: {state}")
        time.sleep(_POLL_S)
    with work_folder() as folder:
        target = folder / point.segment
        found = fetch_wal(archive, point.segment, target, system_identifier=point.system_identifier)
    return replace(point, archived=found)


def await_received(
    connection: Connection,
    point: RestorePoint,
    slot_name: str,
    *,
    patience: timedelta = DEFAULT_PATIENCE,
    on_progress: Callable[[str], None] = lambda _text: None,
) -> RestorePoint:
    """Wait until the receiver of a slot says that it has the log up to a mark on its disk. No segment is closed.

    Args:
        connection: A session on the primary.
        point: The mark.
        slot_name: The receiver's slot.
        patience: How long to wait.
        on_progress: Told every few seconds what is waited for.

    Returns:
        The mark, known to be received.

    Raises:
        CouldNotVerifyError: Not received in time; says what is wrong with the slot.
        DatabaseError: The session was lost.
    """
    wanted = lsn_number(point.lsn) or 0
    begin = told = time.monotonic()
    while True:
        slot = read_slot(connection, slot_name)
        if slot is not None and slot.wal_status != "lost" and (slot.received_to or 0) >= wanted:
            return replace(point, received_by=slot_name)
        waited = time.monotonic() - begin
        state = "; ".join(slot_problems(slot, slot_name)) or (slot.words if slot else "")
        if waited > patience.total_seconds():
            raise CouldNotVerifyError(
                f"the receiver of {slot_name} has not got the restore point {point.name or point.lsn} after"
                f" {waited:.0f} s ({state})",
                hint="the mark itself was made; is `squizzle receive-wal` running, and what does it say?",
            )
        if time.monotonic() - told > _TELL_EVERY_S:
            told = time.monotonic()
            on_progress(f"waiting for the receiver of {slot_name}: {state}")
        time.sleep(_POLL_S)


def _is_there(archive: WalArchive, point: RestorePoint) -> bool:
    # The hash is the last that is written.
    names = {file.name for file in archive.files(point.system_identifier, point.segment)}
    return any(name.startswith(point.segment) and name.endswith(".sha256") and ".partial" not in name for name in names)


def _switch(connection: Connection, point: RestorePoint) -> None:
    try:
        row = connection.execute(
            "SELECT pg_walfile_name(pg_current_wal_insert_lsn()), has_function_privilege('pg_switch_wal()', 'EXECUTE')"
        ).fetchone()
        if row is None or row[0] != point.segment:
            return  # others filled it meanwhile
        if not row[1]:
            raise CouldNotVerifyError(
                f"the segment {point.segment} with the mark at {point.lsn} stays open, so it is not archived yet",
                hint="set archive_timeout, or, as a superuser: "
                f'GRANT EXECUTE ON FUNCTION pg_catalog.pg_switch_wal() TO "{point.made_by}"',
            )
        connection.execute("SELECT pg_switch_wal()")
    except psycopg.Error as exc:
        raise translate_error(exc, doing="close a segment of the log") from exc
