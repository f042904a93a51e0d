"""Statements that run in batches: the same rows as whole, each exactly once, and nobody waits for more than a batch."""

# ruff: noqa: S608 - statements are what these tests are about

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from squizzle.errors import (
    ChecksumMismatchError,
    DatabaseState,
    InvalidInputError,
    LockTimeoutError,
    MigrationFailedError,
    RollbackFailedError,
    StandbyBehindError,
)
from squizzle.migrations.approvals import NO_APPROVAL
from squizzle.migrations.batch_records import BatchedStatement, BatchPolicy, BatchProgress
from squizzle.migrations.batches.run import BatchSurroundings, run_in_batches
from squizzle.migrations.batches.standbys import StandbyLag, StandbyReader
from squizzle.migrations.failures import next_step
from squizzle.migrations.history import begin_row, ensure_history, read_history
from squizzle.migrations.layouts.files import checksum
from squizzle.migrations.listener import Listener
from squizzle.migrations.operations import apply_versions, preview_apply, roll_back_versions
from squizzle.migrations.planning import plan_apply
from squizzle.migrations.records import Labels, Migration, Outcome, Plan, Policy, Timeouts
from squizzle.migrations.row_saver import RowSaver
from squizzle.migrations.tries import LockTries
from squizzle.migrations.units import UnitKind
from squizzle.postgres.access import Connection, ServerAccess, connect, second_session
from squizzle.postgres.identity import Target
from tests.integration.migrations.conftest import Folder
from tests.support.processes import wait_until

QUICK = "pause=0ms target=1m"


def batched(connection: Connection, target: Target, folder: Folder, **options: object) -> tuple[BatchedStatement, ...]:
    """Apply everything; what the batched statements of the last version did."""
    outcomes = apply_versions(connection, target, folder.read(), **options).outcomes  # type: ignore[arg-type]
    return outcomes[-1].batched


def all_of(connection: Connection, table: str, columns: str = "*") -> list[tuple[object, ...]]:
    return connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2".encode()).fetchall()


# --- the same rows as whole ----------------------------------------------------------------------------------------

# Values of each type in random order, with some that need quotes, signs, fractions or a calendar.
KEYS = {
    "bigint": "(g - 500) * 9000000000000",
    "smallint": "g - 500",
    "numeric": "(g - 500) / 7.0",
    "double precision": "(g - 500) / 7.0",
    "uuid": "md5(g::text)::uuid",
    "text": "chr(65 + g % 60) || '''\\ %s' || g",
    'text COLLATE "C"': "chr(65 + g % 60) || 'é' || g",
    "varchar(40)": "md5(g::text)",
    "char(9)": "'x' || g",
    "timestamptz": "timestamptz '2024-03-31 00:59:59.123456+00' + g * interval '7 minutes'",
    "timestamp": "timestamp '2024-12-11' - g * interval '1 hour'",
    "date": "date '0001-01-01 BC' + g * 500",
    "interval": "(g - 500) * interval '1 hour'",
    "bytea": "decode(md5(g::text), 'hex')",
    "inet": "inet '10.0.0.0' + g",
    "boolean": "g % 2 = 0",
    "mood": "(ARRAY['sad', 'so so', 'glad'])[1 + g % 3]::mood",
}


def test_any_key_that_a_btree_orders_gives_the_same_rows_as_the_whole_statement(
    connection: Connection, target: Target, folder: Folder
) -> None:
    make = "".join(
        f"CREATE TABLE a{number} AS SELECT ({value})::{kind.partition(' COLLATE')[0]} AS id, g % 5 AS g, 0 AS n"
        f" FROM generate_series(1, 300) g ORDER BY random();"
        f" ALTER TABLE a{number} ALTER id TYPE {kind}; CREATE INDEX ON a{number} (id);"
        f" CREATE TABLE b{number} AS TABLE a{number};"
        for number, (kind, value) in enumerate(KEYS.items())
    )
    change = "".join(
        f"-- squizzle: batch key=id size=40 {QUICK}\nUPDATE a{number} SET n = n + 1 WHERE g = 1 OR g > 2;\n"
        for number in range(len(KEYS))
    )
    folder.write("1", f"CREATE TYPE mood AS ENUM ('sad', 'so so', 'glad'); {make}")
    # A script may have set how times are written.
    folder.write("2", f"SET datestyle = 'SQL, DMY'; SET timezone = 'Asia/Kolkata';\n{change}")

    done = batched(connection, target, folder)

    assert len(done) == len(KEYS)
    assert all(one.finished and one.batches > 1 for one in done)
    # A later run reads it with whatever DateStyle it has.
    assert done[list(KEYS).index("timestamptz")].until == ("2024-04-01T17:29:59.123456+05:30",)
    for number, kind in enumerate(KEYS):
        connection.execute(f"UPDATE b{number} SET n = n + 1 WHERE g = 1 OR g > 2".encode())
        assert all_of(connection, f"a{number}", "id::text, g, n") == all_of(
            connection, f"b{number}", "id::text, g, n"
        ), kind


SETUP = """
    CREATE TABLE src (id int PRIMARY KEY, g int, name text);
    INSERT INTO src SELECT g, nullif(g % 4, 0), 'n' || g FROM generate_series(1, 400) g;
    CREATE TABLE t (tenant int, id int, src int, n int NOT NULL DEFAULT 0, name text, PRIMARY KEY (tenant, id));
    INSERT INTO t SELECT g % 3, g, nullif(g % 400, 7), 0, NULL FROM generate_series(1, 1000) g;
    CREATE TABLE copied (id int PRIMARY KEY, name text, n int DEFAULT 0);
    INSERT INTO copied SELECT g, 'old' FROM generate_series(1, 150) g;
    CREATE TABLE parent (id int NOT NULL, n int DEFAULT 0) PARTITION BY RANGE (id);
    CREATE TABLE part_1 PARTITION OF parent FOR VALUES FROM (1) TO (200);
    CREATE TABLE part_2 (n int DEFAULT 0, gone int, id int NOT NULL);
    ALTER TABLE part_2 DROP COLUMN gone;
    ALTER TABLE parent ATTACH PARTITION part_2 FOR VALUES FROM (200) TO (1000);
    CREATE INDEX ON parent (id DESC);
    INSERT INTO parent (id) SELECT generate_series(1, 500);
    CREATE TABLE old (id int PRIMARY KEY, n int DEFAULT 0);
    CREATE TABLE young (PRIMARY KEY (id)) INHERITS (old);
    INSERT INTO old SELECT generate_series(1, 100); INSERT INTO young SELECT generate_series(50, 150);
    CREATE MATERIALIZED VIEW seen AS SELECT id, name FROM src; CREATE UNIQUE INDEX ON seen (id);
"""
STATEMENTS = {
    "a composite key": ("tenant,id", "UPDATE t SET n = n + 1 WHERE src IS NULL OR n = 0 AND id > 100 -- why"),
    "a part of a composite key": ("tenant", "UPDATE t SET n = n + 1"),
    "a join": ("x.tenant,x.id", "UPDATE t AS x SET name = s.name, n = n + 1 FROM src s WHERE s.id = x.src AND s.g > 1"),
    "a subquery": ("tenant,id", "UPDATE t SET name = (SELECT name FROM src WHERE src.id = t.src) WHERE id % 2 = 0"),
    "WITH": (
        "tenant,id",
        "WITH s AS (SELECT id FROM src WHERE g = 1) UPDATE t SET n = n + 1 FROM s WHERE s.id = t.src",
    ),
    "DELETE with USING": ("tenant,id", "DELETE FROM t USING src s WHERE s.id = t.src AND (s.g = 1 OR s.g IS NULL)"),
    "DELETE of everything": ("id", "DELETE FROM copied"),
    "INSERT": (
        "src.id",
        "INSERT INTO copied (id, name) SELECT id + 1000, upper(name) FROM src WHERE g IS NULL OR g = 2",
    ),
    "ON CONFLICT": (
        "s.id",
        "INSERT INTO copied SELECT s.id, s.name FROM src s ON CONFLICT (id) DO UPDATE SET n = copied.n + 1, name = excluded.name",
    ),
    "INSERT from a materialized view": ("id", "INSERT INTO copied SELECT id + 5000, name FROM seen RETURNING id"),
    "partitions": ("id", "UPDATE parent SET n = n + 1 WHERE id % 3 = 0 OR id > 450"),
    "tables that inherit": ("id", "UPDATE old SET n = n + 1"),
    "ONLY": ("id", "UPDATE ONLY old SET n = n + 1"),
}
TABLES = ("src", "t", "copied", "parent", "old", "young")


def test_any_statement_in_batches_does_what_it_does_as_a_whole(
    connection: Connection, database: str, folder: Folder
) -> None:
    for schema in ("whole", "parts"):
        connection.execute(f"CREATE SCHEMA {schema}; SET search_path = {schema}; {SETUP}; RESET search_path".encode())
    script = "".join(f"-- squizzle: batch key={key} size=60 {QUICK}\n{sql}\n;\n" for key, sql in STATEMENTS.values())
    folder.write("1", script)

    done = batched(connection, Target(database=database, schema="parts"), folder)
    connection.execute(f"SET search_path = whole; {script}".encode())

    for table in TABLES:
        assert all_of(connection, f"parts.{table}") == all_of(connection, f"whole.{table}"), table
    by_name = dict(zip(STATEMENTS, done, strict=True))
    # "tenant" has three values, each more rows than the size: so many batches as values.
    assert by_name["a part of a composite key"].batches == 3
    assert (by_name["tables that inherit"].until, by_name["ONLY"].until) == (("150",), ("100",))
    assert all(one.finished and one.batches > 1 for one in done)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    keys=st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 9)), max_size=30),
    size=st.integers(1, 12),
    low=st.integers(-6, 6),
)
def test_any_rows_in_batches_of_any_size_are_each_changed_once(
    connection: Connection, target: Target, keys: list[tuple[int, int]], size: int, low: int
) -> None:
    connection.execute(
        "DROP TABLE IF EXISTS t; CREATE TABLE t (a int, b int, n int DEFAULT 0); CREATE INDEX ON t (a, b)"
    )
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO t VALUES (%s, %s)", keys)

    progress = run(
        connection,
        target,
        f"-- squizzle: batch key=a,b size={size} {QUICK}\nUPDATE t SET n = n + 1 WHERE a > {low} OR b = 3",
    )

    wrong = connection.execute(
        "SELECT count(*) FROM t WHERE n <> CASE WHEN a > %s OR b = 3 THEN 1 ELSE 0 END", (low,)
    ).fetchone()
    assert wrong == (0,)
    assert progress.rows == sum(a > low or b == 3 for a, b in keys)


def one_migration(script: str) -> Migration:
    labels = Labels(up="1_change/up.sql")
    return Migration(
        version="1",
        name="change",
        up_sql=script,
        down_sql=None,
        verify_sql=None,
        checksum=checksum(script),
        source=Path("1_change"),
        labels=labels,
    )


def run(
    connection: Connection,
    target: Target,
    script: str,
    *,
    policy: Policy = Policy(),  # noqa: B008 - frozen
    listener: Listener = Listener(),  # noqa: B008 - frozen
    read_lags: Callable[[Connection], tuple[StandbyLag, ...]] | None = None,
) -> BatchedStatement:
    """One batched statement without all that is around it."""
    migration = one_migration(script)
    (step,) = plan_apply([migration], read_history(connection, "nowhere"))
    ensure_history(connection, target.schema)
    row_id = begin_row(connection, target.schema, step, None, NO_APPROVAL)
    around = BatchSurroundings(
        connection=connection,
        plan=Plan(database=target.database, schema=target.schema, schema_digest="", steps=(step,), policy=policy),
        step=step,
        row_id=row_id,
        locks=LockTries(
            connection,
            policy.timeouts,
            name=step.migration.version,
            next_step=partial(next_step, step),
            watch=None,
            on_wait=listener.on_wait,
        ),
        watch=None,
        listener=listener,
        saver=RowSaver(connection, step, target.schema, row_id),
    )
    assert step.progress is not None
    done = run_in_batches(around, step.units[0], step.progress, state=DatabaseState.UNTOUCHED, read_lags=read_lags).of(
        0
    )
    assert done is not None
    return done


# --- what ends it --------------------------------------------------------------------------------------------------

COUNTED = (
    "CREATE TABLE t (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT generate_series(1, 1000)"
)


def counts(connection: Connection, table: str = "t") -> list[tuple[object, ...]]:
    return connection.execute(f"SELECT n, count(*) FROM {table} GROUP BY 1 ORDER BY 1".encode()).fetchall()


def test_rows_added_behind_the_end_while_it_runs_are_not_touched_so_it_ends(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write(
        "1",
        f"{COUNTED}; CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO t SELECT max(id) + 1 FROM t; RETURN NULL; END $$;"
        " CREATE TRIGGER more AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION more()",
    )
    folder.write("2", f"-- squizzle: batch key=id size=100 {QUICK}\nUPDATE t SET n = n + 1")

    (done,) = batched(connection, target, folder)

    assert counts(connection) == [(0, 1000), (1, 1000)]
    assert (done.rows, done.until) == (1000, ("1000",))


def test_tables_of_any_size_are_done_to_their_last_row(connection: Connection, target: Target) -> None:
    for rows, batches in ((0, 0), (1, 1), (100, 1), (101, 2), (300, 2)):
        connection.execute("DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0)")
        connection.execute("INSERT INTO t SELECT generate_series(1, %s)", (rows,))

        done = run(connection, target, f"-- squizzle: batch key=id size=100 {QUICK}\nUPDATE t SET n = n + 1")

        assert counts(connection) == ([(1, rows)] if rows else [])
        assert (done.rows, done.batches, done.finished) == (rows, batches, True)
        assert read_history(connection, "public").rows[-1].statements_done == 1


# --- what stops it, and going on -----------------------------------------------------------------------------------


def test_a_batch_that_fails_leaves_those_before_it_and_the_next_run_goes_on_behind_them(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", f"{COUNTED}; ALTER TABLE t ADD CONSTRAINT low CHECK (id <> 555 OR n = 0)")
    folder.write(
        "2",
        "CREATE TABLE before (a int);\n-- squizzle: batch key=id size=100 pause=0ms target=1ms\nUPDATE t SET n = n + 1;\nCREATE TABLE behind (a int)",
        verify="SELECT bool_and(n = 1) FROM t",
    )

    with pytest.raises(MigrationFailedError) as caught:
        apply_versions(connection, target, folder.read())

    (kept,) = history_progress(connection).statements
    assert caught.value.database_state is DatabaseState.CHANGED
    assert (
        f"(batch {kept.batches + 1}, behind id = {kept.after[0]}; {kept.rows} rows are done and stay)"
        in caught.value.message
    )  # type: ignore[index]
    assert "goes on behind" in caught.value.hint
    assert 0 < kept.rows < 555
    assert counts(connection) == [(0, 1000 - kept.rows), (1, kept.rows)]
    assert connection.execute("SELECT to_regclass('before'), to_regclass('behind')").fetchone() == ("before", None)

    connection.execute("ALTER TABLE t DROP CONSTRAINT low")
    told: list[str] = []
    (done,) = batched(connection, target, folder, listener=Listener(on_progress=told.append))

    assert counts(connection) == [(1, 1000)]
    assert (done.rows, done.finished) == (1000, True)
    assert told[0].startswith(f"2_change/up.sql:3: goes on behind id = {kept.after[0]}; ")  # type: ignore[index]
    assert connection.execute("SELECT to_regclass('behind')").fetchone() == ("behind",)


def history_progress(connection: Connection) -> BatchProgress:
    progress = read_history(connection, "public").rows[-1].batch_progress
    assert progress is not None
    return progress


def test_a_run_that_goes_on_has_the_settings_of_the_script(
    connection: Connection, access: ServerAccess, database: str, target: Target, folder: Folder
) -> None:
    folder.write(
        "1",
        f"CREATE SCHEMA app; SET search_path = app; {COUNTED}; ALTER TABLE t ADD CONSTRAINT low CHECK (id < 500 OR n = 0);"
        f" SET search_path = public; {COUNTED}",
    )
    folder.write("2", f"SET search_path = app;\n-- squizzle: batch key=id size=100 {QUICK}\nUPDATE t SET n = n + 1")
    with pytest.raises(MigrationFailedError):
        apply_versions(connection, target, folder.read())
    connection.execute("ALTER TABLE app.t DROP CONSTRAINT low")

    with connect(access, database, purpose="the next run") as again:
        apply_versions(again, target, folder.read())

    assert counts(connection, "app.t") == [(1, 1000)]
    assert counts(connection, "public.t") == [(0, 1000)]


def test_a_script_that_was_changed_after_its_first_batches_is_not_continued(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", f"{COUNTED}; ALTER TABLE t ADD CONSTRAINT low CHECK (id < 500 OR n = 0)")
    script = f"-- squizzle: batch key=id size=100 {QUICK}\nUPDATE t SET n = n + 1"
    folder.write("2", script)
    with pytest.raises(MigrationFailedError):
        apply_versions(connection, target, folder.read())
    before = counts(connection)

    for changed in (script.replace("n + 1", "n + 2"), script.replace("key=id", "key=n")):
        folder.write("2", changed)
        with pytest.raises(ChecksumMismatchError):
            apply_versions(connection, target, folder.read())

    assert counts(connection) == before


def test_batches_that_were_begun_on_one_table_do_not_go_on_with_another(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", f"{COUNTED}; ALTER TABLE t ADD CONSTRAINT low CHECK (id < 500 OR n = 0); CREATE SCHEMA aside")
    folder.write("2", f"-- squizzle: batch key=id size=100 {QUICK}\nUPDATE t SET n = n + 1")
    with pytest.raises(MigrationFailedError):
        apply_versions(connection, target, folder.read())
    # The same name finds another table: pg_catalog is asked first, as a temporary schema would be.
    connection.execute("ALTER TABLE t SET SCHEMA aside; CREATE TABLE public.u AS TABLE aside.t")
    database = connection.info.dbname
    connection.execute(f"ALTER DATABASE {database} SET search_path = aside, public".encode())

    with (
        second_session(connection, purpose="again") as again,
        pytest.raises(InvalidInputError, match=r"begun on public\.t by id, and now .* aside\.t"),
    ):
        apply_versions(again, target, folder.read())


def test_a_rollback_in_batches_that_failed_goes_on_where_it_was(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", COUNTED)
    mark = f"-- squizzle: batch key=id size=100 {QUICK}\n"
    folder.write("2", f"{mark}UPDATE t SET n = n + 1", down=f"{mark}UPDATE t SET n = n - 1;\nSELECT 1 / 0")
    apply_versions(connection, target, folder.read())
    connection.execute("ALTER TABLE t ADD CONSTRAINT low CHECK (id < 500 OR n = 1)")

    with pytest.raises(RollbackFailedError, match="rows are done and stay") as caught:
        roll_back_versions(connection, target, folder.read(), only="2")
    assert "it goes on behind that" in caught.value.hint
    connection.execute("ALTER TABLE t DROP CONSTRAINT low")
    with pytest.raises(RollbackFailedError, match="division by zero"):
        roll_back_versions(connection, target, folder.read(), only="2")
    assert counts(connection) == [(0, 1000)]

    folder.write("2", f"{mark}UPDATE t SET n = n + 1", down=f"{mark}UPDATE t SET n = n - 1;\nSELECT 1")
    roll_back_versions(connection, target, folder.read(), only="2")

    assert counts(connection) == [(0, 1000)]
    assert read_history(connection, "public").current == "1"


# --- other sessions ------------------------------------------------------------------------------------------------

SLOW = """
    CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(0.001); RETURN NEW; END $$;
    CREATE TRIGGER slowly BEFORE UPDATE ON t FOR EACH ROW WHEN (NEW.n = 1 AND NEW.id <= 200) EXECUTE FUNCTION slowly();
"""


def test_whoever_waits_for_a_batch_gets_through_behind_it_and_the_next_ones_are_smaller(
    connection: Connection, other: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", f"{COUNTED}; {SLOW}")
    apply_versions(connection, target, folder.read())
    folder.write("2", f"-- squizzle: batch key=id size=200 {QUICK}\nUPDATE t SET n = n + 1")
    waits: list[str] = []
    outcomes: list[Outcome] = []
    runner = threading.Thread(
        target=lambda: outcomes.extend(
            apply_versions(connection, target, folder.read(), listener=Listener(on_wait=waits.append)).outcomes
        )
    )
    runner.start()
    wait_until(lambda: is_updating(other), "a batch is on its way")
    other.execute("UPDATE t SET n = n + 100 WHERE id = 1")
    still_running = other.execute("SELECT count(*) FROM t WHERE n % 100 = 0").fetchone()
    runner.join()

    assert still_running is not None
    assert still_running[0] >= 600  # it did not wait for more than two batches of 200
    assert counts(connection) == [(1, 999), (101, 1)]
    assert any("1 session waited for a batch" in text for text in waits)
    (done,) = outcomes[0].batched
    assert done.batches == 8  # 200, 100, 110, 121, 133, 146, 161 and the rest; without the wait 200, 400, 400


def is_updating(other: Connection) -> bool:
    """Whether a batch holds a row lock on the first row."""
    with other.transaction():
        return other.execute("SELECT 1 FROM t WHERE id = 1 FOR UPDATE SKIP LOCKED").fetchone() is None


def test_a_row_that_somebody_holds_is_tried_again_in_smaller_batches_until_the_budget_is_used_up(
    connection: Connection, other: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", COUNTED)
    apply_versions(connection, target, folder.read())
    folder.write("2", "-- squizzle: batch key=id size=400 pause=0ms target=50ms\nUPDATE t SET n = n + 1")
    policy = Policy(timeouts=Timeouts(budget=timedelta(milliseconds=600), attempts=100))

    with other.transaction():
        other.execute("UPDATE t SET n = 0 WHERE id = 300")
        with pytest.raises(LockTimeoutError) as caught:
            apply_versions(connection, target, folder.read(), policy=policy)
    (kept,) = history_progress(connection).statements
    apply_versions(connection, target, folder.read(), policy=policy)

    assert str(other.info.backend_pid) in caught.value.message
    assert kept.rows > 0  # rows before the one that is held were done in smaller batches
    assert caught.value.database_state is DatabaseState.CHANGED
    assert counts(connection) == [(1, 1000)]


# --- pace ----------------------------------------------------------------------------------------------------------


def test_the_size_follows_the_target(connection: Connection, target: Target) -> None:
    connection.execute(COUNTED)
    quick = run(connection, target, "-- squizzle: batch key=id size=60 pause=0ms target=1m\nUPDATE t SET n = n + 1")
    connection.execute("TRUNCATE squizzle_history")
    slow = run(connection, target, "-- squizzle: batch key=id size=400 pause=0ms target=1ms\nUPDATE t SET n = n + 1")

    assert quick.batches == 5  # 60, 120, 240, 480, 100
    assert slow.batches > 5  # 400, 200, 100, 50 …
    # The least is 50; a batch that was quick for once lets the next one be a little larger.
    assert 50 <= slow.size < 100
    assert counts(connection) == [(2, 1000)]


@pytest.mark.parametrize("comes_closer", [True, False])
def test_no_batch_begins_while_a_standby_is_too_far_behind(
    connection: Connection, target: Target, *, comes_closer: bool
) -> None:
    connection.execute(COUNTED)
    waits: list[str] = []
    looks: list[object] = []

    def read_lags(asked: Connection) -> tuple[StandbyLag, ...]:
        looks.append(asked.execute("SELECT sum(n) FROM t").fetchone())
        behind = len(looks) == 2 or (len(looks) > 2 and not comes_closer)
        return (StandbyLag(name="replica_1", lag=timedelta(seconds=11 if behind else 1)),)

    def go() -> BatchedStatement:
        policy = Policy(timeouts=Timeouts(budget=timedelta(milliseconds=300)))
        script = f"-- squizzle: batch key=id size=400 {QUICK}\nUPDATE t SET n = n + 1"
        return run(
            connection, target, script, policy=policy, listener=Listener(on_wait=waits.append), read_lags=read_lags
        )

    if comes_closer:
        assert go().rows == 1000
        assert looks == [(0,), (400,), (400,)]
    else:
        with pytest.raises(
            StandbyBehindError, match=r"replica_1 is 11\.0 s behind .* 400 rows in 1 batches are done"
        ) as caught:
            go()
        assert caught.value.database_state is DatabaseState.CHANGED
        assert "goes on behind" in caught.value.hint
        assert counts(connection) == [(0, 600), (1, 400)]
    assert waits == [
        "1_change/up.sql:2: standby replica_1 is 11.0 s behind (limit 10 s); waiting before the next batch"
    ]


def test_a_server_without_standbys_has_none_to_wait_for(connection: Connection) -> None:
    assert StandbyReader()(connection) == ()


# --- what is refused before the first batch ------------------------------------------------------------------------

TABLES_TO_REFUSE = """
    CREATE TABLE plain (id int, n int);
    CREATE TABLE partial (id int, n int); CREATE INDEX ON partial (id) WHERE n > 0;
    CREATE TABLE second (id int, n int); CREATE INDEX ON second (n, id);
    CREATE TABLE hashed (id int, n int); CREATE INDEX ON hashed USING hash (id);
    CREATE TABLE patterns (id text, n int); CREATE INDEX ON patterns (id text_pattern_ops);
    CREATE TABLE collated (id text, n int); CREATE INDEX ON collated (id COLLATE "C");
    CREATE TABLE expression (id int, n int); CREATE INDEX ON expression ((id + 0));
    CREATE TABLE mixed (id int, n int); CREATE INDEX ON mixed (id, n DESC);
    CREATE TABLE nulls (id int, n int); CREATE INDEX ON nulls (id); INSERT INTO nulls VALUES (1), (NULL);
    CREATE TABLE parent (id int PRIMARY KEY, n int); CREATE TABLE child () INHERITS (parent);
    CREATE VIEW seen AS TABLE plain;
    CREATE TABLE top (id int PRIMARY KEY, n int) PARTITION BY RANGE (id);
    CREATE TABLE half PARTITION OF top FOR VALUES FROM (1) TO (9);
    CREATE AGGREGATE mine (int) (sfunc = int4pl, stype = int);
"""
REFUSED = {
    "no index": (
        "id",
        "UPDATE plain SET n = 1",
        "plain has no index that id leads",
    ),
    "a partial index": ("id", "UPDATE partial SET n = 1", "partial has no index that id leads"),
    "an index that begins with another column": ("id", "UPDATE second SET n = 1", "second has no index that id leads"),
    "columns in another order": ("id,n", "DELETE FROM second", "second has no index that id, n leads"),
    "an index without order": ("id", "UPDATE hashed SET n = 1", "hashed has no index that id leads"),
    "an index of another order": ("id", "UPDATE patterns SET n = 1", "patterns has no index that id leads"),
    "an index of another collation": ("id", "UPDATE collated SET n = 1", "collated has no index that id leads"),
    "an index on an expression": ("id", "UPDATE expression SET n = 1", "expression has no index that id leads"),
    "an index with two directions": ("id,n", "DELETE FROM mixed", "mixed has no index that id, n leads"),
    "a child without the index": ("id", "UPDATE parent SET n = 1", "child has no index that id leads"),
    "a null in the key": ("id", "UPDATE nulls SET n = 1", r"public\.nulls has rows whose id is null"),
    "no such table": ("id", "UPDATE nothing SET n = 1", "there is no table nothing"),
    "no such column": ("idd", "UPDATE parent SET n = 1", r"public\.parent has no column idd"),
    "a view": ("id", "UPDATE seen SET n = 1", r"public\.seen is no table"),
    "a copy of a partition into its table": ("id", "INSERT INTO top SELECT id + 1 FROM half", "could be copied again"),
    "an aggregate of somebody": (
        "id",
        "INSERT INTO plain SELECT mine(id) FROM top",
        "the aggregate mine would give one row",
    ),
}


def test_a_key_that_is_slow_or_misses_rows_is_refused_with_the_table_and_what_to_do(
    connection: Connection, target: Target
) -> None:
    connection.execute(TABLES_TO_REFUSE)

    for key, statement, reason in REFUSED.values():
        with pytest.raises(InvalidInputError, match=rf"^1_change/up\.sql:2: .*({reason})") as caught:
            run(connection, target, f"-- squizzle: batch key={key}\n{statement}")
        assert caught.value.hint
        assert caught.value.database_state is DatabaseState.UNTOUCHED
        assert history_progress(connection).statements == ()

    assert run(connection, target, "-- squizzle: batch key=id\nUPDATE ONLY parent SET n = 1").finished


def test_a_verify_script_that_does_not_hold_keeps_the_batches_and_is_checked_again(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", COUNTED)
    script = f"-- squizzle: batch key=id size=300 {QUICK}\nUPDATE t SET n = n + 1"
    folder.write("2", script, verify="SELECT n = 2 FROM t")

    with pytest.raises(MigrationFailedError, match="does not verify") as caught:
        apply_versions(connection, target, folder.read())
    assert caught.value.database_state is DatabaseState.CHANGED

    folder.write("2", script, verify="SELECT n = 1 FROM t")
    apply_versions(connection, target, folder.read())
    assert counts(connection) == [(1, 1000)]


# --- without a mark ------------------------------------------------------------------------------------------------

AUTOMATIC = Policy(batches=BatchPolicy(automatic_rows=500, size=100, pause=timedelta(), target=timedelta(minutes=1)))


def test_the_policy_runs_big_updates_and_deletes_in_batches_and_nothing_else(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", f"{COUNTED}; CREATE TABLE bare AS TABLE t; ANALYZE")
    apply_versions(connection, target, folder.read())
    folder.write(
        "2",
        "UPDATE t SET n = n + 1;\nDELETE FROM t WHERE id = 7;\nINSERT INTO bare SELECT * FROM t;\nUPDATE bare SET n = 5;"
        "\nDELETE FROM t WHERE id > 100;\nUPDATE nothing SET n = 1",
    )
    notes: list[str] = []

    def kinds(policy: Policy) -> list[tuple[UnitKind, int]]:
        (planned,) = preview_apply(
            connection, target, folder.read(), policy=policy, listener=Listener(on_progress=notes.append)
        )
        return [(unit.kind, unit.ends_at) for unit in planned.units]

    assert kinds(Policy()) == [(UnitKind.TRANSACTION, 6)]
    assert kinds(AUTOMATIC) == [
        (UnitKind.BATCHES, 1),
        (UnitKind.TRANSACTION, 4),
        (UnitKind.BATCHES, 5),
        (UnitKind.TRANSACTION, 6),
    ]
    assert notes == ["about 1,000 rows, but it runs whole: 2_change/up.sql:4: bare has no primary key"]


def test_what_the_policy_began_in_batches_goes_on_in_them_when_the_policy_would_not_any_more(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", f"{COUNTED}; ALTER TABLE t ADD CONSTRAINT low CHECK (id < 500 OR n = 0); ANALYZE t")
    apply_versions(connection, target, folder.read())
    folder.write("2", "UPDATE t SET n = n + 1")
    with pytest.raises(MigrationFailedError):
        apply_versions(connection, target, folder.read(), policy=AUTOMATIC)
    assert counts(connection) != [(0, 1000)]
    connection.execute("ALTER TABLE t DROP CONSTRAINT low")

    apply_versions(connection, target, folder.read(), policy=Policy())

    assert counts(connection) == [(1, 1000)]


# --- the history of an earlier version -----------------------------------------------------------------------------


def test_an_old_history_gets_its_column_without_making_its_readers_wait(
    connection: Connection, other: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", COUNTED)
    apply_versions(connection, target, folder.read())
    connection.execute("ALTER TABLE squizzle_history DROP COLUMN batch_progress")
    folder.write("2", f"-- squizzle: batch key=id size=300 {QUICK}\nUPDATE t SET n = n + 1")
    short = Policy(timeouts=replace(Timeouts(), budget=timedelta(milliseconds=100)))

    with other.transaction():
        other.execute("SELECT count(*) FROM squizzle_history")
        with pytest.raises(LockTimeoutError, match=r"bring public\.squizzle_history up to date"):
            apply_versions(connection, target, folder.read(), policy=short)
    apply_versions(connection, target, folder.read(), policy=short)

    assert history_progress(connection).statements[0].rows == 1000
