"""What the tracer says of each statement is what PostgreSQL did, and the run itself is as without it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.analysis.locks.modes import LockMode
from squizzle.errors import MigrationFailedError
from squizzle.migrations.listener import Listener
from squizzle.migrations.operations import apply_versions, roll_back_versions
from squizzle.migrations.records import Direction, Policy, Timeouts
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from squizzle.rehearsal.records import RelationKind, ScriptTrace, TracedStatement
from squizzle.rehearsal.tracing import tracing
from tests.integration.migrations.conftest import Folder
from tests.support.alembic_project import Project
from tests.support.processes import wait_until
from tests.support.scratch import new_role

TABLES = """
    CREATE TABLE u (id int PRIMARY KEY);
    CREATE TABLE t (id int PRIMARY KEY, a int, c varchar(20), u_id int REFERENCES u);
    CREATE INDEX t_c ON t (c);
    INSERT INTO u SELECT generate_series(1, 10);
    INSERT INTO t SELECT g, g, 'c' || g, 1 + g % 10 FROM generate_series(1, 2000) g;
    CREATE TABLE p (k int) PARTITION BY RANGE (k);
    CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
    CREATE TABLE p2 PARTITION OF p DEFAULT
"""
DEFAULT = Policy()
PATIENT = Policy(timeouts=Timeouts(lock=timedelta(seconds=20)))
Trace = Callable[..., ScriptTrace]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "migrations")


@pytest.fixture
def trace(connection: Connection, database: str, folder: Folder) -> Trace:
    """Applies one more version and gives what was traced of it."""
    connection.execute(TABLES.encode())

    def run(up: str, *, policy: Policy = DEFAULT) -> ScriptTrace:
        folder.write(str(len(folder.read()) + 1), up)
        with tracing(connection) as tracer:
            apply_versions(
                connection,
                Target(database=database),
                folder.read(),
                policy=policy,
                listener=Listener(observer=tracer),
            )
            (one,) = tracer.take()
        return one

    return run


@pytest.fixture
def other(access: ServerAccess, database: str) -> Iterator[Connection]:
    with connect(access, database, purpose="somebody else") as opened:
        yield opened


def locks(statement: TracedStatement) -> dict[str, tuple[str, str]]:
    return {str(lock.relation): (lock.kind.value, lock.mode.value) for lock in statement.locks}


def modes(statement: TracedStatement) -> dict[str, str]:
    return {str(lock.relation): lock.mode.value for lock in statement.locks}


def rewrites(statement: TracedStatement) -> list[str]:
    return [str(relation) for relation in statement.rewrites]


def waiting_on(other: Connection, table: str) -> bool:
    query = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = %s::regclass AND NOT granted)"
    return other.execute(query, (table,)).fetchone() == (True,)


def test_locks_besides_that_on_the_named_table_are_traced(trace: Trace) -> None:
    dropped, parted = trace("ALTER TABLE t DROP COLUMN u_id; ALTER TABLE p ADD COLUMN x int").statements

    # The column is a foreign key, so the table that it points to cannot even be read meanwhile.
    assert locks(dropped) == {"public.t": ("table", "ACCESS EXCLUSIVE"), "public.u": ("table", "ACCESS EXCLUSIVE")}
    assert locks(parted) == {
        "public.p": ("partitioned table", "ACCESS EXCLUSIVE"),
        "public.p1": ("partition", "ACCESS EXCLUSIVE"),
        "public.p2": ("partition", "ACCESS EXCLUSIVE"),
    }


def test_rewrites_are_told_by_name_and_file(trace: Trace) -> None:
    wider, other_type, read = trace(
        "ALTER TABLE t ALTER c TYPE varchar(40); ALTER TABLE t ALTER a TYPE bigint; SELECT count(*) FROM t"
    ).statements

    # The index of a wider varchar has a new OID and its old file.
    assert (modes(wider)["public.t_c"], rewrites(wider)) == ("ACCESS EXCLUSIVE", [])
    assert rewrites(other_type) == ["public.t", "public.t_c", "public.t_pkey"]
    assert modes(other_type) == {"public.t_pkey": "ACCESS EXCLUSIVE"}
    assert other_type.rows_scanned >= 2000
    assert other_type.wal_bytes > 50_000
    assert (rewrites(read), read.locks) == ([], ())


def test_what_the_script_itself_made_is_left_out(trace: Trace) -> None:
    trace_of = trace(
        "CREATE TABLE made (id int PRIMARY KEY, b text); INSERT INTO made SELECT id, c FROM t;"
        " DROP INDEX t_c; CREATE INDEX t_c ON t (c, a); ALTER TABLE made ALTER id TYPE bigint"
    )

    create, insert, drop, index, alter = trace_of.statements
    assert (create.locks, alter.locks, alter.rewrites, index.rewrites) == ((), (), (), ())
    assert modes(insert) == {"public.t": "ACCESS SHARE", "public.t_c": "ACCESS SHARE", "public.t_pkey": "ACCESS SHARE"}
    assert modes(drop) == {"public.t": "ACCESS EXCLUSIVE", "public.t_c": "ACCESS EXCLUSIVE"}
    assert (insert.rows_scanned, insert.rows_changed) == (2000, 2000)
    assert [lock.relation.name for lock in trace_of.locks].count("t_c") == 2


def test_a_lock_is_told_once_unless_it_gets_stronger(trace: Trace) -> None:
    script = trace(
        "SET LOCAL enable_bitmapscan = off; UPDATE t SET a = 0 WHERE id <= 7; SET LOCAL enable_seqscan = off;"
        " DELETE FROM t WHERE id > 1995;"
        " LOCK TABLE t IN SHARE MODE; ALTER TABLE t ADD x int; UPDATE t SET a = 1"
    )

    assert [modes(one).get("public.t") for one in script.statements] == [
        None,
        "ROW EXCLUSIVE",
        None,
        None,
        "SHARE",
        "ACCESS EXCLUSIVE",
        None,
    ]
    by_scan, _set, by_index = script.statements[1:4]
    assert (by_scan.rows_scanned, by_scan.rows_changed) == (2000, 7)
    assert (by_index.rows_scanned, by_index.rows_changed) == (5, 5)
    first, _share, strongest = (lock for lock in script.locks if lock.relation.name == "t")
    assert first.since < strongest.since
    # All are held until the same commit.
    assert first.held > strongest.held
    assert abs(first.since + first.held - strongest.since - strongest.held) < timedelta(microseconds=10)
    assert first.since + first.held <= script.duration


def test_temporary_files_are_told_of_each_statement(trace: Trace) -> None:
    before, sort, after = trace(
        # As pg_dump's scripts do: nobody would hear of temporary files any more.
        "SET client_min_messages = warning; SET work_mem = '64kB'; SELECT 1;"
        "CREATE TABLE sorted AS SELECT repeat(c, 20) AS c FROM t ORDER BY md5(c); SELECT 1"
    ).statements[2:]

    assert (before.temp_bytes, after.temp_bytes) == (0, 0)
    assert sort.temp_bytes > 50_000


def test_waiting_is_told_of_the_lock_that_was_waited_for(trace: Trace, other: Connection) -> None:
    def end_after_a_while() -> None:
        wait_until(lambda: waiting_on(other, "u"), "the migration waits")
        other.execute("SELECT pg_sleep(0.3)")
        other.execute("COMMIT")

    other.execute("BEGIN; LOCK TABLE u IN ACCESS SHARE MODE")
    thread = threading.Thread(target=end_after_a_while)
    thread.start()
    (statement,) = trace("ALTER TABLE t DROP COLUMN u_id", policy=PATIENT).statements
    thread.join()

    waited = {lock.relation.name: lock.waited for lock in statement.locks}
    assert waited["t"] == timedelta()
    assert timedelta(seconds=0.15) < waited["u"] <= statement.duration
    held = {lock.relation.name: lock.held for lock in statement.locks}
    assert held["t"] > timedelta(seconds=0.3)
    assert held["u"] < held["t"] - waited["u"] + timedelta(milliseconds=1)


@pytest.mark.one_server
def test_tries_that_were_given_up_count_as_waiting_only(trace: Trace, other: Connection) -> None:
    def end_after_a_try() -> None:
        wait_until(lambda: waiting_on(other, "u"), "the migration waits")
        wait_until(lambda: not waiting_on(other, "u"), "it gives up")
        other.execute("COMMIT")

    other.execute("BEGIN; LOCK TABLE u IN ACCESS SHARE MODE")
    thread = threading.Thread(target=end_after_a_try)
    thread.start()
    policy = Policy(timeouts=Timeouts(lock=timedelta(seconds=0.2)))
    first, second = trace("UPDATE t SET a = 0; ALTER TABLE u ADD x int", policy=policy).statements
    thread.join()

    assert (first.number, first.rows_changed) == (1, 2000)
    (lock,) = second.locks
    assert (lock.relation.name, lock.mode) == ("u", LockMode.ACCESS_EXCLUSIVE)
    assert lock.waited > timedelta(seconds=0.05)
    # The last try did not wait.
    assert second.duration < lock.waited + lock.held


def test_statements_outside_transactions_are_watched_from_outside(trace: Trace) -> None:
    script = trace(
        "CREATE INDEX CONCURRENTLY t_a ON t (a); DROP INDEX CONCURRENTLY t_c; VACUUM p1; VACUUM FULL u;"
        " INSERT INTO u VALUES (11)"
    )

    index, drop, vacuum, full, insert = script.statements
    assert [one.is_lower_bound for one in script.statements] == [True] * 4 + [False]
    assert [one.transactional for one in script.statements] == [False] * 4 + [True]
    # On tables so small none of them would be seen if it did not have to wait for a moment.
    assert modes(index)["public.t"] == "SHARE UPDATE EXCLUSIVE"
    assert "public.t_a" not in modes(index)
    assert modes(drop)["public.t"] == "SHARE UPDATE EXCLUSIVE"
    assert modes(drop)["public.t_c"] in {"SHARE UPDATE EXCLUSIVE", "ACCESS EXCLUSIVE"}
    assert locks(vacuum)["public.p1"] == ("partition", "SHARE UPDATE EXCLUSIVE")
    assert modes(full)["public.u"] == "ACCESS EXCLUSIVE"
    assert rewrites(full) == ["public.u", "public.u_pkey"]
    assert (index.rows_scanned, index.rewrites) == (4000, ())
    assert (insert.rows_changed, insert.rows_scanned) == (1, 0)
    # That wait is nobody's.
    assert not any(lock.waited for lock in script.locks)


@pytest.mark.one_server
def test_batches_are_one_statement(trace: Trace) -> None:
    script = trace("-- squizzle: batch key=id size=500 pause=0ms target=1m\nUPDATE t SET a = a + 1; SELECT 1")

    update, select = script.statements
    assert (update.number, update.line, update.rows_changed, update.transactional) == (1, 2, 2000, True)
    assert modes(update)["public.t"] == "ROW EXCLUSIVE"
    assert update.rows_scanned >= 2000
    (lock,) = (lock for lock in update.locks if lock.relation.name == "t")
    assert lock.since + lock.held <= select.since
    assert lock.kind is RelationKind.TABLE


@pytest.mark.one_server
def test_the_way_back_is_traced_and_a_failure_leaves_what_ran(
    connection: Connection, database: str, folder: Folder, trace: Trace
) -> None:
    target = Target(database=database)
    trace("ALTER TABLE t ADD x int")
    folder.write("1", "ALTER TABLE t ADD x int", down="ALTER TABLE t DROP x")
    folder.write("2", "BEGIN; UPDATE u SET id = id; COMMIT; UPDATE t SET a = 0; ALTER TABLE t ADD x text")

    with tracing(connection) as tracer:
        roll_back_versions(connection, target, folder.read(), only="1", listener=Listener(observer=tracer))
        with pytest.raises(MigrationFailedError):
            apply_versions(connection, target, folder.read(), listener=Listener(observer=tracer))
        back, _again, failed = tracer.take()

    assert (failed.version, failed.direction, len(failed.statements)) == ("2", Direction.APPLY, 3)
    assert [modes(one).get("public.t") for one in failed.statements] == [None, "ROW EXCLUSIVE", None]
    assert (back.version, back.direction) == ("1", Direction.ROLLBACK)
    assert modes(back.statements[0]) == {"public.t": "ACCESS EXCLUSIVE"}
    assert tracer.take() == ()
    # The session is given back as it was, though nothing cleared it after the failure.
    asked = "SELECT current_setting('log_temp_files'), current_setting('client_min_messages')"
    assert connection.execute(asked).fetchone() == ("-1", "notice")


@pytest.mark.one_server
def test_a_script_runs_as_without_the_tracer(trace: Trace, connection: Connection) -> None:
    trace(
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; PREPARE mine AS SELECT 1; DROP INDEX t_c; EXECUTE mine;"
        " CREATE TABLE seen AS SELECT current_setting('transaction_isolation') AS level; SET ROLE pg_monitor; SELECT 1"
    )

    assert connection.execute("SELECT level FROM seen").fetchone() == ("serializable",)


@pytest.mark.one_server
def test_programs_are_traced_between_their_own_commits(connection: Connection, database: str, tmp_path: Path) -> None:
    connection.execute(TABLES.encode())
    project = Project(tmp_path / "alembic")
    project.revision(
        "aaaa1",
        'op.execute("UPDATE t SET a = 0")\n'
        "with op.get_context().autocommit_block():\n"
        '    op.execute("CREATE INDEX CONCURRENTLY t_a ON t (a)")\n'
        'op.add_column("t", sa.Column("x", sa.Integer))',
    )

    with tracing(connection) as tracer:
        apply_versions(connection, Target(database=database), project.read(), listener=Listener(observer=tracer))
        (script,) = tracer.take()

    update, index, column = script.statements
    assert [modes(one)["public.t"] for one in script.statements] == [
        "ROW EXCLUSIVE",
        "SHARE UPDATE EXCLUSIVE",
        "ACCESS EXCLUSIVE",
    ]
    assert [one.transactional for one in script.statements] == [True, False, True]
    assert (update.rows_changed, index.rows_scanned >= 2000, column.rows_scanned) == (2000, True, 0)
    # What the first statement locked was let go by the commit before the second.
    assert update.locks[0].since + update.locks[0].held < index.since + timedelta(milliseconds=1)


@pytest.mark.one_server
def test_without_the_right_to_hear_of_temporary_files_a_transaction_has_their_sum(
    access: ServerAccess, control: Connection, connection: Connection, database: str, folder: Folder
) -> None:
    connection.execute(TABLES.encode())
    with new_role(control, sql.SQL("LOGIN")) as role:
        connection.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(*map(sql.Identifier, (database, role))))
        connection.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(sql.Identifier(role)))
        connection.execute("GRANT SELECT ON t TO PUBLIC")
        folder.write(
            "1",
            "SET work_mem = '64kB'; CREATE TABLE sorted AS SELECT repeat(c, 20) AS c FROM t ORDER BY md5(c); SELECT 1",
        )
        weak = ServerAccess(host=access.host, port=access.port, user=role)
        with connect(weak, database, purpose="test") as session, tracing(session) as tracer:
            apply_versions(session, Target(database=database), folder.read(), listener=Listener(observer=tracer))
            (script,) = tracer.take()
        connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(role)))

    _setting, create, last = script.statements
    assert (create.temp_bytes, create.rows_changed) == (0, 2000)
    assert last.temp_bytes > 50_000


@pytest.mark.one_server
def test_a_script_that_takes_everything_back_is_traced_all_the_same(trace: Trace) -> None:
    script = trace(
        "DISCARD ALL; SET work_mem = '64kB'; CREATE TABLE sorted AS SELECT repeat(c, 20) AS c FROM t ORDER BY md5(c)"
    )

    assert [one.number for one in script.statements] == [2, 3]
    assert script.statements[-1].temp_bytes > 50_000
    assert modes(script.statements[-1])["public.t"] == "ACCESS SHARE"
