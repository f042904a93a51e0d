"""`squizzle restore --into` to a point: a database as it was before an accident, from a copy and the archived log."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from squizzle.backups.files import MANIFEST_NAME
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.manifest import to_json
from squizzle.backups.order import Order
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.taking import take_backup
from squizzle.backups.wal.archive import FolderArchive
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import Cluster, drill_settings, find_runtime
from squizzle.postgres.embedded.data_folder import append_settings
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import find_programs
from squizzle.recovery.fence import is_fenced
from squizzle.recovery.point_in_time.recovering import PREFIX
from squizzle.rehearsal.place import PlaceOrder, rehearsal_place
from squizzle.rehearsal.ways import PointSource, measure_point, measure_ways
from tests.integration.cli.conftest import Done, Squizzle, url_of
from tests.integration.conftest import SYSTEM_FOLDERS, access_to
from tests.support.names import databases
from tests.support.processes import wait_until
from tests.support.wal import take_over

SHOP = """
    CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL);
    CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL REFERENCES customers, note text);
    CREATE MATERIALIZED VIEW per_customer AS SELECT customer, count(*) FROM orders GROUP BY 1;
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'never'; END$$;
    CREATE TRIGGER never BEFORE TRUNCATE ON customers EXECUTE FUNCTION refuse();
    INSERT INTO customers SELECT n, 'customer ' || n FROM generate_series(1, 50) n;
    INSERT INTO orders SELECT n, 1 + n % 50, 'order ' || n FROM generate_series(1, 400) n
"""
MORE = "INSERT INTO orders SELECT n, 1 + n % 50, 'late ' || n FROM generate_series(401, 1000) n"


@dataclass(frozen=True, kw_only=True)
class Past:
    """A server with an accident behind it, a copy from before, and its archived log.

    Attributes:
        access: The server, which still runs.
        store: The copy and the marks; the archive is in the same folder.
        copy: The copy of the cluster.
        mark: The mark right before the accident, when there were 1,000 orders.
        lsn: The position of that moment.
        time: The time of it.
        segments: Archived segments, in order; the mark is not in the first.
    """

    access: ServerAccess
    store: FolderStore
    copy: Backup
    mark: Backup
    lsn: str
    time: datetime
    segments: list[str]


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    """Debian's PostgreSQL where there is one; segments of one megabyte."""
    runtime = find_runtime(bin_folder=SYSTEM_FOLDERS[-1] if SYSTEM_FOLDERS else None)
    cluster = Cluster(runtime, f"past-{os.getpid()}-{secrets.token_hex(3)}")
    store = FolderStore(tmp_path_factory.mktemp("store"))
    try:
        cluster.create(drill_settings(runtime.major, throwaway=True) | {"min_wal_size": "4MB"}, from_template=False)
        runtime.run([runtime.bin_folder / "pg_resetwal", "--wal-segsize=1", "-D", cluster.layout.data])
        access = access_to(cluster.start(guarded=True))
        with connect(access, "postgres", purpose="test") as control:
            control.execute("CREATE DATABASE shop")
        with connect(access, "shop", purpose="test") as shop:
            shop.execute(SHOP.encode())
        copy = take(access, store, BackupKind.PHYSICAL, "aaaaaa")
        cluster.stop()
        # A standby that has less of it than the source would stop.
        append_settings(runtime, cluster.layout.data, "max_prepared_transactions = 3\n")
        access = access_to(cluster.start(guarded=True))
        with connect(access, "shop", purpose="test") as shop:
            shop.execute("SELECT pg_switch_wal()")
            shop.execute(MORE)
            shop.execute("BEGIN; DELETE FROM customers WHERE id = 0; PREPARE TRANSACTION 'undecided'")
            mark = take(access, store, BackupKind.MARK, "bbbbbb")
            row = shop.execute("SELECT pg_current_wal_insert_lsn()::text, clock_timestamp()").fetchone()
            assert row is not None
            shop.execute("SELECT pg_switch_wal()")
            shop.execute("DELETE FROM orders WHERE id % 100 = 0")
            shop.execute("SELECT pg_switch_wal()")
            shop.execute("INSERT INTO customers VALUES (51, 'after the accident')")
            last = shop.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
            assert last is not None
        archived = cluster.layout.archive
        wait_until((archived / last[0]).exists, "the log is archived")
        names = take_over(archived, store.folder, copy.system_identifier)
        yield Past(access=access, store=store, copy=copy, mark=mark, lsn=row[0], time=row[1], segments=names)
    finally:
        cluster.destroy()


def take(access: ServerAccess, store: FolderStore, kind: BackupKind, suffix: str) -> Backup:
    with connect(access, "shop", purpose="test") as session:
        major = session.info.server_version // 10000
    order = Order(
        access=access,
        target=Target(database="shop", schema="public"),
        store=store,
        kind=kind,
        programs=find_programs(explicit=None, server_major=major),
    )
    return take_backup(order, suffix=suffix)


Restore = Callable[..., Done]


@pytest.fixture
def squizzle(offline: Squizzle, past: Past) -> Squizzle:
    offline.configure(f'[backups]\nstore = "{past.store.address}"\n')
    return replace(offline, environment={"DATABASE_URL": url_of(past.access, "shop")})


@pytest.fixture
def control(past: Past) -> Iterator[Connection]:
    with connect(past.access, "postgres", purpose="test") as session:
        yield session


@pytest.fixture(autouse=True)
def nothing_else_changes(past: Past) -> Iterator[None]:
    """The archive and the copies stay as they are, to the byte, and no scratch cluster stays."""
    before = contents(past.store)
    yield
    assert contents(past.store) == before
    assert scratch_clusters() == []


def contents(store: FolderStore) -> dict[Path, tuple[int, bytes]]:
    files = (path for path in store.folder.rglob("*") if path.is_file())
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def scratch_clusters() -> list[str]:
    return [path.name for path in find_runtime().base.iterdir() if path.name.startswith(PREFIX)]


def rows(past: Past, database: str) -> Any:
    with connect(past.access, database, purpose="look") as session:
        return session.execute("SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM customers)").fetchone()


def test_a_mark_is_recovered_to_beside_with_every_row_and_what_was_undecided_is_named(
    squizzle: Squizzle, past: Past
) -> None:
    done = squizzle("restore", past.mark.id, "--into", "shop_before", "--json")

    assert done.code == 0, done.err
    document = done.document
    assert (document["database"], document["verified"], document["differences"]) == ("shop_before", True, [])
    assert (document["switched_over"], document["kept_as"]) == (False, None)
    assert (document["backup"], document["lsn"]) == (past.copy.id, past.mark.lsn)
    assert document["recovered_to"] == f"name {past.mark.details['restore_point']}"
    (undecided,) = document["prepared"]
    assert "undecided in shop" in undecided
    assert "recovery stopping at restore point" in done.err
    assert "the source had more of max_prepared_transactions later" in done.err
    assert rows(past, "shop_before") == (1000, 50)
    assert rows(past, "shop") == (990, 51)


def test_the_end_of_the_log_is_reached_and_a_name_that_lies_elsewhere_than_its_mark_says_is_refused(
    squizzle: Squizzle, past: Past, control: Connection, tmp_path: Path
) -> None:
    latest = squizzle("restore", "--to-latest", "--into", "shop_latest", "--json")
    assert latest.code == 0, latest.err
    assert latest.document["verified"] is True
    assert rows(past, "shop_latest") == (990, 51)

    other = FolderStore(tmp_path / "other")
    shutil.copytree(past.store.folder, other.folder)
    lying = other.path_of(past.mark) / MANIFEST_NAME
    lying.write_text(to_json(replace(past.mark, lsn=past.copy.stop_lsn)))
    elsewhere = squizzle("restore", past.mark.id, "--into", "shop_never", "--store", other.address, "--json")
    assert elsewhere.code == 7
    assert f"but its mark says {past.copy.stop_lsn}: there is more than one of this name" in elsewhere.error["message"]
    assert databases(control, "shop_never") == set()


def test_a_rehearsal_on_the_copy_carries_the_recovery_out_and_times_it(past: Past) -> None:
    source = PointSource(
        store=past.store,
        archive=FolderArchive(past.store.folder),
        system_identifier=past.copy.system_identifier,
        measure=True,
    )
    order = PlaceOrder(store=past.store, backup=past.copy, database="shop", by="ann")
    with rehearsal_place(order) as place:
        with place.fresh() as work, connect(place.access, work, purpose="test") as session:
            assert session.execute("SELECT count(*) FROM orders").fetchone() == (400,)
        swap, beside, point = measure_ways(place, point=source)
        asked = measure_point(place, replace(source, measure=False))
    assert (place.problems, place.proof, place.times.fetch) == ((), None, timedelta())
    assert (swap.executed, swap.complete) == (True, True), swap.detail
    assert (beside.executed, beside.duration) == (False, None)
    assert (point.executed, point.complete) == (True, True), point.detail
    assert point.duration is not None
    assert f"{past.copy.id} recovered to" in point.detail
    assert (asked.executed, asked.duration) == (False, None)
    assert past.segments[-1] in asked.detail


def test_one_table_as_it_was_at_a_time_comes_over_and_is_merged_by_salvage(squizzle: Squizzle, past: Past) -> None:
    done = squizzle(
        *("restore", "--to-time", past.time.isoformat(), "--table", "public.orders", "--into", "shop_orders", "--json")
    )

    assert done.code == 0, done.err
    assert (done.document["verified"], done.document["tables"]) == (True, ["public.orders"])
    assert rows(past, "shop_orders") == (1000, 0)
    with connect(past.access, "shop_orders", purpose="look") as session:
        assert session.execute("SELECT count(*) FROM pg_constraint WHERE contype = 'f'").fetchone() == (0,)
    compared = squizzle("salvage", "compare", "--from", "shop_orders", "--json")
    assert compared.code == 0, compared.err
    merged = squizzle("salvage", "merge", "--dry-run", "--json")
    assert merged.code == 0, merged.err
    assert merged.document["tables"] == {"public.orders": 10}


def test_a_point_that_cannot_be_reached_is_refused_before_anything_is_made(
    squizzle: Squizzle, past: Past, control: Connection
) -> None:
    archived = next((past.store.folder / "wal").iterdir())
    beyond = past.segments[-1]
    end = f"{int(beyond[8:16], 16):X}/{(int(beyond[16:24], 16) + 1) << 20:X}"
    missing = archived / past.segments[-3]
    for options, code, said in [
        (("--to-lsn", "0/1000000"), 2, "lies before the end of the oldest copy"),
        (("--to-time", "2020-01-01T00:00:00+00:00"), 2, "lies before the end of the oldest copy"),
        (("--to-lsn", end), 2, f"ends at {end} ({beyond}, archived at"),
        (("--to-time", "2999-01-01T00:00:00+00:00"), 2, f"ends at {end}"),
        (("--to-name", "x", "--switch-over", "--table", "public.orders"), 2, "must not take the place of a whole one"),
        (("--to-lsn", past.lsn, "--timeline", "7"), 2, "timeline 7 does not come from timeline 1"),
    ]:
        done = squizzle("restore", "--into", "shop_never", "--json", *options)
        assert done.code == code, options
        assert said in done.error["message"]
    content, times = missing.read_bytes(), missing.stat()
    missing.unlink()
    lost = squizzle("restore", "--into", "shop_never", "--json", "--to-lsn", past.lsn)
    later = squizzle("restore", "--into", "shop_never", "--json", "--to-latest")
    missing.write_bytes(content)
    os.utime(missing, ns=(times.st_atime_ns, times.st_mtime_ns))
    for done in (lost, later):
        assert done.code == 7, done.err
        assert f"{missing.name} is missing from {past.store.address}" in done.error["message"]
    assert databases(control, "shop_never") == set()


def test_a_damaged_segment_and_a_name_that_is_not_there_end_the_recovery_with_their_reason(
    squizzle: Squizzle, past: Past, control: Connection
) -> None:
    nowhere = squizzle("restore", past.copy.id, "--to-name", "nowhere", "--into", "shop_never", "--json")
    segment = next((past.store.folder / "wal").iterdir()) / past.mark.details["segment"]
    content, times = segment.read_bytes(), segment.stat()
    segment.write_bytes(content[:-1] + b"x")
    damaged = squizzle("restore", past.mark.id, "--into", "shop_never", "--json")
    segment.write_bytes(content)
    os.utime(segment, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert nowhere.code == 7
    assert "name nowhere is not in the archived log, which ends at" in nowhere.error["message"]
    assert damaged.code == 7
    assert f"{segment.name} in {past.store.address} is damaged" in damaged.error["message"]
    assert databases(control, "shop_never") == set()


def test_after_a_kill_the_next_run_clears_up_and_puts_the_database_as_it_was_in_the_place_of_the_damaged_one(
    squizzle: Squizzle, past: Past, control: Connection
) -> None:
    command = ("restore", "--to-lsn", past.lsn, "--into", "shop_new", "--switch-over", "--json")
    base = find_runtime().base
    undecided = squizzle(*command)
    assert "prepared transactions are in the way of a rename: undecided in shop" in undecided.error["message"]
    with connect(past.access, "shop", purpose="test") as session:
        session.execute("ROLLBACK PREPARED 'undecided'")
    with squizzle.started(*command) as process:
        wait_until(lambda: any(base.glob(f"{PREFIX}*/run/.s.PGSQL.*")), "the scratch server runs")
        process.send_signal(signal.SIGKILL)
    (left,) = scratch_clusters()

    done = squizzle(*command)

    assert done.code == 0, done.err
    assert left not in scratch_clusters()
    document = done.document
    assert (document["database"], document["switched_over"]) == ("shop", True)
    assert rows(past, "shop") == (1000, 50)
    assert is_fenced(control, document["kept_as"])
    assert {"shop", document["kept_as"]} < databases(control, "shop")
    assert "shop_new" not in databases(control, "shop")
