"""A server that archives with our own program, and a base backup of it with what happened afterwards."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
import psycopg
import pytest

from squizzle.backups.wal.restore_point import RestorePoint, make_restore_point
from squizzle.errors import ConnectionFailedError, EmbeddedServerError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import Cluster, ClusterStatus, Runtime, drill_settings, find_runtime
from squizzle.postgres.embedded.settings import render_settings
from tests.integration.conftest import SERVERS, SYSTEM_FOLDERS, access_to
from tests.support.processes import wait_until

PROGRAM = "from squizzle.cli.main import main; main()"


def our_program(runtime: Runtime, root: Path) -> str:
    """Squizzle as the server's account can start it: that account may not enter the home that our Python lies in."""
    packages = Path(click.__file__).parents[1]
    for python in (Path(sys.executable).resolve(), Path("/usr/bin/python3")):
        command = ["/usr/bin/env", f"PYTHONPATH={root}:{packages}", str(python), "-PBc", PROGRAM]
        try:
            runtime.run([*command, "archive-wal", "--help"])
        except EmbeddedServerError:
            continue
        return shlex.join(command)
    pytest.skip("the account of the embedded server can start no Python 3.11 or newer")


def is_promoted(session: Connection) -> bool:
    return session.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A server that archives, and what is known of it."""

    runtime: Runtime
    cluster: Cluster
    access: ServerAccess
    program: str
    store: Path
    base: Path
    segment_bytes: int
    segments: dict[str, str] = field(default_factory=dict)

    def archived(self) -> list[str]:
        place = next((self.store / "wal").iterdir())
        return sorted(path.name for path in place.iterdir() if path.is_file())

    def switch_and_wait(self, session: Connection) -> str:
        """End the segment; returns its name when it is archived."""
        found = session.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
        assert found is not None
        name = str(found[0])
        wait_until(lambda: f"{name}.sha256" in self.archived(), f"{name} is archived")
        return name

    @contextmanager
    def recovered(
        self,
        store: Path,
        *,
        target: str | None,
        command: str | None = None,
        timeline: str = "current",
        tail: Path | None = None,
    ) -> Iterator[Connection]:
        """The base backup, recovered from an archive and promoted; the tail is put in as the log's last segment."""
        cluster = Cluster(self.runtime, f"wal-{os.getpid()}-{secrets.token_hex(3)}")
        restore_command = command or f"{self.program} fetch-wal %f %p --store {store}"
        settings = {
            "archive_mode": "off",
            "restore_command": restore_command,
            "recovery_target_timeline": timeline,
            "fsync": "off",
        }
        if target:
            settings |= {"recovery_target_name": target, "recovery_target_action": "promote"}

        def fill(data: Path) -> None:
            shutil.copytree(self.base, data, dirs_exist_ok=True)
            (data / "postgresql.conf").write_text(render_settings(settings))
            (data / "recovery.signal").touch(mode=0o600)
            if tail is not None:
                shutil.copy(tail, data / "pg_wal" / tail.name.removesuffix(".partial"))

        try:
            cluster.restore(fill)
            address = cluster.start(guarded=True)
            try:
                with connect(access_to(address), "postgres", purpose="test") as session:
                    wait_until(lambda: is_promoted(session), "it is promoted")
            except (psycopg.OperationalError, ConnectionFailedError):
                wait_until(lambda: cluster.status() is not ClusterStatus.RUNNING, "it has ended")
                raise EmbeddedServerError(cluster.layout.log.read_text()) from None
            with connect(access_to(address), "postgres", purpose="test") as session:
                yield session
        finally:
            cluster.destroy()


@pytest.fixture(scope="module", params=SERVERS)
def lab(request: pytest.FixtureRequest, project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A server of each kind; the embedded one with segments of one megabyte, the system's with the usual ones."""
    runtime = find_runtime(bin_folder=SYSTEM_FOLDERS[-1] if request.param == "system" else None)
    program = our_program(runtime, project_root)
    cluster = Cluster(runtime, f"wal-{os.getpid()}-{secrets.token_hex(3)}")
    store = cluster.layout.archive
    settings = drill_settings(runtime.major, throwaway=True)
    settings |= {"archive_command": f"{program} archive-wal %p %f --store {store}", "min_wal_size": "64MB"}
    try:
        cluster.create(settings)
        if request.param == "embedded":
            runtime.run([runtime.bin_folder / "pg_resetwal", "--wal-segsize=1", "-D", cluster.layout.data])
        address = cluster.start(guarded=True)
        base = tmp_path_factory.mktemp("base") / "data"
        with connect(access_to(address), "postgres", purpose="test") as session:
            session.execute("CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n")
        copy = [runtime.bin_folder / "pg_basebackup", "-D", base, "--wal-method=none", "--checkpoint=fast", "--no-sync"]
        to = ["-h", address.socket_folder, "-p", str(address.port), "-U", address.user]
        subprocess.run([*copy, *to], check=True, capture_output=True, timeout=60)
        yield Lab(
            runtime=runtime,
            cluster=cluster,
            access=access_to(address),
            program=program,
            store=store,
            base=base,
            segment_bytes=(1 if request.param == "embedded" else 16) << 20,
        )
    finally:
        cluster.destroy()


@pytest.fixture(scope="module")
def steps(lab: Lab, mark: RestorePoint) -> dict[str, str]:
    """A thousand rows more in each of three segments, a mark between the second and the third; segments by step."""
    assert mark.segment in lab.segments.values()
    return lab.segments


@pytest.fixture(scope="module")
def mark(lab: Lab) -> RestorePoint:
    """The mark behind the second thousand rows."""
    point = None
    with connect(lab.access, "postgres", purpose="test") as session:
        for step in ("first", "second", "third"):
            session.execute("INSERT INTO t SELECT n FROM generate_series(1, 1000) n")
            if step == "second":
                point = make_restore_point(session, "after-second", suffix="a1b2c3")
            lab.segments[step] = lab.switch_and_wait(session)
    assert point is not None
    return point


@pytest.fixture
def copy_of_store(lab: Lab) -> Iterator[Callable[[], Path]]:
    """A copy of the archive to damage, readable for the server's account."""
    place = lab.store.with_name("copy")

    def make() -> Path:
        shutil.copytree(lab.store, place)
        for path in (place, *place.rglob("*")):
            lab.runtime.hand_over(path)
        return place

    yield make
    shutil.rmtree(place, ignore_errors=True)
