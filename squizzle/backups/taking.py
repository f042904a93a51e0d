"""Taking a backup of any kind: the right database, alone, with room for it; then the kind's own way."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import psycopg

from squizzle.backups.dump import new_backup_id, take_dump
from squizzle.backups.globals import take_globals
from squizzle.backups.marks import take_mark
from squizzle.backups.order import Order, Progress
from squizzle.backups.physical.chain import makes_increments
from squizzle.backups.physical.take import take_physical
from squizzle.backups.records import SIZE_DETAIL, Backup, BackupKind
from squizzle.backups.snapshot.take import take_rds
from squizzle.backups.space import (
    SpaceNeed,
    estimate_need,
    refuse_without_room,
    source_size,
    space_watch,
    with_local_need,
)
from squizzle.backups.store import safe_name
from squizzle.errors import BackupDamagedError, InvalidInputError, LockTimeoutError
from squizzle.headway import Stretch, Unit, stretch
from squizzle.postgres.access import Connection, connect
from squizzle.postgres.identity import check_identity, read_identity
from squizzle.postgres.translation import translate_error

# "SQZB" in ASCII: a backup is being taken; advisory locks are those of one database.
_LOCK = (0x53515A42, 0)
SKIPPED_SPACE_CHECK = "space_check_skipped"


Taker = Callable[[Order, str, Callable[[int], None]], Backup]


def _dump(order: Order, backup_id: str, on_progress: Callable[[int], None]) -> Backup:
    return take_dump(
        order.access,
        order.target.database,
        order.store,
        order.programs,
        backup_id=backup_id,
        kind=order.kind,
        options=order.options,
        on_progress=on_progress,
    )


TAKERS: Mapping[BackupKind, Taker] = {
    BackupKind.FULL: _dump,
    BackupKind.SCHEMA: _dump,
    BackupKind.DATA: _dump,
    BackupKind.GLOBALS: take_globals,
    BackupKind.PHYSICAL: take_physical,
    BackupKind.INCREMENTAL: take_physical,
    BackupKind.RDS: take_rds,
    BackupKind.MARK: take_mark,
}
"""How each kind is taken."""


def take_backup(
    order: Order,
    *,
    suffix: str,
    on_progress: Callable[[Progress], None] = lambda _progress: None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Backup:
    """Take one backup. The database is only read; what killed runs left in the store is removed first.

    Args:
        order: What, from where, to where.
        suffix: A few random characters for the id, against two backups in one second.
        on_progress: Called a few times a second.
        clock: The time.

    Returns:
        The backup, published with its manifest.

    Raises:
        IdentityMismatchError: Another database than was meant.
        LockTimeoutError: A backup of this database is being taken already.
        InvalidInputError: There is no room for it.
        CloudError: RDS cannot take the snapshot; the message says whether one is being made.
        ConnectionFailedError, DatabaseError, ToolError: It failed; nothing was published, older backups are untouched.
    """
    database = order.target.database
    with connect(order.access, database, purpose="backup lock", read_only=True) as connection:
        check_identity(read_identity(connection), order.target.expected, database=database)
        with _alone(connection, database):
            order.store.remove_leftovers()
            if order.kind is BackupKind.INCREMENTAL and order.copying.or_mark and not makes_increments(connection):
                order = replace(order, kind=BackupKind.MARK)
            size = source_size(connection, order.kind)
            need = with_local_need(estimate_need(order.kind, size, _earlier(order)), order.kind, connection)
            order = _with_details(order, {SIZE_DETAIL: str(size)})
            if order.ignore_space is None:
                refuse_without_room(order.store, need)
            else:
                order = _with_details(order, {SKIPPED_SPACE_CHECK: order.ignore_space})
            backup_id = new_backup_id(database, now=clock(), suffix=suffix)
            try:
                with _saving(order, need) as headway:
                    return TAKERS[order.kind](order, backup_id, _teller(order, need, headway, on_progress))
            except psycopg.Error as exc:  # a server can be lost at any question
                error = translate_error(exc, doing=f"save {database} (nothing was published)")
                error.hint = error.hint or "run the same again when the server answers; older backups are untouched"
                raise error from exc


def _saving(order: Order, need: SpaceNeed) -> AbstractContextManager[Stretch]:
    """That it is being saved, for whoever looks on: in bytes where they can be counted here."""
    doing = f"saving {order.target.database} ({order.kind})"
    if order.kind is BackupKind.RDS:
        return stretch(doing)
    return stretch(doing, unit=Unit.BYTES, total=need.need_bytes, is_estimate=True)


def _teller(
    order: Order, need: SpaceNeed, headway: Stretch, on_progress: Callable[[Progress], None]
) -> Callable[[int], None]:
    watch_space = space_watch(order.store)

    def tell(written: int) -> None:
        if order.ignore_space is None:
            watch_space()
        headway.at(written)
        on_progress(Progress(written_bytes=written, expected_bytes=need.need_bytes))

    return tell


def _with_details(order: Order, more: Mapping[str, str]) -> Order:
    return replace(order, options=replace(order.options, details={**order.options.details, **more}))


def _earlier(order: Order) -> Backup | None:
    """The last backup of the same kind and database."""
    for backup_id in order.store.list_ids():
        if f"-{safe_name(order.target.database)}-" not in backup_id:
            continue
        try:
            backup = order.store.read_header(backup_id)
        except (BackupDamagedError, InvalidInputError):  # damaged, or removed since the list was read
            continue
        if backup.kind is order.kind and backup.database == order.target.database:
            return backup
    return None


@contextmanager
def _alone(connection: Connection, database: str) -> Iterator[None]:
    """Hold the database's backup lock: two backups at once would only slow each other down.

    The lock is the session's, and ends with it however it ends.
    """
    try:
        row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", _LOCK).fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"take the backup lock of {database}") from exc
    if row != (True,):
        raise LockTimeoutError(
            f"a backup of {database} is being taken already",
            hint="wait until it ends; `SELECT * FROM pg_stat_activity WHERE application_name LIKE 'squizzle backup%'`"
            " shows it",
        )
    try:
        yield
    finally:
        # A busy server takes its time to notice that a session was closed; the next backup may begin at once.
        with contextlib.suppress(psycopg.Error):  # a session that was lost has no lock any more
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", _LOCK)
        connection.close()
