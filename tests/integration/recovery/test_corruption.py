"""Pages that were really damaged on the disk: everything readable is saved, everything else is listed."""

from __future__ import annotations

import csv
import hashlib
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.order import Order
from squizzle.backups.records import BackupKind
from squizzle.backups.taking import take_backup
from squizzle.errors import CouldNotVerifyError, InvalidInputError, RefusedError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import find_runtime
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import find_programs
from squizzle.recovery.corruption.copying import Source
from squizzle.recovery.corruption.examine import Wish, examine, look_at_original
from squizzle.recovery.corruption.loading import database_name, load_salvage
from squizzle.recovery.corruption.pages import page_checksum
from squizzle.recovery.corruption.records import DamagedPage, Examination, Loaded, Role
from squizzle.recovery.corruption.structure import name_by_file
from tests.integration.conftest import SYSTEM_FOLDERS
from tests.support.damaged import DOCUMENTS, MOVED, ORDERS, Damaged, damage_everything, damaged_shop
from tests.support.processes import wait_until

NOW = datetime(2027, 1, 31, 2, 0, tzinfo=UTC)
TARGET = Target(database="shop")
DAMAGED_CATALOGUE = DamagedPage(file="base/5/1259", block=0, offset=0, why="", sha256="", kept_as="")
# As PostgreSQL packs them: rows of one page of `orders`.
ROWS_A_PAGE = 81


@dataclass(frozen=True, kw_only=True)
class Case:
    """The damaged shop, examined once for all tests here."""

    shop: Damaged
    before: dict[str, str]
    found: Examination
    loaded: Loaded
    after: dict[str, str]
    open_meanwhile: frozenset[bool]


def keys_of_page(block: int) -> set[str]:
    return {str(n) for n in range(block * ROWS_A_PAGE + 1, (block + 1) * ROWS_A_PAGE + 1)}


def backed_up(shop: Damaged, folder: Path) -> FolderStore:
    """A store with a backup from before the damage."""
    store = FolderStore(folder)
    order = Order(
        access=shop.access,
        target=TARGET,
        store=store,
        kind=BackupKind.FULL,
        programs=find_programs(explicit=None, server_major=shop.cluster.runtime.major),
    )
    take_backup(order, suffix="before")
    return store


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    runtime = find_runtime(bin_folder=SYSTEM_FOLDERS[-1] if SYSTEM_FOLDERS else None)
    folder = tmp_path_factory.mktemp("evidence")
    with ExitStack() as stack:
        shop = stack.enter_context(damaged_shop(runtime))
        shop.cluster.start(guarded=True)
        store = backed_up(shop, folder / "backups")
        shop.cluster.stop()
        damage_everything(shop)
        before = shop.digests()
        shop.cluster.start(guarded=True)
        source = Source(access=shop.access, database="shop")
        found = examine(source, TARGET, Wish(folder=folder / "evidence", with_rest=True, store=store), now=NOW)
        after = shop.digests()
        name = database_name(found)
        with connect(shop.access, "postgres", purpose="test") as control:
            # As a run leaves it that was killed in its first moment.
            control.execute(f"CREATE DATABASE {name} CONNECTION LIMIT {0x53515A52}")
        seen: list[bool] = []
        loaded = load_salvage(shop.access, found, name, say=lambda _text: seen.append(is_open_to_others(shop, name)))
        yield Case(shop=shop, before=before, found=found, loaded=loaded, after=after, open_meanwhile=frozenset(seen))


def is_open_to_others(shop: Damaged, database: str) -> bool:
    query = "SELECT datallowconn AND has_database_privilege('pg_monitor', oid, 'CONNECT') FROM pg_database"
    with connect(shop.access, "postgres", purpose="test") as control:
        return control.execute(f"{query} WHERE datname = %s".encode(), (database,)).fetchone() == (True,)


@pytest.fixture
def salvaged(case: Case) -> Iterator[Connection]:
    with connect(case.shop.access, case.loaded.database, purpose="test", read_only=True) as connection:
        yield connection


def test_every_damaged_page_is_named_and_kept_as_it_was_and_the_original_is_only_read(case: Case) -> None:
    pages = {(one.name, page.block): page for one in case.found.relations for page in one.pages}
    roles = {one.role for one in case.found.relations}
    orders, long = "public.orders", next(name for name, _ in pages if name.startswith("pg_toast."))

    assert case.after == case.before
    # No checksum is wrong on these, and no query fails.
    assert "nothing but zeros" in pages.pop(("public.zeroed", 2)).why
    assert "the file ends before it: of 13 pages there are 11" in pages.pop(("public.cut", 11)).why
    assert pages.pop(("public.cut", 12))
    assert set(pages) == {
        (orders, 3), (orders, 10), (orders, 20), ("public.orders_customer", 5), (long, 7), ("public.keyless", 2),
    }  # fmt: skip
    assert roles == {Role.TABLE, Role.INDEX, Role.TOAST}
    for (_, block), page in pages.items():
        content = (case.found.folder / page.kept_as).read_bytes()
        original = (case.shop.cluster.layout.data / page.file).read_bytes()[page.offset : page.offset + 8192]
        assert content == original
        assert page.sha256 == hashlib.sha256(content).hexdigest()
        assert page.offset == block * 8192
    assert "its checksum is" in pages[orders, 3].why
    assert "its header" in pages[orders, 10].why
    assert case.found.checksums
    assert [one for one in case.found.doubts if "public.keyless" not in one] == []
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], check=True, cwd=case.found.folder)  # noqa: S607
    assert (case.found.folder / "cluster" / pages[orders, 3].file).read_bytes()[3 * 8192 :][:8192] == (
        case.found.folder / pages[orders, 3].kept_as
    ).read_bytes()


def test_all_readable_rows_are_saved_and_every_other_is_listed(case: Case, salvaged: Connection) -> None:
    saved = {one.table: one for one in case.found.saved}
    orders = saved["public.orders"]

    assert orders.rows == ORDERS - 3 * ROWS_A_PAGE + 1
    assert orders.unreadable_pages == (10,)
    assert orders.lost is not None
    assert set(orders.lost) >= keys_of_page(10) - {str(MOVED)}
    assert set(orders.lost) <= keys_of_page(10) - {str(MOVED)} | keys_of_page(3)
    assert orders.rows + orders.doubtful + len(orders.lost) == ORDERS
    count = salvaged.execute("SELECT count(*), count(DISTINCT id) FROM orders").fetchone()
    assert count == (orders.rows, orders.rows)
    # Of the page whose LSN alone was damaged every row comes back, as doubtful.
    intact = salvaged.execute(
        """SELECT count(*) FROM squizzle_corruption."public.orders" WHERE id BETWEEN %s AND %s
           AND customer = repeat('c', 60) || id""",
        (20 * ROWS_A_PAGE + 1, 21 * ROWS_A_PAGE),
    ).fetchone()
    assert intact == (ROWS_A_PAGE,)
    lost = salvaged.execute("SELECT key FROM squizzle_corruption.lost_key WHERE \"table\" = 'public.orders'").fetchall()
    assert {key for (key,) in lost} == set(orders.lost)
    # Nothing is known of a table without a key, and that is said.
    keyless = saved["public.keyless"]
    assert keyless.lost is None
    assert "no unique index" in keyless.lost_unknown
    assert "about 1,000 rows" in keyless.lost_unknown
    assert any("which rows of public.keyless are lost" in one for one in case.found.doubts)
    assert 0 < keyless.rows < 1000


def test_rows_that_vanished_without_an_error_are_listed_and_a_table_that_grew_is_sound(
    case: Case, salvaged: Connection
) -> None:
    saved = {one.table: one for one in case.found.saved}

    assert set(saved["public.zeroed"].lost or ()) == keys_of_page(2)
    assert set(saved["public.cut"].lost or ()) == {str(n) for n in range(11 * ROWS_A_PAGE + 1, 1001)}
    assert "public.grown" not in saved
    assert saved["public.cut"].rows == 11 * ROWS_A_PAGE
    assert salvaged.execute("SELECT count(id), count(*) FROM grown").fetchone() == (1000, 1000)


def test_a_backup_is_asked_for_what_was_not_saved(case: Case) -> None:
    saved = {one.table: one for one in case.found.saved}

    for table in ("public.orders", "public.zeroed", "public.cut"):
        one = saved[table]
        assert one.in_backup == len(one.lost or ())
        with (case.found.folder / one.backup_file).open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert {row["id"] for row in rows} == set(one.lost or ())
    assert saved["public.documents"].in_backup is None
    assert case.found.backup_id


def test_a_row_whose_long_value_is_lost_is_kept_without_it(case: Case, salvaged: Connection) -> None:
    documents = next(one for one in case.found.saved if one.table == "public.documents")

    assert documents.rows == DOCUMENTS
    assert 1 <= len(documents.lost_values) <= 4
    lost = {int(one.row) for one in documents.lost_values}
    assert {one.column for one in documents.lost_values} == {"body"}
    rows = salvaged.execute("SELECT id, body = repeat(md5(id::text), 200) FROM documents ORDER BY id").fetchall()
    assert rows == [(n, None if n in lost else True) for n in range(1, DOCUMENTS + 1)]
    assert any("public.documents.body lost NOT NULL" in one for one in case.loaded.problems)


def test_the_new_database_is_whole_but_for_what_is_lost_and_says_what_it_misses(
    case: Case, salvaged: Connection
) -> None:
    loaded = case.loaded
    assert loaded.is_whole
    assert {(one.table, one.expected, one.found) for one in loaded.tables} == {
        (one.table, one.rows, one.rows) for one in case.found.saved
    }
    assert salvaged.execute("SELECT count(*) FROM lines").fetchone() == (ORDERS,)
    assert salvaged.execute("SELECT count(*) FROM tags").fetchone() == (5000,)
    names = {name for (name,) in salvaged.execute("SELECT indexname FROM pg_indexes WHERE schemaname = 'public'")}
    assert names >= {"orders_pkey", "orders_customer", "tags_tag"}
    assert any("lines_order_id_fkey of public.lines is NOT VALID" in one for one in loaded.problems)
    row = salvaged.execute("SELECT convalidated FROM pg_constraint WHERE conname = 'lines_order_id_fkey'").fetchone()
    assert row == (False,)


def test_the_guides_snippet_loses_readable_rows_and_the_evidence(case: Case) -> None:
    """In the examined original, whose pages are kept by now."""
    with connect(case.shop.access, "shop", purpose="test") as connection:
        with pytest.raises(psycopg.errors.DataCorrupted):
            connection.execute("SET enable_indexonlyscan = off; SELECT count(*) FROM orders")
        connection.execute("SET zero_damaged_pages = on")
        connection.execute("VACUUM FULL orders")
        row = connection.execute("SELECT count(*) FROM orders").fetchone()
        connection.execute("SET zero_damaged_pages = off")
        after = connection.execute("SELECT count(*) FROM orders").fetchone()
        orphans = connection.execute(
            "SELECT count(*) FROM lines WHERE NOT EXISTS (SELECT FROM orders o WHERE o.id = order_id)"
        ).fetchone()
    ours = next(one for one in case.found.saved if one.table == "public.orders")

    # No error is left to be seen, and three pages of rows are gone, two of which could be read.
    assert row == after == (ORDERS - 3 * ROWS_A_PAGE + 1,)
    assert orphans == (3 * ROWS_A_PAGE - 1,)
    assert ours.rows + ours.doubtful > ORDERS - 2 * ROWS_A_PAGE


def test_nothing_is_copied_while_damaged_pages_are_emptied_in_the_original(case: Case, tmp_path: Path) -> None:
    source = Source(access=case.shop.access, database="shop")
    with connect(case.shop.access, "shop", purpose="test") as connection:
        connection.execute("ALTER DATABASE shop SET zero_damaged_pages = on")
        try:
            with pytest.raises(RefusedError, match="readable rows included") as refused:
                look_at_original(source, TARGET)
            assert "ALTER DATABASE shop RESET zero_damaged_pages" in refused.value.hint
        finally:
            connection.execute("ALTER DATABASE shop RESET zero_damaged_pages")
    (tmp_path / "already").touch()
    with pytest.raises(InvalidInputError, match="is not empty"):
        examine(source, TARGET, Wish(folder=tmp_path), now=NOW)
    with pytest.raises(InvalidInputError, match="a server runs on"):
        examine(
            replace(source, data_folder=case.shop.cluster.layout.data), TARGET, Wish(folder=tmp_path / "new"), now=NOW
        )


@pytest.mark.parametrize("address", ["embedded"], indirect=True)
def test_nothing_is_copied_while_a_table_is_rewritten(access: ServerAccess, database: str) -> None:
    """VACUUM FULL makes the index anew, whose function takes its time in that session."""
    with connect(access, database, purpose="test") as rewriting, connect(access, database, purpose="test") as session:
        session.execute(
            "CREATE FUNCTION slow(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN"
            " IF current_setting('test.slow', true) = 'on' THEN PERFORM pg_sleep(60); END IF; RETURN n; END $$"
        )
        session.execute("CREATE TABLE t AS SELECT 1 AS id")
        session.execute("CREATE INDEX ON t (slow(id))")
        rewriting.execute("SET test.slow = 'on'")
        rewriting.pgconn.send_query(b"VACUUM FULL t")
        refused: list[RefusedError] = []

        def is_refused() -> bool:
            try:
                look_at_original(Source(access=access, database=database), Target(database=database))
            except RefusedError as exc:
                refused.append(exc)
            return bool(refused)

        wait_until(is_refused, "the rewrite is seen")
        assert "is being rewritten (VACUUM FULL or CLUSTER)" in refused[0].message
        assert f"SELECT pg_cancel_backend({rewriting.info.backend_pid})" in refused[0].hint
        rewriting.cancel_safe()
        while rewriting.pgconn.get_result() is not None:
            pass
        look_at_original(Source(access=access, database=database), Target(database=database))


def test_no_database_is_made_of_files_that_changed_or_of_a_damaged_catalogue(case: Case) -> None:
    (first, *others) = case.found.saved
    changed = replace(case.found, saved=(replace(first, rows_sha256="0" * 64), *others))
    broken = replace(case.found, relations=name_by_file([DAMAGED_CATALOGUE]))

    with pytest.raises(CouldNotVerifyError, match="is not what the examination wrote"):
        load_salvage(case.shop.access, changed, "never_made")
    with pytest.raises(RefusedError, match="would look whole and be wrong"):
        load_salvage(case.shop.access, broken, "never_made")
    with pytest.raises(RefusedError, match="exists already"):
        load_salvage(case.shop.access, case.found, "shop")
    with connect(case.shop.access, "postgres", purpose="test") as connection:
        names = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
    assert names == {"postgres", "template0", "template1", "shop", case.loaded.database}


def test_one_that_a_killed_run_left_half_is_made_anew_and_nobody_else_gets_in_before_it_is_whole(case: Case) -> None:
    assert case.open_meanwhile == {False}
    assert is_open_to_others(case.shop, case.loaded.database)
    query = "SELECT shobj_description(oid, 'pg_database'), datconnlimit FROM pg_database WHERE datname = %s"
    with connect(case.shop.access, "postgres", purpose="test") as connection:
        row = connection.execute(query, (case.loaded.database,)).fetchone()
    assert row == ("squizzle: what could be read of the damaged shop on 2027-01-31 02:00 UTC", -1)


def test_the_checksum_is_the_servers(case: Case) -> None:
    page = next(page for one in case.found.relations if one.name == "public.orders" for page in one.pages)
    content = (case.found.folder / page.kept_as).read_bytes()
    with connect(case.shop.access, "shop", purpose="test") as connection:
        connection.execute("CREATE EXTENSION pageinspect")
        row = connection.execute("SELECT page_checksum(%s, %s)", (content, page.block)).fetchone()
    assert row is not None
    assert row[0] & 0xFFFF == page_checksum(content, page.block)
