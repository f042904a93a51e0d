"""Queries before and after a change: what became worse is told, what did not is not, and no row is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.rehearsal.records import PlanChange
from squizzle.rehearsal.workload import Query, measure_workload, read_workload
from squizzle.rehearsal.workload_changes import compare_workload
from tests.support.scratch import new_database

LONG = timedelta(minutes=2)
SHOP = """
    CREATE TABLE item (id bigint PRIMARY KEY, code int NOT NULL, shade int NOT NULL, note text);
    INSERT INTO item SELECT n, n * 7, n % 1000, repeat('x', 100) FROM generate_series(1, 8000) AS n;
    CREATE INDEX item_code ON item (code);
    CREATE TABLE line (item bigint REFERENCES item DEFERRABLE INITIALLY DEFERRED);
    CREATE VIEW nothing AS SELECT 1 AS n;
    CREATE RULE nothing AS ON INSERT TO nothing DO INSTEAD NOTIFY told;
    VACUUM ANALYZE item
"""


@pytest.fixture
def shop(access: ServerAccess, control: Connection) -> Iterator[Connection]:
    with (
        new_database(control, sql.SQL("TEMPLATE template0")) as name,
        connect(access, name, purpose="test") as connection,
    ):
        for statement in SHOP.split(";"):
            connection.execute(statement.encode())
        yield connection


WORKLOAD = """
    SELECT note FROM item WHERE code = 700;       -- loses its index
    SELECT count(*) FROM item WHERE shade = 5;    -- gets one
    SELECT count(note) FROM item;                 -- loses its column
    SELECT * FROM item WHERE id = $1;
    SELECT * FROM item WHERE code = $1;
    WITH gone AS (DELETE FROM line RETURNING item) SELECT 'it''s ' || 5 FROM gone;
    INSERT INTO line VALUES (1);
    INSERT INTO line VALUES (-1);
    INSERT INTO nothing VALUES (1);
    SELECT 1 / 0
"""


def test_what_a_migration_does_to_queries(shop: Connection, tmp_path: Path) -> None:
    file = tmp_path / "workload.sql"
    file.write_text(WORKLOAD)
    queries = read_workload(file)

    before = measure_workload(shop, queries, runs=3, budget=LONG)
    again = measure_workload(shop, queries, runs=3, budget=LONG)
    assert not any(one.regressed for one in compare_workload(before, again, floor_ms=1000))

    shop.execute("DROP INDEX item_code; ALTER TABLE item DROP COLUMN note; CREATE INDEX item_shade ON item (shade)")
    shop.execute("ANALYZE item")
    after = measure_workload(shop, queries, runs=3, budget=LONG)
    code, shade, note, by_id, by_code, with_delete, good, orphan, rule, never = compare_workload(
        before, after, floor_ms=1000
    )

    assert (note.regressed, note.after_ms, note.why) == (True, None, 'no longer runs: column "note" does not exist')
    assert code.why == 'no longer runs: column "note" does not exist'
    assert (shade.regressed, shade.inconclusive) == (False, False)
    assert shade.before == "Aggregate (Seq Scan on public.item)"
    assert "Scan using item_shade" in shade.after
    assert compare_workload(before, after, floor_ms=0.01)[1].why.startswith("is faster by item_shade: ")
    assert (by_id.regressed, by_id.inconclusive) == (False, True)
    assert by_id.why == "has the same plan; its times cannot be compared: its values are not known"
    assert by_code.regressed
    assert by_code.why.startswith("reads public.item as a whole, for item_code is gone: ")
    assert (by_code.before, by_code.after) == ("Index Scan using item_code on public.item", "Seq Scan on public.item")
    assert (good.before, good.regressed, good.inconclusive) == ("Insert on public.line (Result)", False, False)
    assert orphan.why.startswith("does not run: insert or update on table")  # the check is not put off until COMMIT
    assert (rule.after, rule.why[:9], rule.regressed) == ("nothing", "as before", False)
    assert with_delete.query.endswith("SELECT … || … FROM gone")
    assert never.why == "does not run: division by zero; it did not before"
    assert shop.execute("SELECT count(*) FROM line").fetchone() == (0,)
    assert shop.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
    assert shop.execute("SHOW statement_timeout").fetchone() == ("0",)


def changes(shop: Connection, text: str, *ddl: str) -> PlanChange:
    query = Query(sql=text, label="q")
    before = measure_workload(shop, [query], budget=LONG)
    for statement in ddl:
        shop.execute(statement.encode())
    [change] = compare_workload(before, measure_workload(shop, [query], budget=LONG))
    return change


@pytest.mark.one_server
def test_a_dropped_index_is_noticed_however_small_the_copy_is(shop: Connection) -> None:
    change = changes(shop, "SELECT id FROM item WHERE code = 700", "DROP INDEX item_code")
    assert change.regressed
    assert change.why.startswith("reads public.item as a whole, for item_code is gone: ")


@pytest.mark.one_server
def test_a_trigger_that_takes_its_time_makes_an_insert_slower(shop: Connection) -> None:
    change = changes(
        shop,
        "INSERT INTO line VALUES (1)",
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(0.06); RETURN NULL; END$$",
        "CREATE TRIGGER slow AFTER INSERT ON line FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    assert change.regressed
    assert change.why.startswith("is slower: ")


@pytest.mark.one_server
def test_one_slow_run_among_several_is_noise(shop: Connection) -> None:
    shop.execute("CREATE SEQUENCE turn")
    query = Query(sql="SELECT pg_sleep(0.3) WHERE nextval('turn') % 3 = 2", label="q")
    [one] = measure_workload(shop, [query], runs=3, budget=LONG)
    assert one.ms is not None
    assert one.ms < 300
    assert shop.execute("SELECT nextval('turn')").fetchone() == (4,)  # what no rollback takes back


@pytest.mark.one_server
def test_a_query_that_runs_too_long_is_ended_and_the_others_are_measured(shop: Connection) -> None:
    queries = [
        Query(sql="SELECT 1", label="quick"),
        Query(sql="SELECT pg_sleep(600)", label="endless"),
        Query(sql="SELECT 2", label="last; COMMIT"),
        Query(sql="SELECT 3; DELETE FROM item", label="two"),
    ]
    quick, endless, last, two = measure_workload(shop, queries, budget=timedelta(seconds=1.2))
    assert quick.ms is not None
    assert (endless.is_cut, endless.ms) == (True, None)
    assert 100 <= endless.limit_ms <= 1200
    assert last.ms is not None
    assert two.refused == "cannot insert multiple commands into a prepared statement"
    [_, ended, *_] = compare_workload([quick, endless], [quick, endless])
    assert (ended.inconclusive, ended.regressed) == (True, False)
    assert ended.why.startswith("was not timed to its end: ended after")
    none = measure_workload(shop, queries[:1], budget=timedelta())
    assert [one.why for one in none] == ["no time was left for it"]
