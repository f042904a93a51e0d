"""A database as it was at a point: recovered on a scratch cluster, dumped, restored on a server, compared."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from squizzle.backups.catalogue import read_catalogue
from squizzle.backups.dump import DumpOptions, new_backup_id, take_dump
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.records import SIZE_DETAIL, Backup, BackupKind
from squizzle.backups.space import MARGIN, size_words, source_size
from squizzle.backups.store import BackupStore
from squizzle.backups.wal.archive import WalArchive
from squizzle.backups.wal.check import check_cluster
from squizzle.errors import InvalidInputError
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import ClientPrograms
from squizzle.recovery.beside import RestoreOrder, refuse_another_database, restore_database
from squizzle.recovery.fence import control_session
from squizzle.recovery.means import system_identifier
from squizzle.recovery.point_in_time.choosing import choose_copy, known_point, point_of_mark, refuse_unfit_copy
from squizzle.recovery.point_in_time.keeping import keep_tables
from squizzle.recovery.point_in_time.reach import lineage_of, own_end, reach_of, refuse_out_of_reach
from squizzle.recovery.point_in_time.records import Point, PointRestored
from squizzle.recovery.point_in_time.recovering import RecoveredCluster, Route, recovered_to, runtime_for
from squizzle.recovery.recovery_target import RecoveryTarget
from squizzle.recovery.switch_over import refuse_prepared

_DUMP_FOLDER = "dump"
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class PointOrder:
    """What is to be recovered to which point, and where to.

    Attributes:
        access: The server that it is brought over to, and the account.
        target: The database, by the name that it had at the point, and who it must be.
        store: Where the copies and the marks lie.
        archive: The archived log; it is only read.
        into: The new database's name.
        programs: Client programs that fit the server.
        asked: The point; None where `backup` is a mark.
        backup: The copy to begin with, or a mark to recover to; None for the newest copy that ends before the point.
        tables: Only these get their rows, as `schema.table`; none for the whole database.
        timeline: `current`, that of the copy, `latest`, or a number.
        ignore_space: Begin though there may be no room.
    """

    access: ServerAccess
    target: Target
    store: BackupStore
    archive: WalArchive
    into: str
    programs: ClientPrograms
    asked: RecoveryTarget | None
    backup: Backup | None = None
    tables: tuple[str, ...] = ()
    timeline: str = "current"
    ignore_space: bool = False


def find_route(order: PointOrder) -> Route:
    """Choose the copy and see that the archived log reaches from it to the point. Nothing is made.

    Raises:
        InvalidInputError: No copy fits, the one that was named does not, or the log ends before the point.
        BackupDamagedError: A segment on the way is missing; the message names it.
        CouldNotVerifyError: There are no server programs of the copy's version here.
        RefusedError: The mark is one of another cluster than the copy.
    """
    entries = read_catalogue(order.store)
    point = _point(order, [one.backup for one in entries if one.backup is not None])
    if order.backup is None or order.backup.kind is BackupKind.MARK:
        with control_session(order.access, purpose="point in time") as control:
            identifier = point.mark.system_identifier if point.mark else system_identifier(control)
        backup = order.store.read(choose_copy(entries, point, system_identifier=identifier).id)
    else:
        backup = order.backup
        refuse_unfit_copy(backup, point)
    runtime_for(backup)
    _refuse_older_programs(order, backup)
    found = check_cluster(order.archive, backup.system_identifier)
    timeline = _timeline(order, backup, point)
    reach = reach_of(found, backup, lineage_of(found, backup, timeline))
    refuse_out_of_reach(reach, backup, point, archive=order.archive.address)
    return Route(
        store=order.store,
        backup=backup,
        archive=order.archive,
        point=point,
        timeline=timeline,
        segment_bytes=found.segment_bytes,
        own_end=own_end(backup),
        last_segment=reach.last,
        ignore_space=order.ignore_space,
    )


def _point(order: PointOrder, backups: list[Backup]) -> Point:
    if order.asked is not None:
        return known_point(order.asked, backups)
    if order.backup is None:
        raise InvalidInputError("no point was named", hint="name one: --to-name, --to-lsn or --to-time")
    return point_of_mark(order.backup)


def _timeline(order: PointOrder, backup: Backup, point: Point) -> str:
    """That of the copy, unless the mark lies on a later one, or somebody says otherwise."""
    mark = point.mark
    if order.timeline == "current" and mark is not None and mark.timeline not in {None, backup.timeline}:
        return str(mark.timeline)
    return order.timeline


def _refuse_older_programs(order: PointOrder, backup: Backup) -> None:
    major = backup.server_version // 10000
    if order.programs.major < major:
        raise InvalidInputError(
            f"backup {backup.id} is of PostgreSQL {major}, but {order.access.where} needs client programs of an older"
            f" one ({order.programs.version}), and rows do not go back to an older server",
            hint=f"name a server of PostgreSQL {major} or newer",
        )


def restore_to_point(
    order: PointOrder, route: Route, *, keep_closed: bool = False, say: Say = lambda _text: None
) -> PointRestored:
    """Bring a database as it was at a point over to the server, beside the others, and compare it row by row.

    A scratch cluster is recovered to the point, the database is dumped from it with its fingerprints, and the dump is
    restored and compared as every backup is. The scratch cluster and the dump are removed; what a killed run left, the
    next one removes. The damaged database, the copy and the archive are not touched.

    Args:
        order: What, where to.
        route: From where (`find_route`).
        keep_closed: Nobody is let in, and the mark of a restore stays: it is going to be swapped in.
        say: Told what is done, and every few seconds how far it is.

    Returns:
        What was reached, and the comparison. When it `is_equal`, the database is open, with its owner, privileges,
        settings and comment. When it is not, nobody is let in, and the next restore under this name replaces it.

    Raises:
        InvalidInputError: There is no room, no such database or table at that point. Nothing was restored.
        IdentityMismatchError: `keep_closed`, and what was recovered is not the database that it is to replace.
        RecoveryError: The point was not reached, or there is a database of the new name. Nothing was restored.
        BackupDamagedError, EmbeddedServerError: See `recovered_to`. Nothing was restored.
        ToolError, DatabaseError: It failed; what was restored until then was dropped, or is replaced by the next one.
    """
    target = order.target
    if keep_closed:
        # Said now, and not when a recovery of hours is to be swapped in.
        with control_session(order.access, purpose="point in time") as control:
            refuse_prepared(control, (target.database,))
    with recovered_to(route, target.database, schema=target.schema, say=say) as recovered:
        arrival = recovered.arrival
        say(f"arrived: {arrival.said}")
        for one in arrival.prepared:
            say(f"note: not ended at that point, so what it did is not there: {one}")
        if order.tables:
            with connect(recovered.access, target.database, purpose="point in time") as connection:
                keep_tables(connection, order.tables)
        dump = _dump(order, recovered, say)
        restoring = restore_order(order, dump, recovered.cluster.layout.folder)
        if keep_closed:
            refuse_another_database(restoring, target)
        say(f"restoring {dump.rows:,} rows into {order.into}")
        comparison = restore_database(restoring, keep_closed=keep_closed)
    return PointRestored(
        database=order.into,
        backup=route.backup,
        arrival=arrival,
        comparison=comparison,
        tables=order.tables,
        rows=dump.rows,
        dump=dump,
    )


def restore_order(order: PointOrder, backup: Backup, folder: Path) -> RestoreOrder:
    """The order to restore a dump of the scratch cluster."""
    return RestoreOrder(
        access=order.access,
        store=FolderStore(folder / _DUMP_FOLDER),
        backup=backup,
        into=order.into,
        programs=order.programs,
    )


def _dump(order: PointOrder, recovered: RecoveredCluster, say: Say) -> Backup:
    """Dump the database beside the scratch cluster's data, so that it goes away with it."""
    database = order.target.database
    place = recovered.cluster.layout.folder
    with connect(recovered.access, database, purpose="point in time", read_only=True) as connection:
        size = source_size(connection, BackupKind.FULL)
    free = shutil.disk_usage(place).free
    if not order.ignore_space and free < size * MARGIN:
        raise InvalidInputError(
            f"the dump of {database} may need {size_words(size)}, with a fifth more {size_words(size * MARGIN)}, but"
            f" {size_words(free)} are free in {place}",
            hint="free space there, set TMPDIR to a folder with room, or say why with --ignore-space REASON",
        )
    say(f"dumping {database} ({size_words(size)}) from the recovered cluster")
    return take_dump(
        recovered.access,
        database,
        FolderStore(place / _DUMP_FOLDER),
        order.programs,
        backup_id=new_backup_id(database, now=datetime.now(UTC), suffix=secrets.token_hex(3)),
        options=DumpOptions(schema=order.target.schema, details={SIZE_DETAIL: str(size)}),
    )
