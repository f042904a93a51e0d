"""Servers that a drill makes for itself, beside the one that it is played on: to lose one, to have one archive.

They end with the drill, even when it is killed; what a killed one left is removed by the next.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from psycopg import sql
from pydantic import SecretStr

from blocks import BackupFolder, PostgresDatabase
from squizzle.backups.records import Backup
from squizzle.backups.wal.open_archive import archive_of
from squizzle.backups.wal.restore_point import RestorePoint, await_archived, make_restore_point
from squizzle.drills.outliving import outliving_folder
from squizzle.drills.records import Detector, Notice
from squizzle.errors import ConnectionFailedError, EmbeddedServerError
from squizzle.postgres.access import CONTROL_DATABASE, connect
from squizzle.postgres.embedded import Cluster, Runtime, ServerAddress, drill_settings, find_runtime, throwaway_cluster
from squizzle.postgres.embedded.server import running_server
from squizzle.postgres.own_program import own_program
from squizzle.postgres.scratch_server import runtime_of
from squizzle.recovery.cluster_copy import wait_for_service
from squizzle.recovery.cluster_folder import ArchiveUse, restore_cluster
from squizzle.recovery.fence import control_session
from squizzle.recovery.recovery_target import RecoveryTarget, TargetKind
from tasks.drilling import watch_for
from tasks.scratch import ENVIRONMENT, DrillPlace
from tasks.sources import StoreSource
from tasks.steps import log_line, now, plain_step, step

_ENDS_WITHIN_S = 60.0
_POLL_S = 0.02
# Beside the data folder, which is the current folder of what a server starts; nothing needs quoting, and a data folder
# that is restored elsewhere does not write there.
_STORE = "../archive"
_LEDGER = """
    CREATE TABLE entry AS
    SELECT n AS id, md5(n::text) AS booked, timestamptz '2025-01-01 00:00:00+00' + n * interval '1 minute' AS at
    FROM generate_series(1, 1000) AS n
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnServer:
    """A server for one disaster.

    Attributes:
        address: How to reach it.
        place: The drill's place with its database on this server.
    """

    address: ServerAddress
    place: DrillPlace

    def database(self, name: str) -> PostgresDatabase:
        """Another database of this server."""
        return self.place.database.model_copy(update={"database": name})

    @property
    def maintenance(self) -> PostgresDatabase:
        """The database that every server has."""
        return self.database(CONTROL_DATABASE)


@contextmanager
def server_to_lose(place: DrillPlace) -> Iterator[tuple[OwnServer, BackupFolder]]:
    """A server that can be told from every other one, and the folder elsewhere that its log is archived into.

    Raises:
        CouldNotVerifyError: Its account cannot start our program. Nothing was made.
    """
    runtime = find_runtime()
    with outliving_folder(runtime) as folder:
        settings = _archiving(runtime, str(folder))
        with throwaway_cluster("drill", settings=settings, runtime=runtime, from_template=False) as address:
            yield _own(place, address), BackupFolder(path=folder)


@contextmanager
def server_of_copy(place: DrillPlace, store: BackupFolder, backup: Backup) -> Iterator[OwnServer]:
    """The cluster of a copy and of the log archived behind it, up to the end of that, as a server of its own.

    The folder is made as by `squizzle restore ID --into-folder DIR --to-latest`, and the server started on it.

    Raises:
        BackupDamagedError, EmbeddedServerError, ToolError: It does not come back.
    """
    runtime = runtime_of(backup.server_version // 10000)
    cluster = Cluster(runtime, f"drill-{os.getpid()}-{secrets.token_hex(3)}")
    opened = store.open()
    log = ArchiveUse(
        archive=archive_of(opened), program=own_program(runtime), target=RecoveryTarget(kind=TargetKind.LATEST)
    )

    def fill(data: Path) -> None:
        runtime.hand_over(data)  # its owner is who the server will run as
        restore_cluster(opened, backup, data, log=log)

    try:
        with plain_step("Bring the cluster back by its copy and the log behind it") as tell:
            cluster.restore(fill)
            address = cluster.start(guarded=True)
            wait_for_service(cluster, backup)
            tell(f"from {backup.id} to the end of the archived log")
        yield _own(place, address)
    finally:
        cluster.destroy()


@contextmanager
def empty_server(place: DrillPlace) -> Iterator[OwnServer]:
    """A server that knows nobody, to rebuild a lost one on."""
    runtime = find_runtime()
    settings = drill_settings(runtime.major, throwaway=True) | {"archive_mode": "off"}
    with throwaway_cluster("drill", settings=settings, runtime=runtime) as address:
        yield _own(place, address)


@contextmanager
def archiving_server(place: DrillPlace) -> Iterator[OwnServer]:
    """A server whose log is archived by our own `archive-wal`, into a store of its own that goes with it.

    Raises:
        CouldNotVerifyError: Its account cannot start our program. Nothing was made.
    """
    runtime = find_runtime()
    with throwaway_cluster("drill", settings=_archiving(runtime, _STORE), runtime=runtime) as address:
        yield _own(replace(place, store=BackupFolder(path=address.archive_folder)), address)


def _archiving(runtime: Runtime, store: str) -> dict[str, str]:
    command = f"{own_program(runtime).replace('%', '%%')} archive-wal %p %f --store {store}"
    return drill_settings(runtime.major, throwaway=True) | {"archive_command": command}


def _own(place: DrillPlace, address: ServerAddress) -> OwnServer:
    update = {
        "host": str(address.socket_folder),
        "port": address.port,
        "user": address.user,
        "password": SecretStr(""),
        "environment": ENVIRONMENT,
    }
    return OwnServer(address=address, place=replace(place, database=place.database.model_copy(update=update)))


@step(
    "Disaster: the server is gone, with its data", timeout=timedelta(minutes=5), detail=lambda at: f"at {at:%H:%M:%S}"
)
def lose_server(own: OwnServer) -> datetime:
    """`kill -9` a server that a drill made for this, and take its data away; returns when.

    Raises:
        EmbeddedServerError: It does not end.
    """
    data = own.address.data_folder
    os.kill(own.address.pid, signal.SIGKILL)
    at = now()
    ends = time.monotonic() + _ENDS_WITHIN_S
    while running_server(data) is not None:
        if time.monotonic() > ends:
            raise EmbeddedServerError(
                "the server that was to be lost does not end",
                command="postgres",
                hint="look at load and disk of this machine, then run the same again",
            )
        time.sleep(_POLL_S)
    gone = data.with_name("gone")
    data.rename(gone)
    # Its other processes end by themselves, and may write until then; what they keep goes with the whole folder.
    shutil.rmtree(gone, ignore_errors=True)
    return at


@step("Notice that nobody gets in", timeout=timedelta(minutes=5), detail=lambda found: found.what)
def notice_by_connection(own: OwnServer) -> Notice:
    """Try to get in, as every client and every sweep does.

    Raises:
        RecoveryError: Somebody is let in.
    """

    def look() -> Notice | None:
        try:
            connect(own.place.database.access(), CONTROL_DATABASE, purpose="probe").close()
        except ConnectionFailedError as exc:
            return Notice(by=Detector.CONNECTION, what=exc.message, at=now())
        return None

    return watch_for(look, by=Detector.CONNECTION)


@step(
    "Wait until the log is archived",
    timeout=timedelta(minutes=10),
    detail=lambda point: f"{point.segment} is in the archive, and was fetched back",
)
def await_log(own: OwnServer, store: StoreSource) -> RestorePoint:
    """Close the segment that is being written, and wait until our archive-wal has stored it.

    Raises:
        CouldNotVerifyError: It is not archived in time.
    """
    with control_session(own.place.database.access(), purpose="drill") as control:
        point = make_restore_point(control, "drill", suffix=own.place.run_id)
        return await_archived(control, point, archive_of(store.open()), on_progress=log_line)


@step("Make a second database", timeout=timedelta(minutes=5), detail=lambda rows: f"{rows:,} rows")
def make_ledger(beside: PostgresDatabase, ledger: PostgresDatabase, *, owner: str) -> int:
    """Make a database beside the shop's, with the same owner; returns how many rows it has."""
    name, role = sql.Identifier(ledger.database), sql.Identifier(owner)
    with control_session(beside.access(), purpose="drill") as control:
        control.execute(sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(name, role))
    with connect(ledger.access(), ledger.database, purpose="drill") as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(role))
        return connection.execute(_LEDGER).rowcount
