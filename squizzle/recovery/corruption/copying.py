"""A copy of a damaged cluster that runs where it can do no harm, and is all that an examination ever touches."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import psycopg

from squizzle.backups.space import MARGIN
from squizzle.errors import (
    ConnectionFailedError,
    CouldNotVerifyError,
    EmbeddedServerError,
    InvalidInputError,
    SquizzleError,
    ToolError,
)
from squizzle.headway import stretch
from squizzle.postgres.access import CONTROL_DATABASE, Connection, ServerAccess, connect
from squizzle.postgres.client_run import run_client
from squizzle.postgres.embedded import Cluster, Runtime, sweep_abandoned
from squizzle.postgres.embedded.server import running_server
from squizzle.postgres.embedded.settings import render_settings
from squizzle.postgres.programs import ClientPrograms, find_programs
from squizzle.postgres.scratch_server import runtime_of
from squizzle.postgres.translation import translate_error
from squizzle.recovery.cluster_files import HARMLESS, PATIENCE, configure, settings_of_source
from squizzle.recovery.growing import growing_folder

PREFIX = "damaged-"
_TIMEOUT = timedelta(hours=24)
_COMES_BACK = timedelta(minutes=10)
_POLL_S = 0.1
# A server that begins anew has no address until it is back.
_NOT_NOW = (ConnectionFailedError, EmbeddedServerError)
# Said in every session and program, where it wins over what ALTER DATABASE and ALTER ROLE of the copy say.
_OPTIONS = (
    "-c zero_damaged_pages=off -c ignore_checksum_failure={ignore} -c default_transaction_read_only=off"
    " -c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 -c search_path=pg_catalog"
    " -c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=3 -c bytea_output=hex"
    # A parallel or sequential scan would read pages that nobody asked for.
    " -c max_parallel_workers_per_gather=0 -c enable_seqscan=off -c enable_bitmapscan=off"
)
_LEFT_OUT = frozenset({"postmaster.pid", "postmaster.opts", "pg_internal.init"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """What is copied.

    Attributes:
        access: The running server; where the server does not run, the account that the copy is read by.
        database: The database whose rows matter.
        data_folder: The data folder of a server that does not run; None to copy the running one.
        programs: Folder of client programs that the user named.
    """

    access: ServerAccess
    database: str
    data_folder: Path | None = None
    programs: Path | None = None

    @property
    def words(self) -> str:
        """What a report calls it."""
        return f"the data folder {self.data_folder}" if self.data_folder else f"the server {self.access.where}"


class DamagedCopy:
    """The copy, stopped or running.

    Args:
        cluster: Its server and its folder.
        user: The superuser in it; found out at the first start where it is not known.
        programs: Client programs of its version.
    """

    def __init__(self, cluster: Cluster, user: str, programs: ClientPrograms) -> None:
        self.cluster = cluster
        self.user = user
        self.programs = programs

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self.cluster.layout.data

    @property
    def runtime(self) -> Runtime:
        """The programs it runs with."""
        return self.cluster.runtime

    def start(self) -> None:
        """Start it, through the recovery that a crash would need.

        Raises:
            CouldNotVerifyError: It does not start; the end of its log is in the message.
        """
        try:
            self.cluster.start(guarded=True, patience=PATIENCE)
        except EmbeddedServerError as exc:
            raise CouldNotVerifyError(
                f"the copy does not start, so nothing in it can be read by a server: {exc.message}",
                hint="restore the cluster from a backup, and keep this one; what can be told from its files is in the"
                " evidence folder",
            ) from exc

    def stop(self) -> None:
        """Stop it cleanly: what it holds in memory is on the disk afterwards."""
        self.cluster.stop()

    def access(self, *, ignore: bool = False) -> ServerAccess:
        """How to reach it while it runs.

        Args:
            ignore: Whether pages are read whose checksum is wrong. Such a page stays in the server's memory as a good
                one, so nobody may read rows for certain from then on until it was stopped.
        """
        address = self.cluster.address()
        options = _OPTIONS.format(ignore="on" if ignore else "off")
        return ServerAccess(
            host=str(address.socket_folder), port=address.port, user=self.user, parameters=(("options", options),)
        )

    def plain_access(self) -> ServerAccess:
        """The same for client programs, which must read as they always do."""
        return replace(self.access(), parameters=(("options", "-c zero_damaged_pages=off"),))

    def connect(self, database: str, *, ignore: bool = False) -> Connection:
        """A session in it.

        Raises:
            ConnectionFailedError: There is no such database, or its catalogue is damaged.
        """
        return connect(self.access(ignore=ignore), database, purpose="examine")

    def connect_again(self, database: str, *, ignore: bool = False) -> Connection:
        """A session in it, also when a damaged page has just made its server begin anew.

        Raises:
            ConnectionFailedError, EmbeddedServerError: It does not come back, or this database alone lets nobody in.
        """
        deadline = time.monotonic() + _COMES_BACK.total_seconds()
        is_back = False
        while True:
            if running_server(self.data) is None:
                self.start()
            try:
                return self.connect(database, ignore=ignore)
            except _NOT_NOW:
                if is_back or time.monotonic() > deadline:
                    raise
            is_back = self._answers()
            time.sleep(0 if is_back else _POLL_S)

    def _answers(self) -> bool:
        try:
            self.connect(CONTROL_DATABASE).close()
        except _NOT_NOW:
            return False
        return True

    def pages_file(self, file: str) -> Path:
        """Where one of its files is."""
        return self.data / file


@contextmanager
def damaged_copy(
    source: Source, *, keep_at: Path | None = None, say: Callable[[str], None] = lambda _text: None
) -> Iterator[DamagedCopy]:
    """Copy a cluster page by page as it is, for the length of the block. The original is only read.

    Args:
        source: What to copy. For a running server the account must be allowed to replicate.
        keep_at: Where to put the copy as it came, before a server changed anything in it; None to keep none.
        say: Told what happens.

    Yields:
        The copy; it has not been started.

    Raises:
        InvalidInputError: The folder is none of a server that was stopped. Nothing was copied.
        CouldNotVerifyError: There are no server programs of this version on this machine. Nothing was copied.
        ToolError: There is no room, or pg_basebackup failed.
    """
    fill, user, major = _filling_from_folder(source) if source.data_folder else _filling_from_server(source)
    runtime = runtime_of(major)
    sweep_abandoned(runtime, PREFIX)
    programs = find_programs(explicit=source.programs, server_major=major)
    cluster = Cluster(runtime, f"{PREFIX}{os.getpid()}-{secrets.token_hex(3)}")

    def fill_and_disarm(data: Path) -> None:
        say(f"copying {source.words}")
        fill(data, programs)
        if keep_at is not None:
            say(f"keeping the copy as it came in {keep_at}")
            _copy_tree(data, keep_at)
        _make_harmless(runtime, data)

    try:
        cluster.restore(fill_and_disarm)
        yield DamagedCopy(cluster, user, programs)
    finally:
        cluster.destroy()


def _make_harmless(runtime: Runtime, data: Path) -> None:
    settings = {**HARMLESS, **settings_of_source(runtime, data), "fsync": "off", "autovacuum": "off"}
    configure(data, render_settings(settings))
    # As after a crash: to the end of the log that it holds, whatever that is.
    (data / "recovery.signal").unlink()


_Fill = Callable[[Path, ClientPrograms], None]

_CLUSTER = """
    SELECT (SELECT rolname FROM pg_roles WHERE oid = 10),
           (SELECT sum(pg_tablespace_size(oid))::bigint FROM pg_tablespace)
"""


def _filling_from_server(source: Source) -> tuple[_Fill, str, int]:
    with connect(source.access, source.database, purpose="examine", read_only=True) as connection:
        major = connection.info.server_version // 10000
        try:
            user, size = connection.execute(_CLUSTER).fetchone() or ("postgres", 0)
            spaces = connection.execute(
                "SELECT pg_tablespace_location(oid), oid::text FROM pg_tablespace WHERE oid >= 16384"
            ).fetchall()
        except psycopg.Error as exc:
            raise translate_error(exc, doing="read how big the cluster is", needs="pg_read_all_stats") from exc

    def fill(data: Path, programs: ClientPrograms) -> None:
        _refuse_full_disk(data, int(size))
        places = {location: data.with_name(f"{data.name}.{oid}") for location, oid in spaces}
        mapped = [f"--tablespace-mapping={_escaped(one)}={_escaped(str(place))}" for one, place in places.items()]
        try:
            _run_basebackup(source, programs, data, mapped, size=int(size))
            for link in (data / "pg_tblspc").iterdir():
                place = link.readlink()
                link.unlink()
                place.rename(link)
        except ToolError as exc:
            exc.hint = _hint_for(exc.stderr_tail) or exc.hint
            raise
        finally:
            for place in places.values():
                shutil.rmtree(place, ignore_errors=True)

    return fill, str(user), major


def _run_basebackup(source: Source, programs: ClientPrograms, data: Path, mapped: list[str], *, size: int) -> None:
    with growing_folder(f"copying {source.words}", data, expected_bytes=size) as look:
        run_client(
            programs.path("pg_basebackup"),
            [
                f"--pgdata={data}",
                "--format=plain",
                "--wal-method=stream",
                "--checkpoint=fast",
                # The damaged pages are what it is about.
                "--no-verify-checksums",
                "--no-manifest",
                "--no-sync",
                "--no-password",
                "--label=squizzle",
                *mapped,
            ],
            access=source.access,
            database=source.database,
            doing=f"copy the damaged cluster of {source.database}",
            timeout=_TIMEOUT,
            on_wait=look,
        )


def _escaped(location: str) -> str:
    return location.replace("=", "\\=")


def _hint_for(tail: str) -> str:
    if "pg_hba.conf" in tail or "must be superuser or replication role" in tail:
        return "the account needs REPLICATION, and pg_hba.conf a line for replication connections"
    if "max_wal_senders" in tail or "wal_level" in tail:
        return (
            "this server makes no copies of itself (max_wal_senders): stop it, and examine its data folder with --data"
        )
    if "could not read file" in tail or "Input/output error" in tail:
        return (
            "the disk itself cannot be read: stop the server, copy its data folder with a program that goes on after"
            " an error (ddrescue), and examine that copy with --data"
        )
    return ""


def _filling_from_folder(source: Source) -> tuple[_Fill, str, int]:
    folder = source.data_folder
    if folder is None:
        raise AssertionError("no folder was named")
    try:
        major = int((folder / "PG_VERSION").read_text(encoding="utf-8").split(".")[0])
    except (OSError, ValueError) as exc:
        raise InvalidInputError(
            f"{folder} is no data folder that can be read here: {exc}", hint="name the folder with PG_VERSION in it"
        ) from exc
    if running_server(folder.resolve()) is not None:
        raise InvalidInputError(
            f"a server runs on {folder}: its files change while they are read",
            hint="copy the running server instead (without a folder), or stop it first",
        )

    def fill(data: Path, _programs: ClientPrograms) -> None:
        _refuse_full_disk(data, sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))
        with stretch(f"copying {folder}"):
            _copy_tree(folder, data)

    return fill, source.access.user or "postgres", major


def _copy_tree(folder: Path, into: Path) -> None:
    """Links are followed: those of tablespaces and of the log lead out of the folder, into the original."""
    try:
        shutil.copytree(
            folder, into, symlinks=False, dirs_exist_ok=True, ignore=lambda _place, names: _LEFT_OUT & set(names)
        )
    except (OSError, shutil.Error) as exc:
        raise ToolError(
            f"{folder} could not be copied to {into}: {exc}",
            hint="free space there, or copy it with a program that goes on after an error (ddrescue), then run again",
        ) from exc


def _refuse_full_disk(data: Path, size: int) -> None:
    free = shutil.disk_usage(data).free
    if free < size * MARGIN:
        raise ToolError(
            f"the copy needs {size * MARGIN:,.0f} bytes and {data.parent} has {free:,}; nothing was copied",
            hint="set TMPDIR to a folder with room for the whole cluster",
        )


def superuser_of(copy: DamagedCopy, database: str) -> None:
    """Make sure that the account may do everything in the copy, whose superuser nobody may know.

    Raises:
        CouldNotVerifyError: It may not.
    """
    try:
        with copy.connect(CONTROL_DATABASE) as connection:
            row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    except SquizzleError as exc:
        raise CouldNotVerifyError(
            f"the copy lets nobody in: {exc.message}",
            hint=f"name the cluster's superuser in the connection to {database}; if its catalogue is damaged, restore"
            " the cluster from a backup",
        ) from exc
    if row != (True,):
        raise CouldNotVerifyError(
            f"{copy.user} is no superuser of the copied cluster", hint="name its superuser in the connection"
        )
