"""Relief on real servers: what is cancelled, what is cleaned, and what is told when it cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest
from psycopg import sql

from squizzle.errors import CouldNotVerifyError
from squizzle.health.ending import EndState
from squizzle.health.queries import find_regressions, read_baseline, read_query_stats, save_baseline
from squizzle.health.relief import Relief, ReliefPolicy, plan_relief, relieve, see_load
from squizzle.health.tables import clean_tables, read_tables
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import find_runtime, throwaway_cluster
from squizzle.postgres.identity import Target
from squizzle.rehearsal.workload import measure_workload, workload_of
from squizzle.rehearsal.workload_changes import compare_workload
from squizzle.reports.relief import relief_markdown
from squizzle.sweep.slower_queries import slower_queries
from tests.integration.conftest import access_to
from tests.integration.health.conftest import Clients
from tests.support.processes import wait_until

NOBODY: Callable[[str], None] = lambda _text: None  # noqa: E731


@pytest.fixture
def dead_rows(connection: Connection) -> None:
    """A table of which most row versions are dead, and that autovacuum leaves alone."""
    connection.execute("CREATE TABLE worn (id int, n int) WITH (autovacuum_enabled = false)")
    connection.execute("INSERT INTO worn SELECT i, 0 FROM generate_series(1, 2000) i")
    connection.execute("UPDATE worn SET n = 1")
    connection.execute("SELECT pg_stat_force_next_flush()")
    connection.execute("SELECT 1")


def dead_in(connection: Connection, name: str) -> int:
    connection.execute("SELECT pg_stat_force_next_flush()")
    return next(one.dead_rows for one in read_tables(connection) if one.name == name)


@pytest.mark.usefixtures("dead_rows")
def test_long_queries_are_cancelled_and_the_worst_table_is_cleaned(
    connection: Connection, target: Target, clients: Clients, access: ServerAccess
) -> None:
    slow = clients("report").begins("SELECT pg_sleep(600)")
    admin = clients("maintenance", user=access.user).begins("SELECT pg_sleep(600)")
    idle = clients("web")
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%%' AND state = 'active' AND datname = %s"
    wait_until(lambda: connection.execute(sessions, (target.database,)).fetchone() == (2,), "both sleep")
    load = see_load(connection, target)

    plan = plan_relief(load, ReliefPolicy(queries_longer_than=timedelta()))

    assert [one.session.pid for one in plan.queries] == [slow.pid]
    assert [one.who.split()[1] for one in plan.spared] == [str(admin.pid)]
    assert "is a superuser" in plan.spared[0].reason
    assert [str(one) for one in plan.tables] == ["public.worn"]
    assert load.regressions is None
    assert "CREATE EXTENSION IF NOT EXISTS pg_stat_statements" in load.not_compared
    said: list[str] = []
    done = relieve(connection, target, load, plan, say=said.append)
    assert [one.state for one in done.cancelled] == [EndState.CANCELLED]
    assert "canceling statement" in slow.ends()
    assert slow.lives
    assert idle.lives
    assert [(one.problem, one.after and one.after.dead_rows) for one in done.cleaned] == [("", 0)]
    assert any("public.worn: 2,000 dead rows before, 0 after" in one for one in said)
    assert done.problems == ()
    text = relief_markdown(done)
    assert "Not compared: queries are not counted" in text
    assert "VACUUM (ANALYZE)" in text
    # The same again has nothing to do.
    assert plan_relief(see_load(connection, target), ReliefPolicy()).is_empty
    connection.execute("SELECT pg_cancel_backend(%s)", (admin.pid,))
    admin.ends()


@pytest.mark.usefixtures("dead_rows")
def test_a_table_that_cannot_be_cleaned_is_told_with_who_is_in_the_way(
    connection: Connection,
    clients: Clients,
    access: ServerAccess,
    application_role: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("squizzle.health.tables._LOCK_TIMEOUT", timedelta(milliseconds=200))
    (worn,) = (one for one in read_tables(connection) if one.name == "worn")
    holder = clients("deploy", user=access.user).does("BEGIN", "LOCK TABLE worn IN SHARE UPDATE EXCLUSIVE MODE")

    (locked,) = clean_tables(connection, [worn], say=NOBODY)
    holder.does("ROLLBACK")
    (foreign,) = clean_tables(clients("stranger").connection, [worn], say=NOBODY)
    reader = clients("old snapshot", user=access.user).does(
        "BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT 1 FROM worn"
    )
    connection.execute("DELETE FROM worn WHERE id > 500")
    connection.execute("SELECT pg_stat_force_next_flush()")
    (kept,) = clean_tables(connection, [worn], say=NOBODY)

    assert "lock timeout" in locked.problem
    assert "deploy" in locked.problem
    assert f"{application_role} may not clean it" in foreign.problem
    assert kept.after is not None
    assert kept.after.dead_rows >= 1500
    load = see_load(connection, Target(database=connection.info.dbname))
    assert f"session {reader.pid} (old snapshot" in f"{load.horizon[0].kind} {load.horizon[0].name}"
    done = Relief(load=load, plan=plan_relief(load, ReliefPolicy()), cleaned=(kept,), horizon=load.horizon)
    assert "Dead rows that stayed are kept by:\n\n- session " in relief_markdown(done)
    reader.does("ROLLBACK")


@pytest.mark.usefixtures("dead_rows")
def test_after_a_reset_autovacuum_has_its_numbers_again(connection: Connection, target: Target) -> None:
    assert dead_in(connection, "worn") == 2000
    load = see_load(connection, target)
    plan = plan_relief(load, ReliefPolicy(tables=0, reset_statistics=True))

    done = relieve(connection, target, load, plan, say=NOBODY)

    assert done.reanalyzed == ("public.worn",)
    assert dead_in(connection, "worn") == 2000


@pytest.fixture(scope="module")
def counting() -> Iterator[ServerAccess]:
    """A server that counts queries."""
    settings = {"shared_preload_libraries": "pg_stat_statements", "fsync": "off"}
    with throwaway_cluster("queries", settings=settings, runtime=find_runtime()) as address:
        yield access_to(address)


def test_a_query_that_became_slower_since_the_baseline_is_named(counting: ServerAccess) -> None:
    with closing(connect(counting, "postgres", purpose="test")) as connection:
        with pytest.raises(CouldNotVerifyError) as no_extension:
            read_query_stats(connection)
        assert no_extension.value.hint == "run CREATE EXTENSION IF NOT EXISTS pg_stat_statements in this database"
        connection.execute("CREATE SCHEMA elsewhere; CREATE EXTENSION pg_stat_statements SCHEMA elsewhere")
        with pytest.raises(CouldNotVerifyError, match="no baseline"):
            read_baseline(connection)
        assert slower_queries(connection) == (), "nobody noted what they cost when all was well"
        connection.execute("CREATE TABLE pace (s float); INSERT INTO pace VALUES (0)")
        query = sql.SQL("SELECT pg_sleep(s), {} FROM pace")
        for number in range(20):
            connection.execute(query.format(number))
        save_baseline(connection, read_query_stats(connection), label="before 0042")
        assert find_regressions(read_baseline(connection), read_query_stats(connection)) == ()
        assert [one.is_true for one in slower_queries(connection)] == [False]

        connection.execute("UPDATE pace SET s = 0.02")
        for number in range(12):
            connection.execute(query.format(number))
        load = see_load(connection, Target(database="postgres"))

        assert load.regressions is not None
        assert load.baseline is not None
        assert load.baseline.label == "before 0042"
        (slower,) = load.regressions
        assert slower.query == "SELECT pg_sleep(s), $1 FROM pace"
        assert slower.calls == 12
        assert slower.now_ms > 20
        (alert,) = slower_queries(connection)
        assert alert.is_true
        assert alert.why.startswith("one kind; the worst took 0.")
        assert "pg_sleep" not in alert.why, "nothing of the application's in a message"
        report = relief_markdown(Relief(load=load, plan=plan_relief(load, ReliefPolicy())))
        assert "| `SELECT pg_sleep(s), $1 FROM pace` |" in report
        for number in range(12):
            save_baseline(connection, replace(read_query_stats(connection)), label=f"night {number}")
        assert connection.execute("SELECT count(*) FROM squizzle.query_baseline").fetchone() == (10,)
        assert read_baseline(connection).label == "night 11"
        connection.execute("DROP EXTENSION pg_stat_statements")
        assert [one.is_true for one in slower_queries(connection)] == [None]


def test_the_costliest_queries_of_an_application_are_planned_before_and_after(counting: ServerAccess) -> None:
    with closing(connect(counting, "postgres", purpose="test")) as connection:
        connection.execute("DROP EXTENSION IF EXISTS pg_stat_statements; CREATE EXTENSION pg_stat_statements")
        connection.execute("SELECT pg_stat_statements_reset()")
        connection.execute("CREATE TABLE shelf AS SELECT n AS id, n AS place FROM generate_series(1, 5000) AS n")
        connection.execute("CREATE INDEX shelf_place ON shelf (place); ANALYZE shelf")
        wide = ", ".join(f"{number} AS c{number}" for number in range(40))
        connection.execute(f"SELECT {wide}, pg_sleep(0.1) FROM shelf WHERE place = 7".encode())  # noqa: S608 - our own
        connection.execute("SELECT pg_sleep(0.2) AS squizzle")
        connection.execute("SELECT count(*), pg_sleep(0.05) FROM pg_class WHERE relname > '%s'")

        first, second = workload_of(connection, top=2)
        assert first.sql.endswith("FROM shelf WHERE place = $42")  # all of it, where people see the beginning
        assert first.has_parameters
        assert "pg_class" in second.sql
        assert all("squizzle" not in one.sql and one.sql[:6] in {"SELECT", "INSERT"} for one in workload_of(connection))

        before = measure_workload(connection, [first, second], budget=timedelta(minutes=1))
        connection.execute("DROP INDEX shelf_place")
        after = measure_workload(connection, [first, second], budget=timedelta(minutes=1))
        worse, same = compare_workload(before, after)
        assert worse.why.startswith("reads public.shelf as a whole, for shelf_place is gone: not timed")
        assert (same.regressed, same.inconclusive) == (False, True)
