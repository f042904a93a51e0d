"""kill -9 before every step of taking, publishing and removing a backup: what is listed is whole, the next run succeeds.

Killed are we, the programs that we run, and PostgreSQL. `make chaos` kills before each step; otherwise before some of
those that take a server, since every one of them costs a backup.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from squizzle.backups.catalogue import check_chain, read_catalogue
from squizzle.backups.files import check_files
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.manifest import to_json
from squizzle.backups.order import Order
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.s3.settings import S3Settings
from squizzle.backups.s3.store import S3Store
from squizzle.backups.store import BackupStore
from squizzle.backups.taking import take_backup
from squizzle.backups.work_folder import PUBLISHING
from squizzle.errors import ToolError
from squizzle.postgres.access import connect
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import ClientPrograms, find_programs
from tests.support.backup_work import store_of
from tests.support.buckets import paths_in, place_in
from tests.support.killed import Ended, Mortal, mortal
from tests.support.own_server import Server, own_server
from tests.support.processes import is_alive, wait_until
from tests.support.tally import Kind, note_strike

CHAOS = pytest.param(1, marks=pytest.mark.chaos, id="every step")
FILL = "CREATE TABLE users AS SELECT n AS id, md5(n::text) AS name FROM generate_series(1, 2000) n"


@pytest.fixture(scope="module")
def temp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What TMPDIR is for those who are killed."""
    return tmp_path_factory.mktemp("temp")


@pytest.fixture(scope="module")
def work(temp: Path) -> Iterator[Mortal]:
    with mortal("tests.support.backup_work", temp) as running:
        yield running


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """A store, as the process that is killed is told of it."""
    if request.param == "folder":
        return {"folder": str(tmp_path / "store")}
    settings: S3Settings = request.getfixturevalue("bucket")
    return asdict(place_in(settings))


def names_in(store: BackupStore) -> set[str]:
    """Everything that lies in a store, by the first part of its path."""
    if isinstance(store, S3Store):
        parts = {f"part of {path}" for path, _ in store.bucket.unfinished_parts("")}
        return {path.partition("/")[0] for path in paths_in(store)} | parts
    return {path.name for path in Path(store.address.removeprefix("file://")).iterdir()}


def refuse_half(store: BackupStore, known: dict[str, Backup]) -> None:
    """Every backup that is listed is whole, and those that were known before are still there."""
    listed = store.list_ids()
    assert set(known) <= set(listed)
    for backup_id in set(listed) - set(known):
        known[backup_id] = store.read(backup_id)
        refuse_damaged(store, known[backup_id])


def refuse_damaged(store: BackupStore, backup: Backup) -> None:
    assert store.read(backup.id) == backup
    with store.fetch(backup) as folder:
        check_files(backup, folder)


def kill_before_each(run: Callable[[int], Ended], after: Callable[[int], None], *, every: int = 1) -> Ended:
    """Kill one run after the other, each some steps later, until one comes to its end; returns that one."""
    at = 1
    while (ended := run(at)).was_killed:
        assert len(ended.steps) == at
        after(at)
        at += every
    assert ended.code == 0, ended.said
    after(at)
    return ended


# --- publishing and removing, both stores -----------------------------------------------------------------


@pytest.mark.parametrize("every", [pytest.param(2, id="some steps"), CHAOS])
def test_a_run_that_is_killed_while_it_publishes_leaves_nothing_half(
    work: Mortal, place: dict[str, Any], backup: Backup, temp: Path, every: int
) -> None:
    store = store_of(place)
    size = 10 if "folder" in place else 6 << 20  # two parts of an object
    known: dict[str, Backup] = {}

    def publish(at: int) -> Ended:
        backup_id = f"20250301T120000Z-shop-{at:06}"
        return work.run("publish", at=at, place=place, manifest=to_json(backup), backup_id=backup_id, size=size)

    assert publish(0).code == 0
    refuse_half(store, known)
    ended = kill_before_each(publish, lambda _at: refuse_half(store, known), every=every)

    # One before, one that came to its end, and those that were killed when their manifest was there already.
    appears = next(number for number, step in enumerate(ended.steps, 1) if "manifest.json" in step)
    assert appears > 8, ended.steps
    # A bucket's next run finishes what was whole, so those that were killed since that was noted may be there, too.
    whole = next((number for number, step in enumerate(ended.steps, 1) if PUBLISHING in step), appears)
    assert len(known) <= 2 + len(ended.steps) - whole
    clean_up(work, store, place)
    refuse_half(store, known)
    assert names_in(store) == set(known)
    assert list(temp.glob("squizzle-*")) == []
    for one in known.values():
        refuse_damaged(store, one)


def clean_up(work: Mortal, store: BackupStore, place: dict[str, Any]) -> None:
    """What the next backup begins with; a bucket knows after the time of a lease who is dead."""

    def is_clean() -> bool:
        assert work.run("clean", place=place).code == 0
        return not any(name.startswith((".", "part")) for name in names_in(store))

    wait_until(is_clean, "nothing is left")


@pytest.mark.parametrize("every", [pytest.param(2, id="some steps"), CHAOS])
def test_a_run_that_is_killed_while_it_removes_leaves_whole_backups_and_no_gap(
    work: Mortal, place: dict[str, Any], backup: Backup, every: int
) -> None:
    store = store_of(place)
    manifest = to_json(backup)

    def prune(at: int) -> Ended:
        return work.run("prune", at=at, place=place, manifest=manifest)

    def look(_at: int) -> None:
        refuse_half(store, {})
        assert check_chain(store, read_catalogue(store)) == ()

    ended = kill_before_each(prune, look, every=every)

    assert len(ended.steps) >= 8, ended.steps
    assert len(store.list_ids()) == 1
    clean_up(work, store, place)
    assert names_in(store) - {"removed"} == set(store.list_ids())


# --- taking, with a server ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with own_server("kills") as running:
        with connect(running.access, "postgres", purpose="test") as session:
            session.execute(FILL)
        yield running


@pytest.fixture(scope="module")
def programs(server: Server) -> ClientPrograms:
    return find_programs(explicit=None, server_major=server.cluster.runtime.major)


def order_of(server: Server, store: BackupStore, programs: ClientPrograms, kind: BackupKind) -> Order:
    target = Target(database="postgres", schema="public")
    return Order(access=server.access, target=target, store=store, kind=kind, programs=programs)


class Taker:
    """Takes backups in processes that may be killed."""

    def __init__(self, work: Mortal, server: Server, programs: ClientPrograms, place: dict[str, Any]) -> None:
        self._work = work
        self._server = server
        self._given = {
            "place": place,
            "database": "postgres",
            "programs": {**asdict(programs), "folder": str(programs.folder)},
        }

    def take(self, kind: BackupKind, *, at: int = 0, server: int = 0) -> Ended:
        suffix = secrets.token_hex(3)
        given = {**self._given, "server_access": self._server.given, "kind": kind.value, "suffix": suffix}
        return self._work.run("take", at=at, server=server, **given)


@pytest.fixture
def taker(work: Mortal, server: Server, programs: ClientPrograms, tmp_path: Path) -> Taker:
    return Taker(work, server, programs, {"folder": str(tmp_path / "store")})


@pytest.mark.parametrize("every", [pytest.param(6, id="some steps"), CHAOS])
@pytest.mark.parametrize("kind", ["full", "globals", "physical", "incremental"])
def test_a_backup_that_is_killed_before_any_step_is_no_backup_and_the_next_one_is(
    taker: Taker, server: Server, tmp_path: Path, kind: str, every: int
) -> None:
    """The next one is the one that is killed some steps later: it has cleaned by then."""
    store = FolderStore(tmp_path / "store")
    known: dict[str, Backup] = {}
    assert taker.take(BackupKind.PHYSICAL if kind == "incremental" else BackupKind(kind)).code == 0
    refuse_half(store, known)

    def look(_at: int) -> None:
        refuse_half(store, known)
        wait_until(lambda: nobody_saves(server), "the server has noticed")

    ended = kill_before_each(lambda at: taker.take(BackupKind(kind), at=at), look, every=every)

    assert len(ended.steps) >= 15, ended.steps
    assert names_in(store) == set(known)
    assert check_chain(store, read_catalogue(store)) == ()


def nobody_saves(server: Server) -> bool:
    """Whether the server let go of the one who was killed, and of what it kept for him."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'squizzle backup%' OR backend_type = 'walsender'"
        " OR application_name LIKE 'squizzle client%'"
    )
    with connect(server.access, "postgres", purpose="look") as session:
        gone = session.execute(query).fetchone() == (0,)
        return gone and session.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (0,)


@pytest.mark.parametrize("every", [pytest.param(5, id="some steps"), CHAOS])
@pytest.mark.parametrize("kind", ["full", "physical"])
def test_a_server_that_is_killed_before_any_step_is_told_and_the_next_backup_is_whole(
    taker: Taker, server: Server, tmp_path: Path, kind: str, every: int
) -> None:
    store = FolderStore(tmp_path / "store")
    known: dict[str, Backup] = {}
    assert taker.take(BackupKind(kind)).code == 0
    refuse_half(store, known)
    outcomes: list[bool] = []
    at = 2
    while len((ended := taker.take(BackupKind(kind), at=at, server=server.address.pid)).steps) >= at:
        wait_until(lambda: not is_alive(server.address.pid), "the server is gone")
        server.start()
        # We live, so nothing is left for others to clean. Without the server a backup ends only when it has all of it.
        before = len(known)
        refuse_half(store, known)
        assert names_in(store) == set(known)
        assert (len(known) > before) is (ended.code == 0)
        assert ended.code == 0 or ended.said
        outcomes.append(ended.code == 0)
        at += every

    assert ended.code == 0
    refuse_half(store, known)
    assert outcomes == sorted(outcomes)
    assert not outcomes[0]


# Does what the program does, or a part of it, and is killed.
KILLED = """#!/bin/sh
{before}
kill -9 $$
"""
MOMENTS = {"at once": "", "half way": '{real} "$@" | head -c 100000', "at its end": '{real} "$@"'}


@pytest.mark.kills
@pytest.mark.parametrize(
    ("kind", "program", "moments"),
    [
        ("full", "pg_dump", ("at once", "at its end")),
        ("full", "pg_dumpall", ("at once", "at its end")),
        ("physical", "pg_basebackup", ("at once", "half way", "at its end")),
        ("physical", "pg_receivewal", ("at once", "at its end")),
    ],
)
def test_a_program_that_is_killed_publishes_nothing_though_it_has_written_everything(
    server: Server, programs: ClientPrograms, tmp_path: Path, kind: str, program: str, moments: tuple[str, ...]
) -> None:
    store = FolderStore(tmp_path / "store")
    for moment in moments:
        folder = tmp_path / moment
        folder.mkdir()
        for path in programs.folder.iterdir():
            (folder / path.name).symlink_to(path)
        (folder / program).unlink()
        (folder / program).write_text(KILLED.format(before=MOMENTS[moment].format(real=programs.path(program))))
        (folder / program).chmod(0o755)
        order = order_of(server, store, replace(programs, folder=folder), BackupKind(kind))
        with pytest.raises(ToolError) as caught:
            take_backup(order, suffix="aaaaaa")
        assert caught.value.exit_code == 137, moment  # as a shell says SIGKILL
        note_strike(Kind.KILL, f"take {kind}", "client program", cell=f"{program} {moment}")
        assert caught.value.hint
        assert names_in(store) == set()

    made = take_backup(order_of(server, store, programs, BackupKind(kind)), suffix="bbbbbb")
    refuse_damaged(store, store.read(made.id))
