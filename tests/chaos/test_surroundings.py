"""Disks that are full at any byte, connections that are lost at any byte, logs with holes: told, and nothing half stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from squizzle.backups.dump import DumpOptions
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.order import Order
from squizzle.backups.records import BackupKind
from squizzle.backups.taking import take_backup
from squizzle.backups.wal.archive import FolderArchive
from squizzle.backups.wal.check import check_cluster
from squizzle.backups.wal.transfer import archive_wal, fetch_wal
from squizzle.errors import LockTimeoutError, SquizzleError
from squizzle.postgres.access import connect
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import find_programs
from squizzle.proof.records import Comparison
from squizzle.recovery.beside import RestoreOrder, restore_database
from tests.chaos.invariants import nothing_left, only_good_backups
from tests.support.fuse import Fuse
from tests.support.mounts import pages_of, small_disk
from tests.support.own_server import Server, own_server
from tests.support.processes import wait_until
from tests.support.tally import Kind, dice, note_strike
from tests.support.wal import SYSTEM, segment_bytes, write_segment

pytestmark = pytest.mark.chaos

DATABASE = "surrounded"
FILL = """
    CREATE TABLE users AS SELECT n AS id, sha512(n::text::bytea) AS name FROM generate_series(1, 3000) n;
    CREATE TABLE orders AS SELECT n AS id, 1 + n % 2000 AS buyer FROM generate_series(1, 3000) n
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with own_server("surroundings") as running:
        with connect(running.access, "postgres", purpose="test") as session:
            session.execute(f"CREATE DATABASE {DATABASE}")
        with connect(running.access, DATABASE, purpose="test") as session:
            session.execute(FILL)
        yield running


def order_of(server: Server, store: FolderStore, kind: BackupKind) -> Order:
    return Order(
        access=server.access,
        target=Target(database=DATABASE),
        store=store,
        kind=kind,
        programs=find_programs(explicit=None, server_major=server.cluster.runtime.major),
        options=DumpOptions(),
        ignore_space="it shall be full",
    )


# --- disks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "times"), [(BackupKind.FULL, 40), (BackupKind.PHYSICAL, 10)])
def test_a_disk_that_is_full_anywhere_keeps_only_whole_backups(
    server: Server, tmp_path: Path, kind: BackupKind, times: int
) -> None:
    chance = dice("full disk", kind)
    whole = FolderStore(tmp_path / "whole")
    backup = take_backup(order_of(server, whole, kind), suffix="000000")
    needed = pages_of(whole.path_of(backup))
    broken = []
    for number in range(times):
        pages = chance.randint(1, needed + 2)
        with small_disk(tmp_path / f"disk-{number}", pages=pages) as disk:
            store = FolderStore(disk / "store")
            said = ""
            with suppress(SquizzleError):
                take_backup(order_of(server, store, kind), suffix=f"{number:06}")
                said = "it succeeded"
            found = only_good_backups(store) if store.folder.exists() else []
            found += [] if bool(said) is bool(store.list_ids()) else [f"{said}, and {store.list_ids()} is there"]
            left = [path.name for path in store.folder.iterdir()] if store.folder.exists() else []
            found += [f"{name} is left" for name in left if name not in store.list_ids()]
        note_strike(Kind.FULL_DISK, f"take {kind}", "store", cell=f"{pages} of {needed}", violation="; ".join(found))
        broken += [f"{pages} pages: {text}" for text in found]
    broken += nothing_left(server.access, expected={DATABASE}, prefix=DATABASE)

    assert broken == []


# --- connections -------------------------------------------------------------------------------------------------------


def restored(order: RestoreOrder) -> Comparison:
    """Restore it, once the server has seen that whoever was at it before is gone; till then it is refused."""
    done: list[Comparison] = []

    def is_let() -> bool:
        with suppress(LockTimeoutError):
            done.append(restore_database(order))
        return bool(done)

    wait_until(is_let, "the session that was cut ends", seconds=60)
    return done[0]


@pytest.mark.parametrize("work", ["backup", "restore"])
def test_a_connection_that_is_lost_anywhere_leaves_no_half_backup_and_no_half_database(
    server: Server, tmp_path: Path, work: str
) -> None:
    chance = dice("network", work)
    way, store = tmp_path / "way", FolderStore(tmp_path / "store")
    way.mkdir()
    order = order_of(server, store, BackupKind.FULL)
    backup = take_backup(order, suffix="000000")
    into = f"{DATABASE}_r"
    broken = []
    for number in range(25):
        from_server = work == "backup" or chance.random() < 0.5
        bytes_ = int(10 ** chance.uniform(2, 5.8))
        through = replace(order, access=replace(server.access, host=str(way)))
        restoring = RestoreOrder(access=through.access, store=store, backup=backup, into=into, programs=order.programs)
        with Fuse(server.access, way, bytes_, from_server=from_server), suppress(SquizzleError):
            if work == "backup":
                take_backup(through, suffix=f"{number + 1:06}")
            else:
                restore_database(restoring)
        found = only_good_backups(store)
        if work == "restore":
            # Whatever is left under that name is replaced by the next one.
            again = replace(restoring, access=server.access)
            with connect(server.access, "postgres", purpose="test") as control:
                done = control.execute(
                    "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", (into,)
                )
                row = done.fetchone()
                if row and not str(row[0] or "").startswith("squizzle: being"):
                    control.execute(f"DROP DATABASE {into} WITH (FORCE)")
            found += [] if restored(again).is_equal else ["it differs"]
            with connect(server.access, "postgres", purpose="test") as control:
                control.execute(f"DROP DATABASE {into} WITH (FORCE)")
        note_strike(Kind.NETWORK, f"a {work}", "connection", cell=f"{bytes_} {from_server}", violation="; ".join(found))
        broken += [f"{bytes_} bytes, from the server: {from_server}: {text}" for text in found]
    broken += nothing_left(server.access, expected={DATABASE}, prefix=DATABASE)

    assert broken == []


# --- the log -----------------------------------------------------------------------------------------------------------

SEGMENTS = 8


def remove(place: Path, name: str, _chance: Random) -> None:
    (place / name).unlink()


def remove_with_hash(place: Path, name: str, _chance: Random) -> None:
    (place / name).unlink()
    (place / f"{name}.sha256").unlink()


def remove_hash(place: Path, name: str, _chance: Random) -> None:
    (place / f"{name}.sha256").unlink()


def truncate(place: Path, name: str, chance: Random) -> None:
    with (place / name).open("r+b") as file:
        file.truncate(chance.randrange((place / name).stat().st_size))


def make_foreign(place: Path, name: str, _chance: Random) -> None:
    (place / name).write_bytes(segment_bytes(int(name[-8:], 16), system="7300000000000000002"))


def put_another(place: Path, name: str, chance: Random) -> None:
    other = chance.choice([one for one in place.iterdir() if len(one.name) == len(name) and one.name != name])
    (place / name).write_bytes(other.read_bytes())


def put_twice(place: Path, name: str, chance: Random) -> None:
    """The same again under the name of a compressed one, without being that."""
    (place / f"{name}.gz").write_bytes((place / name).read_bytes()[: chance.randrange(1, 1 << 20)])


CHANGES = (remove, remove_with_hash, remove_hash, truncate, make_foreign, put_another, put_twice)


def test_a_log_with_something_missing_cut_off_foreign_or_twice_is_never_the_end_of_a_recovery(tmp_path: Path) -> None:
    chance = dice("log")
    (tmp_path / "pg_wal").mkdir()
    paths = [write_segment(tmp_path / "pg_wal", number) for number in range(1, SEGMENTS + 1)]
    broken = []
    for number in range(80):
        archive = FolderArchive(tmp_path / f"store-{number}")
        for path in paths:
            archive_wal(archive, path, path.name, system_identifier=SYSTEM)
        place = archive.folder / "wal" / SYSTEM
        change, victim = chance.choice(CHANGES), chance.choice(paths[1:-1]).name
        change(place, victim, chance)
        found = [] if check_cluster(archive, SYSTEM, read=True).problems else ["a check finds nothing"]
        for path in paths:
            target = tmp_path / "fetched"
            with suppress(SquizzleError):
                if not fetch_wal(archive, path.name, target, system_identifier=SYSTEM):
                    found.append(f"recovery would end before {path.name}")
                elif target.read_bytes() != path.read_bytes():
                    found.append(f"{path.name} is something else")
        what = change.__name__.replace("_", " ")
        note_strike(Kind.LOG, "an archive of the log", what, cell=f"{what} {victim}", violation="; ".join(found))
        broken += [f"{what} {victim}: {text}" for text in found]

    assert broken == []
