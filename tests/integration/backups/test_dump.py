"""Taking a backup: what is in it, that it is one moment, and that a failed one leaves nothing."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from squizzle.backups.dump import DumpOptions, new_backup_id, take_dump
from squizzle.backups.files import check_files
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.order import Order
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.taking import take_backup
from squizzle.errors import (
    ConnectionFailedError,
    DatabaseError,
    DatabaseState,
    InvalidInputError,
    SquizzleError,
    ToolError,
)
from squizzle.headway import Unit, told_to
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.database_properties import read_properties
from squizzle.postgres.embedded import drill_settings, find_runtime, throwaway_cluster
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import ClientPrograms, find_programs
from squizzle.proof.comparison import compare_digests
from squizzle.proof.digests import digest_database
from squizzle.recovery.beside import RestoreOrder, restore_database
from squizzle.recovery.restore import restore_beside, verify_copy
from tests.support.heard import Heard
from tests.support.mounts import pages_of, small_disk
from tests.support.processes import command_of, descendants_of, wait_until
from tests.support.scratch import new_database, new_role

Take = Callable[..., Backup]


@pytest.fixture
def take(access: ServerAccess, programs: ClientPrograms, filled: str) -> Take:
    """Take a backup of the filled database."""

    def start(store: FolderStore, **given: Any) -> Backup:
        arguments = {"access": access, "database": filled, "backup_id": "b1"} | given
        return take_dump(arguments.pop("access"), arguments.pop("database"), store, programs, **arguments)

    return start


def everything_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def sessions_in(control: Connection, database: str) -> list[str]:
    query = "SELECT application_name FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
    return [name for (name,) in control.execute(query, (database,))]


def assert_nothing_is_left(store: FolderStore, control: Connection, database: str) -> None:
    assert not store.folder.exists() or everything_below(store.folder) == []
    assert store.list_ids() == ()
    wait_until(lambda: sessions_in(control, database) == [], f"nobody works in {database}")
    assert not [pid for pid in descendants_of(os.getpid()) if "pg_dump" in command_of(pid)]


@contextmanager
def locked(access: ServerAccess, database: str, table: str) -> Iterator[None]:
    """A table that nobody can read, so that a dump and its fingerprint wait."""
    with connect(access, database, purpose="test lock") as session, session.transaction():
        session.execute(sql.SQL("LOCK TABLE {}").format(sql.Identifier(table)))
        yield


class InBackground(threading.Thread):
    """A call whose error is kept."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._call()
        except BaseException as exc:  # noqa: BLE001 - it is looked at by the test
            self.error = exc

    def wait(self) -> BaseException | None:
        self.join(20)
        assert not self.is_alive()
        return self.error


def wait_for_dump(control: Connection, database: str) -> int:
    """The process id of pg_dump, once it waits for a lock."""
    query = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND application_name = 'squizzle client program'"
        " AND wait_event_type = 'Lock'"
    )
    wait_until(lambda: control.execute(query, (database,)).fetchone() is not None, "pg_dump waits")
    [pid] = [pid for pid in descendants_of(os.getpid()) if command_of(pid).split(" ")[0].endswith("/pg_dump")]
    return pid


def test_manifest_has_the_hash_of_every_file(taken: tuple[FolderStore, Backup]) -> None:
    store, backup = taken
    folder = store.path_of(backup)
    found = {
        path.relative_to(folder).as_posix(): (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    assert {file.path: (file.size_bytes, file.sha256) for file in backup.files} == found
    assert "dump/toc.dat" in found
    assert len(found) >= 3
    check_files(backup, folder)


def test_manifest_on_disk_is_the_record_that_was_returned(taken: tuple[FolderStore, Backup]) -> None:
    store, backup = taken
    read = store.read(backup.id)
    assert replace(read, duration=backup.duration) == backup
    assert abs(read.duration - backup.duration) < timedelta(milliseconds=1)


def test_manifest_says_where_and_when_it_comes_from(
    taken: tuple[FolderStore, Backup], control: Connection, filled: str, programs: ClientPrograms
) -> None:
    store, backup = taken
    query = "SELECT system_identifier::text, current_setting('server_version_num')::int FROM pg_control_system()"
    assert control.execute(query).fetchone() == (backup.system_identifier, backup.server_version)
    [(now, is_behind)] = control.execute(
        "SELECT clock_timestamp(), pg_current_wal_insert_lsn() >= %s::pg_lsn", (backup.lsn,)
    )
    assert is_behind
    assert now - timedelta(minutes=5) < backup.started_at < now
    assert timedelta() < backup.duration < timedelta(minutes=1)
    assert (backup.database, backup.client_version) == (filled, programs.version)
    assert (backup.identity_id, backup.migration_version) == (None, None)
    assert (backup.store, backup.location) == (store.folder.as_uri(), backup.id)


def test_digest_of_the_backup_is_the_digest_of_the_database(
    taken: tuple[FolderStore, Backup], access: ServerAccess, filled: str
) -> None:
    _, backup = taken
    with connect(access, filled, purpose="test") as session:
        assert backup.digest == digest_database(session, bookkeeping=True)
    assert {one.table: one.rows for one in backup.fingerprint.tables} == {
        "public.customers": 4000,
        "public.orders": 3000,
    }
    assert backup.fingerprint.sequences["public.numbers"] == 10


def test_backup_is_published_under_its_id_and_readable_for_us_alone(taken: tuple[FolderStore, Backup]) -> None:
    store, backup = taken
    assert store.list_ids() == (backup.id,)
    assert [path.name for path in store.folder.iterdir()] == [backup.id]
    assert store.path_of(backup).stat().st_mode & 0o777 == 0o700


def test_progress_is_told_while_it_runs(take: Take, store: FolderStore, access: ServerAccess, filled: str) -> None:
    told: list[int] = []
    with locked(access, filled, "orders"):
        backup = InBackground(lambda: take(store, on_progress=told.append))
        backup.start()
        wait_until(lambda: len(told) > 1, "progress is told")
    assert backup.wait() is None


def test_whoever_listens_hears_how_far_backup_and_restore_are(
    access: ServerAccess, filled: str, programs: ClientPrograms, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("squizzle.recovery.growing._ASK_EVERY_S", 0.0)
    monkeypatch.setattr("squizzle.postgres.client_run._POLL_S", 0.01)
    order = Order(access=access, target=Target(database=filled), store=store, kind=BackupKind.FULL, programs=programs)
    heard = Heard()
    with told_to(heard):
        backup = take_backup(order, suffix="aaaaaa")
        restoring = RestoreOrder(access=access, store=store, backup=backup, into=f"{filled}_heard", programs=programs)
        assert restore_database(restoring).is_equal
    with connect(access, "postgres", purpose="test") as control:
        control.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(f"{filled}_heard")))

    rows = heard.last("fingerprinting public.")
    assert rows.done == rows.total > 100_000
    assert heard.last(f"saving {filled} (full)").total > 100_000
    files = heard.last("reading the files of the backup")
    assert files.done == files.total == backup.size_bytes
    restored = heard.last(f"restoring {filled}_heard")
    assert restored.done > restored.total // 2 > 100_000
    assert heard.last(f"analyzing {filled}_heard").unit is Unit.TIME


def test_rows_written_while_it_runs_are_neither_in_the_dump_nor_in_the_digest(
    access: ServerAccess,
    control: Connection,
    connection: Connection,
    database: str,
    programs: ClientPrograms,
    store: FolderStore,
) -> None:
    connection.execute(
        "CREATE TABLE log (id int GENERATED ALWAYS AS IDENTITY, at timestamptz DEFAULT clock_timestamp(), v text);"
        "CREATE TABLE busy (id serial, v text); CREATE SEQUENCE counter;"
        "INSERT INTO log (v) SELECT repeat(md5(n::text), 20) FROM generate_series(1, 30000) n"
    )
    stop = threading.Event()

    def write() -> None:
        with connect(access, database, purpose="test writer") as writer:
            while not stop.is_set():
                writer.execute(
                    "INSERT INTO log (v) VALUES ('late'); INSERT INTO busy (v) SELECT 'x' FROM nextval('counter')"
                )

    writing = InBackground(write)
    writing.start()
    wait_until(lambda: connection.execute("SELECT count(*) > 20 FROM busy").fetchone() == (True,), "somebody writes")
    backup = take_dump(access, database, store, programs, backup_id="b1")
    stop.set()
    assert writing.wait() is None
    into = f"{database}_copy"
    restore_beside(
        access,
        control,
        backup,
        store.path_of(backup),
        programs=programs,
        into=into,
        like=read_properties(control, database),
    )
    with connect(access, into, purpose="test") as copy:
        comparison = verify_copy(copy, backup)
        [(in_dump,)] = copy.execute("SELECT count(*) FROM busy")
    assert comparison.sentences() == ()
    assert comparison.is_equal
    [(in_source, late)] = connection.execute("SELECT count(*), count(*) FILTER (WHERE id > %s) FROM busy", (in_dump,))
    assert in_source > in_dump >= 20
    assert late == in_source - in_dump
    assert {one.table: one.rows for one in backup.fingerprint.tables}["public.busy"] == in_dump


def test_second_backup_stands_beside_the_first_and_the_newest_is_listed_first(
    take: Take, store: FolderStore, filled: str
) -> None:
    day = datetime(2025, 3, 1, 12, tzinfo=UTC)
    older = take(store, backup_id=new_backup_id(filled, now=day, suffix="ffffff"))
    newer = take(store, backup_id=new_backup_id(filled, now=day + timedelta(seconds=1), suffix="000000"))
    assert store.list_ids() == (newer.id, older.id)
    assert compare_digests(older.fingerprint, newer.fingerprint).is_equal
    check_files(older, store.path_of(older))


def test_same_id_twice_is_refused_and_the_first_stays(take: Take, store: FolderStore) -> None:
    first = take(store)
    with pytest.raises(ToolError, match="nothing was published"):
        take(store)
    check_files(store.read("b1"), store.path_of(first))
    assert [path.name for path in store.folder.iterdir()] == ["b1"]


def test_missing_database_leaves_no_store_behind(take: Take, store: FolderStore) -> None:
    with pytest.raises(ConnectionFailedError, match="has no database"):
        take(store, database="no such database")
    assert not store.folder.exists()


def test_killed_dump_publishes_nothing_and_keeps_older_backups(
    take: Take, store: FolderStore, access: ServerAccess, control: Connection, filled: str
) -> None:
    older = take(store, backup_id="older")
    with locked(access, filled, "orders"):
        backup = InBackground(lambda: take(store))
        backup.start()
        os.kill(wait_for_dump(control, filled), signal.SIGKILL)
        error = backup.wait()
    assert isinstance(error, ToolError)
    assert error.database_state is DatabaseState.UNTOUCHED
    assert store.list_ids() == ("older",)
    assert [path.name for path in store.folder.iterdir()] == ["older"]
    check_files(store.read("older"), store.path_of(older))
    wait_until(lambda: sessions_in(control, filled) == [], "nobody works there")


def test_interrupted_dump_leaves_nothing(
    take: Take, store: FolderStore, access: ServerAccess, control: Connection, filled: str
) -> None:
    def interrupt(_bytes: int) -> None:
        raise KeyboardInterrupt

    with locked(access, filled, "orders"):
        backup = InBackground(lambda: take(store, on_progress=interrupt))
        backup.start()
        assert isinstance(backup.wait(), KeyboardInterrupt)
    assert_nothing_is_left(store, control, filled)


def test_dump_out_of_time_leaves_nothing(
    take: Take, store: FolderStore, access: ServerAccess, control: Connection, filled: str
) -> None:
    options = DumpOptions(timeout=timedelta(seconds=0.4))
    with locked(access, filled, "customers"), pytest.raises(ToolError, match="took longer"):
        take(store, options=options)
    assert_nothing_is_left(store, control, filled)


def test_lost_fingerprint_ends_the_dump_at_once(
    take: Take, store: FolderStore, access: ServerAccess, control: Connection, filled: str
) -> None:
    with locked(access, filled, "orders"):
        backup = InBackground(lambda: take(store))
        backup.start()
        wait_for_dump(control, filled)
        control.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'squizzle backup'"
        )
        error = backup.wait()
    assert isinstance(error, ConnectionFailedError)
    assert_nothing_is_left(store, control, filled)


def test_server_that_dies_meanwhile_is_an_error_of_ours(tmp_path: Path) -> None:
    runtime = find_runtime()
    store = FolderStore(tmp_path / "store")
    with throwaway_cluster(
        "tests-dying", settings=drill_settings(runtime.major, throwaway=True), runtime=runtime
    ) as server:
        access = ServerAccess(host=str(server.socket_folder), port=server.port, user=server.user)
        programs = find_programs(explicit=None, server_major=runtime.major)
        holder = connect(access, "postgres", purpose="test")
        holder.execute("CREATE TABLE held (n int)")
        holder.execute("BEGIN; LOCK TABLE held")
        backup = InBackground(lambda: take_dump(access, "postgres", store, programs, backup_id="b1"))
        backup.start()
        with connect(access, "postgres", purpose="test") as control:
            wait_for_dump(control, "postgres")
        os.kill(server.pid, signal.SIGQUIT)
        error = backup.wait()
        holder.close()
    assert isinstance(error, SquizzleError)
    assert everything_below(store.folder) == []


def test_full_disk_is_told_and_nothing_stays(
    take: Take, access: ServerAccess, control: Connection, filled: str, tmp_path: Path
) -> None:
    with connect(access, filled, purpose="test") as session:
        before = digest_database(session)
    with small_disk(tmp_path / "disk", pages=20) as disk:
        store = FolderStore(disk / "store")
        with pytest.raises(ToolError, match="No space left on device") as caught:
            take(store)
        assert_nothing_is_left(store, control, filled)
    assert "free space" in caught.value.hint
    assert caught.value.database_state is DatabaseState.UNTOUCHED
    with connect(access, filled, purpose="test") as session:
        assert digest_database(session) == before


def test_disk_that_is_full_at_the_very_end_publishes_nothing(
    take: Take, taken: tuple[FolderStore, Backup], control: Connection, filled: str, tmp_path: Path
) -> None:
    earlier, backup = taken
    with small_disk(tmp_path / "disk", pages=pages_of(earlier.path_of(backup) / "dump") + 1) as disk:
        store = FolderStore(disk / "store")
        with pytest.raises(ToolError, match=r"No space left on device.*nothing was published") as caught:
            take(store)
        assert_nothing_is_left(store, control, filled)
    assert "free space" in caught.value.hint


def test_store_below_a_file_cannot_be_written(take: Take, tmp_path: Path, control: Connection, filled: str) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="cannot be written") as caught:
        take(FolderStore(tmp_path / "file" / "store"))
    assert str(tmp_path / "file" / "store") in caught.value.message
    wait_until(lambda: sessions_in(control, filled) == [], f"nobody works in {filled}")


def test_table_that_may_not_be_read_is_named(
    take: Take, store: FolderStore, access: ServerAccess, control: Connection, filled: str
) -> None:
    with (
        new_role(control, sql.SQL("LOGIN")) as role,
        pytest.raises(SquizzleError, match=r"permission denied for table (customers|orders)") as caught,
    ):
        take(store, access=replace(access, user=role))
    assert isinstance(caught.value, ToolError | DatabaseError)
    assert_nothing_is_left(store, control, filled)


def test_owner_who_is_no_superuser_can_save_and_fingerprint_the_same(
    access: ServerAccess, control: Connection, programs: ClientPrograms, store: FolderStore
) -> None:
    with new_role(control, sql.SQL("LOGIN")) as role:
        options = sql.SQL("TEMPLATE template0 OWNER {}").format(sql.Identifier(role))
        with new_database(control, options) as name:
            by_owner = replace(access, user=role)
            with connect(by_owner, name, purpose="test") as session:
                session.execute("CREATE SCHEMA mine; CREATE TABLE mine.a AS SELECT 1 AS n; CREATE SEQUENCE mine.s")
            backup = take_dump(by_owner, name, store, programs, backup_id="b1")
            with connect(access, name, purpose="test") as session:
                assert digest_database(session, bookkeeping=True) == backup.digest


def test_database_without_an_encoding_is_saved(
    access: ServerAccess, control: Connection, programs: ClientPrograms, store: FolderStore
) -> None:
    options = sql.SQL("TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    with new_database(control, options) as name:
        with connect(access, name, purpose="test") as session:
            session.execute(r"CREATE TABLE a (t text); INSERT INTO a VALUES (E'\xe9')")
        backup = take_dump(access, name, store, programs, backup_id="b1")
    assert store.read("b1").digest == backup.digest
    assert backup.fingerprint.rows == 1


@pytest.mark.parametrize("name", ["x=y", "../up", "-MiXed ünï'; --"])
def test_database_with_an_odd_name_is_saved_under_a_harmless_one(
    access: ServerAccess, control: Connection, programs: ClientPrograms, store: FolderStore, name: str
) -> None:
    odd = f"{name} {os.getpid()}"
    control.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(odd)))
    try:
        backup_id = new_backup_id(odd, now=datetime.now(UTC), suffix="abcdef")
        backup = take_dump(access, odd, store, programs, backup_id=backup_id)
    finally:
        control.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(odd)))
    assert backup.database == odd
    assert store.list_ids() == (backup_id,)
    assert Path(backup_id).name == backup_id
    assert backup_id.isascii()
    check_files(store.read(backup_id), store.path_of(backup))
