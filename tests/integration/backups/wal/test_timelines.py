"""A standby is promoted while its log is received, and the old primary goes on: one archive, two timelines."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.wal.archive import FolderArchive
from squizzle.backups.wal.check import check_cluster, useless_copies
from squizzle.backups.wal.names import lsn_number, segment_name
from squizzle.backups.wal.receiver import Receiving
from squizzle.backups.wal.transfer import archive_wal
from squizzle.errors import RefusedError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import Cluster, Runtime, drill_settings, find_runtime
from squizzle.postgres.embedded.settings import render_settings
from tests.integration.backups.wal.conftest import Lab, is_promoted
from tests.integration.conftest import access_to
from tests.support.processes import wait_until
from tests.support.receiving import receive_to_its_end, receiving

MB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Switched:
    """What was left behind.

    Attributes:
        lab: The old primary, which still runs, and a copy from the beginning.
        archive: What was received, first from the primary, then from the standby, which was promoted meanwhile.
        system: The cluster.
        fork: Number of the segment that the standby was promoted in.
        tail: What was received after the last whole segment.
        order: What was received from the old primary.
    """

    lab: Lab
    archive: FolderArchive
    system: str
    fork: int
    tail: Path
    order: Receiving


def one(session: Connection, query: str) -> str:
    row = session.execute(query.encode()).fetchone()
    assert row is not None
    return str(row[0])


def fill(session: Connection, value: int) -> None:
    session.execute("INSERT INTO t SELECT %s FROM generate_series(1, 100)", (value,))


def finish_segment(session: Connection) -> str:
    return one(session, "SELECT pg_walfile_name(pg_switch_wal())")


def arrives(archive: FolderArchive, system: str, name: str) -> None:
    wait_until(lambda: len(archive.files(system, name)) == 2, f"{name} is archived")


def server(runtime: Runtime, stack: ExitStack, name: str) -> Cluster:
    cluster = Cluster(runtime, f"{name}-{os.getpid()}-{secrets.token_hex(3)}")
    stack.callback(cluster.destroy)
    return cluster


@pytest.fixture(scope="module")
def switched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switched]:
    runtime = find_runtime()
    folder = tmp_path_factory.mktemp("switched")
    archive = FolderArchive(folder / "store")
    settings = drill_settings(runtime.major, throwaway=True)
    settings |= {"archive_mode": "off", "max_slot_wal_keep_size": "64MB", "wal_keep_size": "64MB"}
    with ExitStack() as stack:
        cluster = server(runtime, stack, "old")
        cluster.create(settings)
        runtime.run([runtime.bin_folder / "pg_resetwal", "--wal-segsize=1", "-D", cluster.layout.data])
        access = access_to(address := cluster.start(guarded=True))
        old = stack.enter_context(connect(access, "postgres", purpose="test"))
        old.execute("CREATE TABLE t (n int)")
        system = one(old, "SELECT system_identifier FROM pg_control_system()")
        order = Receiving(access=access, database="postgres", folder=folder / "received", slot="r", create_slot=True)
        base = folder / "base"
        with receiving(order, archive):
            wait_until(lambda: one(old, "SELECT count(*) FROM pg_replication_slots WHERE active") == "1", "it receives")
            to = ["-h", address.socket_folder, "-p", str(address.port), "-U", address.user, "-D", base]
            copy = [runtime.bin_folder / "pg_basebackup", "--wal-method=none", "--checkpoint=fast", "--no-sync", *to]
            subprocess.run(copy, check=True, capture_output=True, timeout=60)
            fill(old, 1)
            arrives(archive, system, finish_segment(old))

        def as_standby(data: Path) -> None:
            shutil.copytree(base, data, dirs_exist_ok=True)
            to = f"host={address.socket_folder} port={address.port} user={address.user}"
            (data / "postgresql.conf").write_text(render_settings({**settings, "primary_conninfo": to}))
            (data / "standby.signal").touch(mode=0o600)

        standby = server(runtime, stack, "new")
        standby.restore(as_standby)
        new_access = access_to(standby.start(guarded=True))
        new = stack.enter_context(connect(new_access, "postgres", purpose="test"))
        with receiving(replace(order, access=new_access), archive):
            wait_until(lambda: one(new, "SELECT count(*) FROM pg_replication_slots WHERE active") == "1", "it receives")
            fill(old, 2)
            arrives(archive, system, finish_segment(old))
            fill(old, 3)
            position = one(old, "SELECT pg_current_wal_insert_lsn()")
            wait_until(lambda: one(new, f"SELECT pg_last_wal_replay_lsn() >= '{position}'") == "True", "it is replayed")
            new.execute("SELECT pg_promote()")
            wait_until(lambda: is_promoted(new), "it is promoted")
            fill(new, 4)
            last = finish_segment(new)
            arrives(archive, system, last)
            fill(new, 5)
            end = lsn_number(one(new, "SELECT pg_current_wal_insert_lsn()")) or 0
            slot = "SELECT restart_lsn - '0/0' FROM pg_replication_slots"
            wait_until(lambda: int(one(new, slot)) >= end, "all of it is received")
        (tail,) = (folder / "received" / system).glob("00000002*.partial")
        lab = Lab(
            runtime=runtime, cluster=cluster, access=access, program="", store=folder, base=base, segment_bytes=MB
        )
        yield Switched(
            lab=lab, archive=archive, system=system, fork=(lsn_number(position) or 0) // MB, tail=tail, order=order
        )


@pytest.fixture
def readable(switched: Switched) -> Iterator[Path]:
    """The segments of the archive, where the server's account can read them."""
    place = switched.lab.cluster.layout.archive / "copy"
    shutil.copytree(switched.archive.folder / "wal" / switched.system, place)
    for path in (place, *place.rglob("*")):
        switched.lab.runtime.hand_over(path)
    yield place
    shutil.rmtree(place)


def values(switched: Switched, place: Path, timeline: str, tail: Path | None = None) -> list[int]:
    command = f"cp {place}/%f %p"
    with switched.lab.recovered(place, target=None, command=command, timeline=timeline, tail=tail) as session:
        return [int(n) for (n,) in session.execute("SELECT n FROM t GROUP BY n HAVING count(*) = 100 ORDER BY n")]


def test_a_promotion_is_followed_without_a_gap_and_the_half_segment_of_the_old_timeline_is_kept(
    switched: Switched, backup: Backup, readable: Path
) -> None:
    found = check_cluster(switched.archive, switched.system, read=True)

    first, second = found.timelines
    assert found.problems == ()
    assert first.partial == segment_name(1, switched.fork, MB) + ".partial"
    assert (second.parent, second.runs[0].first) == (1, segment_name(2, switched.fork, MB))
    assert first.runs[0].last == segment_name(1, switched.fork - 1, MB)
    # Recovered along the new timeline; with the half segment of the folder to the last row.
    assert values(switched, readable, "latest") == [1, 2, 3, 4]
    assert values(switched, readable, "latest", switched.tail) == [1, 2, 3, 4, 5]

    # A copy of the cluster whose first segment is not there can be brought to no moment.
    start = int(first.runs[0].first[16:], 16)
    copies = [
        replace(
            backup,
            kind=BackupKind.PHYSICAL,
            system_identifier=switched.system,
            timeline=1,
            lsn=f"0/{at * MB + 40:X}",
            id=f"at-{at}",
        )
        for at in (start - 1, start, switched.fork - 1)
    ]
    (useless,) = useless_copies(found, copies)
    assert useless.startswith(f"{segment_name(1, start - 1, MB)} is missing, so no moment behind the end of backup at-")


def test_an_old_primary_that_goes_on_is_refused_and_what_it_archived_by_itself_is_told(
    switched: Switched, readable: Path, tmp_path: Path
) -> None:
    access: ServerAccess = switched.lab.access
    with connect(access, "postgres", purpose="test") as old:
        fill(old, 6)
        name = finish_segment(old)
        fill(old, 7)
    assert name == segment_name(1, switched.fork, MB)
    with pytest.raises(RefusedError, match=r"this server was replaced: it is on timeline 1 at .*, and timeline 2 of"):
        receive_to_its_end(switched.order, switched.archive)

    store = FolderArchive(tmp_path / "store")
    shutil.copytree(switched.archive.folder, store.folder)  # with its times
    written = switched.lab.cluster.layout.data / "pg_wal" / name
    archive_wal(store, written, name, system_identifier=switched.system)

    (problem,) = check_cluster(store, switched.system, read=True).problems
    assert problem.startswith(f"{name} was stored after timeline 2 had left timeline 1 at ")
    # One number, two timelines: each recovery takes its own.
    shutil.copy(written, readable / name)
    switched.lab.runtime.hand_over(readable / name)
    assert values(switched, readable, "latest") == [1, 2, 3, 4]
    assert values(switched, readable, "current") == [1, 2, 3, 6]
