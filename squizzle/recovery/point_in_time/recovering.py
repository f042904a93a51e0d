"""A copy of a cluster, recovered to a point on a second, harmless cluster that goes away again."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from squizzle.backups.physical.take import USER_DETAIL
from squizzle.backups.records import Backup
from squizzle.backups.source import read_source
from squizzle.backups.store import BackupStore
from squizzle.backups.wal.archive import WalArchive
from squizzle.errors import CouldNotVerifyError, InvalidInputError, RecoveryError
from squizzle.numbers import number_of
from squizzle.postgres.access import CONTROL_DATABASE, Connection, ServerAccess, connect
from squizzle.postgres.embedded import Cluster, Runtime, sweep_abandoned
from squizzle.postgres.embedded.settings import render_settings
from squizzle.postgres.scratch_server import runtime_of
from squizzle.postgres.translation import translate_error
from squizzle.recovery.cluster_files import HARMLESS, assemble, configure, settings_of_source
from squizzle.recovery.cluster_folder import refuse_without_room
from squizzle.recovery.point_in_time.arriving import Replay, Stop
from squizzle.recovery.point_in_time.feeding import AHEAD, RESTORE_COMMAND, LogSource, feeding
from squizzle.recovery.point_in_time.records import Arrival, Point

PREFIX = "point-"
# What is being fetched, what waits, and what the server holds at once.
_SEGMENTS = AHEAD + 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """How a point is reached.

    Attributes:
        store: Where the copy lies.
        backup: The copy of the cluster.
        archive: The archive of its log; it is only read.
        point: Where to.
        timeline: `current`, that of the copy, `latest`, or a number.
        segment_bytes: How long a segment of the log is.
        own_end: Up to where the copy has the log itself, in bytes.
        last_segment: The last archived segment that is reached without a gap; empty for none.
        ignore_space: Begin though there may be no room.
    """

    store: BackupStore
    backup: Backup
    archive: WalArchive
    point: Point
    timeline: str
    segment_bytes: int
    own_end: int
    last_segment: str = ""
    ignore_space: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RecoveredCluster:
    """A cluster as it was at a point; nobody but us reaches it.

    Attributes:
        access: How to reach it, as the superuser that initdb made.
        cluster: The server and its folder; what is put into the folder goes away with it.
        arrival: Where the recovery stopped.
    """

    access: ServerAccess
    cluster: Cluster
    arrival: Arrival


@contextmanager
def recovered_to(
    route: Route, database: str, *, schema: str, say: Callable[[str], None] = lambda _text: None
) -> Iterator[RecoveredCluster]:
    """The cluster of a copy, recovered to a point, for the length of the block; what a killed run left goes first.

    Args:
        route: From where to where.
        database: It must be in there.
        schema: Where its migration history is.
        say: Told every few seconds how far the recovery is.

    Raises:
        CouldNotVerifyError: There are no server programs of the copy's major version on this machine. Nothing was made.
        InvalidInputError: There is no room here, or no such database at that point.
        BackupDamagedError: A member of the copy or a segment of the log is missing or damaged; the message names it.
        RecoveryError: The point is not in the log, or what was reached is not the point. The scratch cluster is gone.
        EmbeddedServerError: The server ended for another reason; the end of its log is in the message.
    """
    backup = route.backup
    runtime = runtime_for(backup)
    sweep_abandoned(runtime, PREFIX)
    if not route.ignore_space:
        refuse_without_room(runtime, backup, runtime.base, more=_SEGMENTS * route.segment_bytes)
    cluster = Cluster(runtime, f"{PREFIX}{os.getpid()}-{secrets.token_hex(3)}")
    source = LogSource(
        archive=route.archive,
        system_identifier=backup.system_identifier,
        segment_bytes=route.segment_bytes,
        own_end=route.own_end,
    )
    try:
        say(f"checking and putting together {number_of(len(backup.chain) + 1, 'copy', 'copies')} of the cluster")
        cluster.restore(lambda data: _fill(runtime, route, data))
        with feeding(runtime, cluster.layout, source) as feeder:
            user = backup.details.get(USER_DETAIL, "postgres")
            replay = Replay(cluster, feeder, route.point, user=user, last_segment=route.last_segment, say=say)
            replay.start()
            stop = replay.run_to_point()
            replay.go_into_service()
        arrival = _look(replay.access, database, schema, route.point, stop)
        yield RecoveredCluster(access=replay.access, cluster=cluster, arrival=arrival)
    finally:
        cluster.destroy()


def runtime_for(backup: Backup) -> Runtime:
    """The server programs that a copy needs.

    Raises:
        CouldNotVerifyError: They are not on this machine.
    """
    major = backup.server_version // 10000
    try:
        return runtime_of(major)
    except CouldNotVerifyError as exc:
        raise CouldNotVerifyError(
            f"backup {backup.id} is of PostgreSQL {major}, whose server programs it needs on this machine to be"
            f" recovered to a point: {exc.message}",
            hint=f"install the server of PostgreSQL {major} here, or run this on a machine that has it",
        ) from exc


def _fill(runtime: Runtime, route: Route, data: Path) -> None:
    assemble(runtime, route.store, route.backup, data)
    settings = {
        **HARMLESS,
        **settings_of_source(runtime, data),
        **route.point.target.settings(),
        "recovery_target_timeline": route.timeline,
        "restore_command": RESTORE_COMMAND,
        "hot_standby": "on",  # it is asked where it is before it goes into service
        "recovery_target_action": "pause",
        "fsync": "off",  # it goes away again
    }
    configure(data, render_settings(settings))


_DATABASES = "SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1"
_PREPARED = """
    SELECT gid, database, format('%s in %s, prepared %s by %s', gid, database, prepared, owner) FROM pg_prepared_xacts
    ORDER BY prepared
"""


def _look(access: ServerAccess, database: str, schema: str, point: Point, stop: Stop) -> Arrival:
    """See that the database is there, and the one that the mark was made in."""
    try:
        with connect(access, CONTROL_DATABASE, purpose="point in time", read_only=True) as control:
            there = [name for (name,) in control.execute(_DATABASES)]
            prepared = control.execute(_PREPARED).fetchall()
        if database not in there:
            raise InvalidInputError(
                f"there was no database {database} at {point.words}, but {', '.join(there)}",
                hint="--env or --url names the database that is recovered: give it the name that it had then",
            )
        with connect(access, database, purpose="point in time") as connection:
            for gid in (gid for gid, where, _text in prepared if where == database):
                # Nobody decides it here, and its locks would keep a dump waiting.
                connection.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(gid)))
            version = _migration_version(connection, schema, point)
    except psycopg.Error as exc:
        raise translate_error(exc, doing="look at the recovered cluster") from exc
    texts = tuple(text for _gid, _where, text in prepared)
    return Arrival(lsn=stop.lsn, at=stop.at, said=stop.said, prepared=texts, migration_version=version)


def _migration_version(connection: Connection, schema: str, point: Point) -> str | None:
    """The version that is applied; compared with the mark's where the mark is one of this database."""
    found = read_source(connection, schema)
    mark = point.mark
    if mark is None or mark.database != connection.info.dbname:
        return found.migration_version
    wanted = (mark.identity_id, mark.migration_version)
    if (found.identity_id, found.migration_version) != wanted:
        raise RecoveryError(
            f"at {point.words} the database {mark.database} has the identity {found.identity_id or 'none'} and version"
            f" {found.migration_version or 'none'}, but its mark {mark.id} says {wanted[0] or 'none'} and"
            f" {wanted[1] or 'none'}; nothing was restored",
            hint="name another copy and another point; the mark or the log may be of another cluster",
        )
    return found.migration_version
