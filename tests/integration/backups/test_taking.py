"""Taking a backup as a person or a schedule does: the right database, alone, with room, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from squizzle.backups.files import check_files
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.order import Order
from squizzle.backups.records import BackupKind
from squizzle.backups.space import SIZE_DETAIL
from squizzle.backups.surroundings import DATABASES_FILE, GLOBALS_FILE, saved_properties
from squizzle.backups.taking import SKIPPED_SPACE_CHECK, take_backup
from squizzle.errors import BackupDamagedError, IdentityMismatchError, InvalidInputError, LockTimeoutError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.database_properties import read_properties
from squizzle.postgres.identity import ExpectedIdentity, Target
from squizzle.postgres.programs import ClientPrograms
from tests.support.mounts import small_disk
from tests.support.processes import descendants_of, wait_until

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def order(access: ServerAccess, programs: ClientPrograms, store: FolderStore, filled: str) -> Order:
    target = Target(database=filled, schema="public")
    return Order(access=access, target=target, store=store, kind=BackupKind.FULL, programs=programs)


def test_every_kind_is_published_whole_and_says_how_big_its_source_was(order: Order, store: FolderStore) -> None:
    for suffix, kind in enumerate((BackupKind.FULL, BackupKind.SCHEMA, BackupKind.DATA, BackupKind.GLOBALS)):
        made = take_backup(replace(order, kind=kind), suffix=str(suffix))
        check_files(store.read(made.id), store.path_of(made))
        assert made.kind is kind
        assert (int(made.details[SIZE_DETAIL]) > 100_000) is (kind is not BackupKind.GLOBALS)
    assert len(store.list_ids()) == 4


def test_globals_hold_roles_and_every_databases_properties(
    order: Order, store: FolderStore, filled: str, control: Connection
) -> None:
    made = take_backup(replace(order, kind=BackupKind.GLOBALS), suffix="aaaaaa")
    folder = store.path_of(made)

    assert {file.path for file in made.files} == {GLOBALS_FILE, DATABASES_FILE}
    assert made.digest is None
    found = saved_properties(folder)
    assert found[filled] == read_properties(control, filled)
    assert set(found) >= {filled, "postgres", "template1"}
    assert f"CREATE ROLE {order.access.user};" in (folder / GLOBALS_FILE).read_text()
    (folder / DATABASES_FILE).write_text("{}")
    with pytest.raises(BackupDamagedError, match="does not say what the databases need"):
        saved_properties(folder)


def test_another_database_than_was_meant_is_not_saved(order: Order, store: FolderStore, filled: str) -> None:
    meant = Target(database=filled, schema="public", expected=ExpectedIdentity(environment="staging", id=uuid4()))

    with pytest.raises(IdentityMismatchError):
        take_backup(replace(order, target=meant), suffix="aaaaaa")
    assert store.list_ids() == ()


def test_without_room_nothing_begins_unless_somebody_says_why(order: Order, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", pages=2000) as disk:
        small = replace(order, store=FolderStore(disk / "store"))
        with pytest.raises(InvalidInputError, match="no earlier backup to judge by"):
            take_backup(small, suffix="aaaaaa")
        assert not (disk / "store").exists()

        made = take_backup(replace(small, ignore_space="the disk grows tonight"), suffix="aaaaaa")

        assert made.details[SKIPPED_SPACE_CHECK] == "the disk grows tonight"


def test_two_at_once_exclude_each_other_and_what_a_killed_one_left_is_removed_by_the_next(
    order: Order, store: FolderStore, filled: str, access: ServerAccess
) -> None:
    """Killed while pg_dump waits for a lock, which is the longest that a backup can stand in the middle."""
    with connect(access, filled, purpose="test") as holder:
        holder.execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        victim = start_backup(access, filled, store)
        wait_until(lambda: any(store.folder.glob(".unfinished-*")), "the backup has begun")
        children = wait_for(lambda: descendants_of(victim.pid))
        with pytest.raises(LockTimeoutError, match="is being taken already"):
            take_backup(order, suffix="aaaaaa")
        assert store.remove_leftovers() == ()
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
        holder.execute("ROLLBACK")
    assert store.list_ids() == ()
    assert any(store.folder.glob(".unfinished-*"))
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "pg_dump has ended with us")

    made = take_backup(order, suffix="bbbbbb")

    assert [path.name for path in store.folder.iterdir()] == [made.id]
    check_files(made, store.path_of(made))


def start_backup(access: ServerAccess, database: str, store: FolderStore) -> subprocess.Popen[bytes]:
    """`squizzle backup full` in a process of its own."""
    url = f"postgresql:///{database}?host={access.host}&port={access.port}&user={access.user}"
    command = [Path(sys.executable).with_name("squizzle"), "backup", "full", "--store", store.address]
    return subprocess.Popen(
        command, env={"PATH": os.environ["PATH"], "DATABASE_URL": url}, stderr=subprocess.DEVNULL, cwd=ROOT / "tests"
    )


def wait_for(ask: Callable[[], list[int]]) -> list[int]:
    """The first answer that is not empty."""
    found: list[int] = []

    def asked() -> bool:
        found.extend(ask())
        return bool(found)

    wait_until(asked, "the program runs")
    return found
