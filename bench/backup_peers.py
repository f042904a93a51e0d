"""The backup tools that a user would pick instead. Their licence is the GPL: they are run here, never imported."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import peers
from bench.debian import find_program
from squizzle.postgres.access import CONTROL_DATABASE, ServerAccess, connect
from squizzle.postgres.programs import ClientPrograms
from squizzle.processes import GuardedProcess

# `make clean` removes it.
_BARMANS_HOME = Path(__file__).parent.parent / ".squizzle" / "barman"
_BARMAN = ("barman==3.19.1", "psycopg2-binary>=2.9")
_NAME = "bench"
_READY_S = 60.0
_STOP_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupTool:
    """One tool, set up for one server.

    Attributes:
        full: Takes a whole copy; returns bytes in its store.
        increment: Takes what changed since; returns its bytes.
        restore: Brings the last backup back into a new folder; returns its bytes.
    """

    full: Callable[[], int]
    increment: Callable[[], int]
    restore: Callable[[], int]


def size_of(place: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    paths = place.rglob("*") if place.is_dir() else (place,)
    return sum(path.stat().st_size for path in paths if path.is_file() and not path.is_symlink())


# Barman


def find_barman() -> peers.Peer:
    """Barman in an environment of its own, which is made the first time; missing where it cannot be installed."""
    program = _BARMANS_HOME / "bin" / "barman"
    if find_program("rsync", "rsync") is None:
        return peers.Peer(name="Barman (which needs rsync)")
    try:
        if not program.exists():
            peers.run([sys.executable, "-m", "venv", str(_BARMANS_HOME)])
            peers.run([str(_BARMANS_HOME / "bin" / "pip"), "install", "--quiet", *_BARMAN])
        version = peers.run([str(program), "--version"]).split()[0]
        return peers.Peer(name="Barman", version=version, command=(str(program),))
    except (RuntimeError, OSError):
        shutil.rmtree(_BARMANS_HOME, ignore_errors=True)
        return peers.Peer(name="Barman")


@contextmanager
def running_barman(
    barman: peers.Peer, access: ServerAccess, programs: ClientPrograms, folder: Path
) -> Iterator[BackupTool]:
    """Set up as its manual's "streaming backup": pg_basebackup, and pg_receivewal all the time."""
    home = folder / "home"
    home.mkdir(parents=True)
    configuration = folder / "barman.conf"
    configuration.write_text(_barman_conf(access, programs, folder), encoding="utf-8")
    # Beside its own programs it starts `barman` again, and rsync.
    rsync = find_program("rsync", "rsync") or Path()
    path = os.pathsep.join((str(_BARMANS_HOME / "bin"), os.environ.get("PATH", ""), str(rsync.parent)))
    environment = {**os.environ, "PATH": path}
    command = [*barman.command, "--quiet", "--config", str(configuration)]

    def run(*arguments: str) -> None:
        peers.run([*command, *arguments], environment)

    def backup(*options: str) -> int:
        before = size_of(home)
        run("backup", *options, _NAME)
        return size_of(home) - before

    def restore() -> int:
        target = folder / "restored"
        run("restore", _NAME, "latest", str(target))
        return size_of(target)

    try:
        run("receive-wal", "--create-slot", _NAME)
        with (
            (folder / "receiver.log").open("wb") as log,
            GuardedProcess([*command, "receive-wal", _NAME], environment=environment, errors=log) as receiver,
        ):
            _wait_until_receiving(access, receiver)
            _wait_until_content(run)
            yield BackupTool(full=backup, increment=lambda: backup("--incremental", "latest-full"), restore=restore)
    finally:
        _drop_slot(access)


def _barman_conf(access: ServerAccess, programs: ClientPrograms, folder: Path) -> str:
    server = f"host={access.host} port={access.port} user={access.user}"
    return f"""[barman]
barman_user = {os.environ.get("USER") or "root"}
barman_home = {folder / "home"}
barman_lock_directory = {folder}
log_file = {folder / "log"}
[{_NAME}]
description = {_NAME}
conninfo = {server} dbname={CONTROL_DATABASE}
streaming_conninfo = {server}
backup_method = postgres
streaming_archiver = on
immediate_checkpoint = true
slot_name = {_NAME}
path_prefix = {programs.folder}
"""


def _wait_until_receiving(access: ServerAccess, receiver: GuardedProcess) -> None:
    deadline = time.monotonic() + _READY_S
    with closing(connect(access, CONTROL_DATABASE, purpose="bench")) as connection:
        query = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s AND active"
        while connection.execute(query, (_NAME,)).fetchone() != (1,):
            if receiver.wait(0.1) is not None or time.monotonic() > deadline:
                raise RuntimeError("barman receive-wal does not receive")
        # Its check wants to see a whole segment.
        connection.execute("SELECT pg_switch_wal()")


def _wait_until_content(run: Callable[..., None]) -> None:
    """Its check fails until the first segment has come, and was put away."""
    deadline = time.monotonic() + _READY_S
    while True:
        run("archive-wal", _NAME)
        try:
            run("check", _NAME)
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return


def _drop_slot(access: ServerAccess) -> None:
    deadline = time.monotonic() + _STOP_S
    with closing(connect(access, CONTROL_DATABASE, purpose="bench")) as connection:
        while time.monotonic() < deadline:
            connection.execute(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s", (_NAME,)
            )
            connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                " WHERE slot_name = %s AND NOT active",
                (_NAME,),
            )
            query = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s"
            if connection.execute(query, (_NAME,)).fetchone() == (0,):
                return
            time.sleep(0.1)
    raise RuntimeError("barman's slot stays in use")


# pgBackRest


def find_pgbackrest() -> peers.Peer:
    """Debian's package `pgbackrest`."""
    program = find_program("pgbackrest", "pgbackrest")
    if program is None:
        return peers.Peer(name="pgBackRest")
    version = peers.run([str(program), "version"]).split()[-1]
    return peers.Peer(name="pgBackRest", version=version, command=(str(program),))


def set_up_pgbackrest(pgbackrest: peers.Peer, access: ServerAccess, folder: Path) -> BackupTool:
    """Two processes, zstd, and no archive of the log: what it need not do here costs it nothing."""
    with connect(access, CONTROL_DATABASE, purpose="bench") as connection:
        row = connection.execute("SHOW data_directory").fetchone()
    repository = folder / "repository"
    configuration = folder / "pgbackrest.conf"
    configuration.parent.mkdir(parents=True)
    configuration.write_text(
        f"""[global]
repo1-path={repository}
log-path={folder}
lock-path={folder}
spool-path={folder}
compress-type=zst
compress-level=1
process-max=2
start-fast=y
archive-check=n
log-level-console=warn
log-level-file=off
[{_NAME}]
pg1-path={row[0] if row else ""}
pg1-socket-path={access.host}
pg1-port={access.port}
pg1-user={access.user}
""",
        encoding="utf-8",
    )
    command = [*pgbackrest.command, f"--config={configuration}", f"--stanza={_NAME}"]
    # It reads settings from such variables, too.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PGBACKREST_")}

    def backup(kind: str) -> int:
        before = size_of(repository)
        peers.run([*command, f"--type={kind}", "backup"], environment)
        return size_of(repository) - before

    def restore() -> int:
        target = folder / "restored"
        target.mkdir(mode=0o700)
        peers.run([*command, f"--pg1-path={target}", "--type=none", "restore"], environment)
        return size_of(target)

    peers.run([*command, "stanza-create"], environment)
    return BackupTool(full=lambda: backup("full"), increment=lambda: backup("incr"), restore=restore)
