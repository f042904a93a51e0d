"""One script after the other: what is left when it works, when it fails, and when the session is lost."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest

from squizzle.errors import (
    ConnectionFailedError,
    DatabaseState,
    InvalidInputError,
    LockTimeoutError,
    MigrationFailedError,
    RefusedError,
    RollbackFailedError,
    SquizzleError,
)
from squizzle.migrations.executor import execute_plan
from squizzle.migrations.history import History, read_history
from squizzle.migrations.listener import Listener
from squizzle.migrations.operations import apply_versions, roll_back_versions, verify_versions
from squizzle.migrations.planning import plan_apply
from squizzle.migrations.records import Direction, HistoryRow, Outcome, Plan, Policy, RowState, Timeouts
from squizzle.migrations.session import LOCK_KEYS, exclusive
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from squizzle.proof.digests import digest_schema
from tests.integration.migrations.conftest import Folder

Look = Callable[..., set[str]]
Rows = Callable[..., list[HistoryRow]]


def states(rows: list[HistoryRow]) -> list[tuple[str, Direction, bool | None]]:
    return [(row.version, row.direction, row.success) for row in rows]


APPLY, ROLLBACK = Direction.APPLY, Direction.ROLLBACK


# --- what works ----------------------------------------------------------------------------------------------------


def test_versions_are_applied_in_order_and_each_is_told_when_it_is_done(
    connection: Connection, target: Target, folder: Folder, look: Look, rows_of: Rows
) -> None:
    folder.write("9", "CREATE TABLE nine (a int)")
    folder.write("10", "ALTER TABLE nine ADD COLUMN b int; CREATE TABLE ten (a int)")
    told: list[Outcome] = []

    report = apply_versions(connection, target, folder.read(), listener=Listener(on_done=told.append))

    assert [outcome.version for outcome in report.outcomes] == ["9", "10"]
    assert told == list(report.outcomes)
    assert all(outcome.duration > timedelta() and outcome.direction is APPLY for outcome in told)
    assert look(connection) == {"nine", "ten"}
    assert states(rows_of(connection)) == [("9", APPLY, True), ("10", APPLY, True)]
    assert report.schema_digest == digest_schema(connection, schema="public").logical
    assert apply_versions(connection, target, folder.read()).outcomes == ()


def test_per_cent_signs_and_placeholders_run_as_they_are_written(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write(
        "1",
        "CREATE TABLE t (a text DEFAULT '%s %(x)s %%'); INSERT INTO t DEFAULT VALUES;"
        " INSERT INTO t SELECT 'b' WHERE 7 % 4 = 3; DO $$ BEGIN RAISE NOTICE '%', '%s'; END $$;",
        verify="SELECT count(*) = 1 FROM t WHERE a LIKE '%\\%s%' AND 5 % 3 = 2",
    )

    apply_versions(connection, target, folder.read())

    assert connection.execute("SELECT a FROM t ORDER BY a").fetchall() == [("%s %(x)s %%",), ("b",)]


def test_a_script_without_statements_is_applied(connection: Connection, target: Target, folder: Folder) -> None:
    folder.write("1", "-- nothing yet\n", down="")

    apply_versions(connection, target, folder.read())
    roll_back_versions(connection, target, folder.read(), only="1")

    assert states(list(read_history(connection, "public").rows)) == [("1", APPLY, True), ("1", ROLLBACK, True)]


# --- a transactional script that fails -----------------------------------------------------------------------------


def failed(kind: type[SquizzleError], run: Callable[[], object], state: DatabaseState) -> SquizzleError:
    with pytest.raises(SquizzleError) as caught:
        run()
    assert type(caught.value) is kind
    assert caught.value.database_state is state
    assert caught.value.hint
    return caught.value


def test_a_failing_up_script_leaves_nothing_and_the_next_try_works(
    connection: Connection, target: Target, folder: Folder, look: Look, rows_of: Rows
) -> None:
    folder.write("1", "CREATE TABLE kept (a int)")
    folder.write("2", "CREATE TABLE gone (a int);\nINSERT INTO kept VALUES (1);\nSELECT 1 / 0;")

    error = failed(
        MigrationFailedError, lambda: apply_versions(connection, target, folder.read()), DatabaseState.UNTOUCHED
    )

    assert error.message == "could not apply 2: 2_change/up.sql:3: SELECT 1 / 0: division by zero"
    assert look(connection) == {"kept"}
    assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    assert states(rows_of(connection)) == [("1", APPLY, True), ("2", APPLY, False)]
    assert rows_of(connection)[1].error == error.message

    folder.write("2", "CREATE TABLE mended (a int)")
    apply_versions(connection, target, folder.read())
    assert look(connection) == {"kept", "mended"}
    assert read_history(connection, "public").in_state(RowState.FAILED) == ()


WRONG_VERIFICATIONS = {
    "a row that is false": ("SELECT a = 1 FROM t", "1 of 2 rows are not true"),
    "a row that is null": ("SELECT NULL::boolean", "1 of 1 rows are not true"),
    "no row": ("SELECT true FROM t WHERE a = 7", "no row came back"),
    "an error": ("SELECT nothing FROM t", 'column "nothing" does not exist'),
    "the second query": ("SELECT true;\n\nSELECT false", "1 of 1 rows are not true"),
}


@pytest.mark.parametrize(("verify", "problem"), WRONG_VERIFICATIONS.values(), ids=WRONG_VERIFICATIONS.keys())
def test_a_script_that_does_not_verify_is_rolled_back(
    connection: Connection, target: Target, folder: Folder, look: Look, verify: str, problem: str
) -> None:
    folder.write("1", "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2)", verify=verify)

    error = failed(
        MigrationFailedError, lambda: apply_versions(connection, target, folder.read()), DatabaseState.UNTOUCHED
    )

    assert "version 1 does not verify: 1_change/verify.sql:" in error.message
    assert problem in error.message
    assert look(connection) == set()
    assert read_history(connection, "public").applied() == {}


@pytest.mark.parametrize(
    "verify",
    ["SELECT a < 3 FROM t", "SELECT true, false", "SELECT 0", "DO $$ BEGIN END $$", "SELECT a FROM t WHERE false", ""],
)
def test_a_query_of_one_boolean_must_be_true_and_anything_else_must_only_run(
    connection: Connection, target: Target, folder: Folder, verify: str
) -> None:
    folder.write("1", "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2)", verify=verify)

    assert apply_versions(connection, target, folder.read()).outcomes


def test_a_constraint_that_fails_at_commit_leaves_nothing(
    connection: Connection, target: Target, folder: Folder, look: Look, rows_of: Rows
) -> None:
    folder.write(
        "1",
        "CREATE TABLE parent (id int PRIMARY KEY);"
        " CREATE TABLE child (p int REFERENCES parent DEFERRABLE INITIALLY DEFERRED); INSERT INTO child VALUES (1)",
    )

    error = failed(
        MigrationFailedError, lambda: apply_versions(connection, target, folder.read()), DatabaseState.UNTOUCHED
    )

    assert "at commit" in error.message
    assert "foreign key" in error.message
    assert look(connection) == set()
    assert states(rows_of(connection)) == [("1", APPLY, False)]


def test_a_statement_that_takes_too_long_is_stopped(
    connection: Connection, target: Target, folder: Folder, look: Look
) -> None:
    folder.write("1", "CREATE TABLE t (a int); SELECT pg_sleep(30)")
    short = Timeouts(lock=timedelta(milliseconds=50), statement=timedelta(milliseconds=200))

    error = failed(
        MigrationFailedError,
        lambda: apply_versions(connection, target, folder.read(), policy=Policy(timeouts=short)),
        DatabaseState.UNTOUCHED,
    )

    assert "statement timeout" in error.message
    assert look(connection) == set()


def test_a_lock_that_somebody_holds_is_not_waited_for_longer_than_asked(
    connection: Connection, other: Connection, target: Target, folder: Folder, look: Look
) -> None:
    folder.write("1", "CREATE TABLE t (a int)")
    apply_versions(connection, target, folder.read())
    folder.write("2", "CREATE TABLE u (a int); ALTER TABLE t ADD COLUMN b int")
    short = Timeouts(lock=timedelta(milliseconds=100), statement=timedelta(seconds=20), budget=timedelta(seconds=1))

    with other.transaction():
        other.execute("LOCK TABLE t IN ACCESS SHARE MODE")
        error = failed(
            LockTimeoutError,
            lambda: apply_versions(connection, target, folder.read(), policy=Policy(timeouts=short)),
            DatabaseState.UNTOUCHED,
        )

    assert error.retryable
    assert "LOCK TABLE t IN ACCESS SHARE MODE" in error.message  # who blocks, and with what
    who = rf"session {other.info.backend_pid} \(squizzle somebody else, \w+\) is idle in transaction for [\d.]+ s,"
    assert re.search(rf"{who} its transaction is open for [\d.]+ s: LOCK", error.message)
    assert "2_change/up.sql:1: ALTER TABLE t ADD COLUMN b int" in error.message
    assert look(connection) == {"t"}
    apply_versions(connection, target, folder.read(), policy=Policy(timeouts=short))
    assert look(connection) == {"t", "u"}


# --- down scripts --------------------------------------------------------------------------------------------------


def test_a_failing_down_script_leaves_the_version_applied(
    connection: Connection, target: Target, folder: Folder, look: Look, rows_of: Rows
) -> None:
    folder.write("1", "CREATE TABLE t (a int)", down="DROP TABLE t; DROP TABLE nowhere")
    apply_versions(connection, target, folder.read())
    before = digest_schema(connection, schema="public")

    error = failed(
        RollbackFailedError,
        lambda: roll_back_versions(connection, target, folder.read(), only="1"),
        DatabaseState.UNTOUCHED,
    )

    assert error.code == 7
    assert "1 is still applied" in error.hint
    assert look(connection) == {"t"}
    assert digest_schema(connection, schema="public") == before
    assert states(rows_of(connection)) == [("1", APPLY, True), ("1", ROLLBACK, False)]
    assert read_history(connection, "public").current == "1"

    folder.write("1", "CREATE TABLE t (a int)", down="DROP TABLE t")
    roll_back_versions(connection, target, folder.read(), only="1")
    assert look(connection) == set()
    assert read_history(connection, "public").current is None


def test_newer_versions_stay_rolled_back_when_an_older_one_fails(
    connection: Connection, target: Target, folder: Folder, look: Look
) -> None:
    folder.write("1", "CREATE TABLE one (a int)", down="DROP TABLE one")
    folder.write("2", "CREATE TABLE two (a int)", down="DROP TABLE nowhere")
    folder.write("3", "CREATE TABLE three (a int)", down="DROP TABLE three")
    apply_versions(connection, target, folder.read())

    error = failed(
        RollbackFailedError,
        lambda: roll_back_versions(connection, target, folder.read(), to="1"),
        DatabaseState.UNTOUCHED,
    )

    assert "roll back 2" in error.message
    assert look(connection) == {"one", "two"}
    assert read_history(connection, "public").current == "2"


def test_nothing_is_rolled_back_when_a_down_script_is_missing(
    connection: Connection, target: Target, folder: Folder, look: Look, rows_of: Rows
) -> None:
    folder.write("1", "CREATE TABLE one (a int)", down="DROP TABLE one")
    folder.write("2", "CREATE TABLE two (a int)")
    folder.write("3", "CREATE TABLE three (a int)", down="DROP TABLE three")
    apply_versions(connection, target, folder.read())

    failed(
        RollbackFailedError,
        lambda: roll_back_versions(connection, target, folder.read(), to="1"),
        DatabaseState.UNTOUCHED,
    )

    assert look(connection) == {"one", "two", "three"}
    assert len(rows_of(connection)) == 3


# --- what one script leaves in the session -------------------------------------------------------------------------

PROBE = """
CREATE TABLE probe AS
SELECT current_user::text AS who, session_user::text AS session,
       (SELECT jsonb_object_agg(name, setting) FROM pg_settings WHERE name IN
         ('search_path', 'lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout', 'work_mem',
          'default_transaction_read_only', 'session_replication_role', 'row_security', 'client_encoding', 'TimeZone',
          'default_transaction_isolation', 'check_function_bodies', 'role', 'application_name')) AS settings,
       coalesce(current_setting('shop.mode', true), '') AS own,
       to_regclass('pg_temp.leftover') IS NULL AS no_temporary_table,
       (SELECT count(*) FROM pg_prepared_statements) AS prepared,
       (SELECT count(*) FROM pg_cursors WHERE name <> '') AS cursors,
       (SELECT count(*) FROM pg_listening_channels()) AS channels;
"""

LEAKS = {
    "search_path": "CREATE SCHEMA elsewhere; SET search_path = elsewhere",
    "an empty search_path": "SELECT pg_catalog.set_config('search_path', '', false)",
    "timeouts": "SET lock_timeout = 0; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0",
    "settings": "SET work_mem = '77MB'; SET TimeZone = 'Asia/Tokyo'; SET client_encoding = 'LATIN1'",
    "row_security": "SET row_security = off; SET check_function_bodies = off",
    "replication role": "SET session_replication_role = replica",
    "read-only from now on": "SET default_transaction_read_only = on",
    "isolation": "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "a setting of its own": "SET shop.mode = 'strict'",
    "a name": "SET application_name = 'nobody'",
    "a role": "SET ROLE pg_monitor",
    "another user": "SET SESSION AUTHORIZATION {role}",
    "a temporary table": "CREATE TEMPORARY TABLE leftover (a int)",
    "a prepared statement": "PREPARE q AS SELECT 1",
    "a cursor": "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "a channel": "LISTEN shop",
    "DISCARD": "DISCARD PLANS; DISCARD SEQUENCES; DISCARD TEMP; RESET ALL; DEALLOCATE ALL; CLOSE ALL; UNLISTEN *",
}


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS.keys())
def test_nothing_of_a_script_leaks_into_the_next_one(
    connection: Connection, target: Target, folder: Folder, role: str, leak: str
) -> None:
    folder.write("1", PROBE.replace("probe", "clean"))
    folder.write("2", leak.format(role=role))
    folder.write("3", PROBE)

    apply_versions(connection, target, folder.read())

    (clean,) = connection.execute("SELECT to_jsonb(c) FROM clean c").fetchall()
    (found,) = connection.execute("SELECT to_jsonb(p) FROM public.probe p").fetchall()
    assert found == clean
    assert found[0]["settings"]["lock_timeout"] == "50"
    assert found[0]["no_temporary_table"]


def test_the_caller_gets_a_clean_session_back(connection: Connection, target: Target, folder: Folder) -> None:
    folder.write("1", "SET search_path = pg_catalog; SET ROLE pg_monitor; CREATE TEMPORARY TABLE leftover (a int)")

    apply_versions(connection, target, folder.read())

    assert connection.execute("SELECT current_user = session_user, to_regclass('pg_temp.leftover')").fetchone() == (
        True,
        None,
    )
    assert connection.execute("SELECT current_setting('search_path')").fetchone() == ('"$user", public',)


def test_a_script_that_may_not_write_the_history_any_more_is_still_recorded(
    connection: Connection, target: Target, folder: Folder, rows_of: Rows
) -> None:
    folder.write("1", "CREATE TABLE t (a int); SET ROLE pg_monitor")
    folder.write("2", "SET ROLE pg_monitor; SELECT 1 / 0")

    failed(MigrationFailedError, lambda: apply_versions(connection, target, folder.read()), DatabaseState.UNTOUCHED)

    assert states(rows_of(connection)) == [("1", APPLY, True), ("2", APPLY, False)]


# --- who controls the transaction ----------------------------------------------------------------------------------


def test_a_commit_in_a_verify_script_is_refused_before_anything_runs(
    connection: Connection, target: Target, folder: Folder, look: Look
) -> None:
    folder.write("1", "CREATE TABLE first (a int)")
    folder.write("2", "CREATE TABLE t (a int)", verify="SELECT true;\nCOMMIT")

    failed(InvalidInputError, lambda: apply_versions(connection, target, folder.read()), DatabaseState.UNTOUCHED)

    assert look(connection) == set()


def test_a_script_with_its_own_transaction_is_kept_or_undone_as_a_whole(
    connection: Connection, target: Target, folder: Folder, look: Look, rows_of: Rows
) -> None:
    folder.write("1", "BEGIN; CREATE TABLE kept (a int); COMMIT;")
    folder.write("2", "BEGIN; CREATE TABLE undone (a int); SELECT 1 / 0; COMMIT;")

    failed(MigrationFailedError, lambda: apply_versions(connection, target, folder.read()), DatabaseState.UNTOUCHED)

    assert look(connection) == {"kept"}
    assert states(rows_of(connection)) == [("1", APPLY, True), ("2", APPLY, False)]


def test_a_script_with_two_transactions_goes_on_behind_the_one_that_was_committed(
    connection: Connection, target: Target, folder: Folder, look: Look, rows_of: Rows
) -> None:
    folder.write(
        "1", "BEGIN; CREATE TABLE a (a int); COMMIT; BEGIN; CREATE TABLE b (a int); INSERT INTO c SELECT 1; COMMIT;"
    )
    failed(MigrationFailedError, lambda: apply_versions(connection, target, folder.read()), DatabaseState.CHANGED)
    assert look(connection) == {"a"}
    assert rows_of(connection)[-1].statements_done == 1

    connection.execute("CREATE TABLE c (a int)")
    apply_versions(connection, target, folder.read())

    assert look(connection) == {"a", "b", "c"}
    assert connection.execute("SELECT count(*) FROM c").fetchone() == (1,)


def test_rows_of_a_dump_reach_their_table(connection: Connection, target: Target, folder: Folder) -> None:
    folder.write(
        "1",
        "\\restrict x\nCREATE TABLE t (a int, b text);\nCOPY t (a, b) FROM stdin;\n1\tit's;\n2\t\\N\n\\.\n\\unrestrict x\n",
    )

    apply_versions(connection, target, folder.read())

    assert connection.execute("SELECT a, b FROM t ORDER BY a").fetchall() == [(1, "it's;"), (2, None)]


def test_an_enum_value_can_be_added_and_used_in_one_script(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", "CREATE TYPE e AS ENUM ('a')")
    folder.write("2", "ALTER TYPE e ADD VALUE 'b'; CREATE TABLE t (v e DEFAULT 'b'); INSERT INTO t DEFAULT VALUES")

    apply_versions(connection, target, folder.read())

    assert connection.execute("SELECT v::text FROM t").fetchall() == [("b",)]


HIDDEN = "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1 AS case; END; END"


@pytest.mark.parametrize("after", ["", "; SELECT 1 / 0"], ids=["and works", "and fails"])
def test_a_commit_that_only_the_server_can_see_is_never_called_untouched(
    connection: Connection, target: Target, folder: Folder, look: Look, rows_of: Rows, after: str
) -> None:
    # The first END ends the body (CASE is a label), so the second one is a COMMIT; a splitter cannot know that.
    folder.write("1", f"CREATE TABLE t (a int);\n{HIDDEN}{after}")

    error = failed(
        MigrationFailedError, lambda: apply_versions(connection, target, folder.read()), DatabaseState.CHANGED
    )

    assert "1_change/up.sql:2 ended the transaction" in error.message
    assert look(connection) == {"t"}
    assert states(rows_of(connection)) == [("1", APPLY, False)]


def test_what_would_end_the_transaction_from_inside_a_query_fails_and_leaves_nothing(
    connection: Connection, target: Target, folder: Folder, look: Look
) -> None:
    commits = "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$"
    folder.write("1", f"CREATE TABLE t (a int); {commits}; SELECT f()")

    failed(MigrationFailedError, lambda: apply_versions(connection, target, folder.read()), DatabaseState.UNTOUCHED)

    assert look(connection) == set()


def test_savepoints_of_a_script_work(connection: Connection, target: Target, folder: Folder, look: Look) -> None:
    folder.write(
        "1",
        "CREATE TABLE t (a int); SAVEPOINT s; CREATE TABLE u (a int); ROLLBACK TO SAVEPOINT s; RELEASE SAVEPOINT s",
    )

    apply_versions(connection, target, folder.read())

    assert look(connection) == {"t"}


@pytest.mark.parametrize("copy", ["COPY t FROM STDIN", "COPY t TO STDOUT"])
def test_copying_through_the_client_is_refused_before_anything_runs(
    connection: Connection, target: Target, folder: Folder, look: Look, copy: str
) -> None:
    folder.write("1", "CREATE TABLE first (a int)")
    folder.write("2", f"CREATE TABLE t (a int);\n{copy};\n1\n2\n")

    failed(InvalidInputError, lambda: apply_versions(connection, target, folder.read()), DatabaseState.UNTOUCHED)

    assert look(connection) == set()


# --- scripts outside a transaction ---------------------------------------------------------------------------------


def test_an_index_is_built_concurrently_and_dropped_again(
    connection: Connection, target: Target, folder: Folder, look: Look
) -> None:
    folder.write("1", "CREATE TABLE t (a int)", down="DROP TABLE t")
    folder.write(
        "2",
        "-- outside a transaction\nCREATE INDEX CONCURRENTLY i ON t (a);",
        down="DROP INDEX CONCURRENTLY i",
        verify="SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass",
    )

    apply_versions(connection, target, folder.read())
    assert look(connection) == {"t", "i"}
    assert read_history(connection, "public").applied()["2"].statements_done == 1

    roll_back_versions(connection, target, folder.read(), only="2")
    assert look(connection) == {"t"}


@pytest.mark.parametrize(
    "sql",
    [
        "VACUUM t",
        "VACUUM (ANALYZE)",
        "REINDEX TABLE CONCURRENTLY t",
        "REINDEX (VERBOSE) SCHEMA public",
        "CLUSTER",
        "CLUSTER VERBOSE",
        "ALTER TABLE parted DETACH PARTITION part CONCURRENTLY",
    ],
)
def test_what_postgresql_refuses_in_a_transaction_runs_outside_of_one(
    connection: Connection, target: Target, folder: Folder, sql: str
) -> None:
    connection.execute("CREATE TABLE t (a int PRIMARY KEY); CREATE TABLE parted (a int) PARTITION BY LIST (a)")
    connection.execute("CREATE TABLE part PARTITION OF parted FOR VALUES IN (1)")
    folder.write("1", sql)

    apply_versions(connection, target, folder.read())

    assert read_history(connection, "public").current == "1"


@pytest.mark.parametrize(
    "sql",
    [
        "REFRESH MATERIALIZED VIEW CONCURRENTLY m",
        'CREATE INDEX "concurrently" ON t (a)',
        "CREATE INDEX concurrently_built ON t (a)",
        "ANALYZE t",
        "REINDEX TABLE t",
        "CLUSTER t USING t_pkey",
        "ALTER TABLE parted DETACH PARTITION part",
        "ALTER TYPE mood ADD VALUE 'great'",
    ],
)
def test_what_only_looks_like_it_stays_in_the_transaction(
    connection: Connection, target: Target, folder: Folder, look: Look, sql: str
) -> None:
    connection.execute("CREATE TABLE t (a int PRIMARY KEY); CREATE TABLE parted (a int) PARTITION BY LIST (a)")
    connection.execute("CREATE TABLE part PARTITION OF parted FOR VALUES IN (1); CREATE TYPE mood AS ENUM ('ok')")
    connection.execute("CREATE MATERIALIZED VIEW m AS SELECT 1 AS a; CREATE UNIQUE INDEX m_a ON m (a)")
    folder.write("1", f"CREATE TABLE made (a int); {sql}; SELECT 1 / 0")
    there = look(connection)

    failed(MigrationFailedError, lambda: apply_versions(connection, target, folder.read()), DatabaseState.UNTOUCHED)
    assert look(connection) == there

    folder.write("1", f"CREATE TABLE made (a int); {sql}")
    apply_versions(connection, target, folder.read())
    assert "made" in look(connection)


MIXED = """\
INSERT INTO log VALUES ('one');
INSERT INTO log VALUES ('two');
CREATE INDEX CONCURRENTLY i ON later (a);
INSERT INTO log VALUES ('four');
INSERT INTO much_later VALUES ('five');
INSERT INTO log VALUES ('six');
"""


def log(connection: Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT what FROM log ORDER BY ctid")]


def test_a_script_outside_a_transaction_goes_on_behind_what_finished_however_often_it_fails(
    connection: Connection, target: Target, folder: Folder, rows_of: Rows
) -> None:
    connection.execute("CREATE TABLE log (what text)")
    folder.write("1", MIXED)

    def run() -> object:
        return apply_versions(connection, target, folder.read())

    error = failed(MigrationFailedError, run, DatabaseState.CHANGED)
    assert (
        '1_change/up.sql:3: CREATE INDEX CONCURRENTLY i ON later (a): relation "later" does not exist' in error.message
    )
    assert "goes on behind them" in error.hint
    assert rows_of(connection)[-1].statements_done == 2
    assert log(connection) == ["one", "two"]

    # The cause is not mended: nothing runs twice, and the count is not lost.
    failed(MigrationFailedError, run, DatabaseState.CHANGED)
    assert rows_of(connection)[-1].statements_done == 2
    assert log(connection) == ["one", "two"]

    # Now it comes further: what is left behind the index is one piece, of which nothing is kept when it fails.
    connection.execute("CREATE TABLE later (a int)")
    error = failed(MigrationFailedError, run, DatabaseState.CHANGED)
    assert "1_change/up.sql:5" in error.message
    assert rows_of(connection)[-1].statements_done == 3
    assert log(connection) == ["one", "two"]

    connection.execute("CREATE TABLE much_later (what text)")
    run()
    assert log(connection) == ["one", "two", "four", "six"]
    assert connection.execute("SELECT count(*) FROM much_later").fetchone() == (1,)
    assert states(rows_of(connection)) == [("1", APPLY, False)] * 3 + [("1", APPLY, True)]
    assert read_history(connection, "public").half_done() == {}


def test_a_half_done_script_is_rolled_back_by_its_down_script_as_often_as_it_takes(
    connection: Connection, target: Target, folder: Folder, look: Look
) -> None:
    connection.execute("CREATE TABLE t (a int); CREATE TABLE log (what text)")
    up = "CREATE INDEX CONCURRENTLY i ON t (a); CREATE INDEX CONCURRENTLY j ON nowhere (a)"
    folder.write("1", up, down="DROP INDEX CONCURRENTLY nowhere")
    failed(MigrationFailedError, lambda: apply_versions(connection, target, folder.read()), DatabaseState.CHANGED)
    assert "i" in look(connection)

    with pytest.raises(RollbackFailedError):
        roll_back_versions(connection, target, folder.read(), only="1")

    folder.write("1", up, down="DROP INDEX CONCURRENTLY i")
    roll_back_versions(connection, target, folder.read(), only="1")
    assert look(connection) == {"t", "log"}
    folder.write("1", "CREATE INDEX CONCURRENTLY i ON t (a)")
    apply_versions(connection, target, folder.read())
    assert look(connection) == {"t", "log", "i"}


def test_a_down_script_that_stops_half_way_says_that_something_changed(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write(
        "1",
        "CREATE TABLE t (a int)",
        down="DROP INDEX CONCURRENTLY IF EXISTS i; DROP TABLE t; DROP INDEX CONCURRENTLY nowhere",
    )
    apply_versions(connection, target, folder.read())

    error = failed(
        RollbackFailedError,
        lambda: roll_back_versions(connection, target, folder.read(), only="1"),
        DatabaseState.CHANGED,
    )

    assert "down.sql begins at its first line" in error.hint
    assert read_history(connection, "public").current == "1"


def test_an_index_that_fails_to_build_counts_as_a_change(
    connection: Connection, target: Target, folder: Folder, look: Look
) -> None:
    connection.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1)")
    folder.write("1", "CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)")

    failed(MigrationFailedError, lambda: apply_versions(connection, target, folder.read()), DatabaseState.CHANGED)

    assert "i" in look(connection)  # and it is invalid, which is why


def test_a_script_outside_a_transaction_that_does_not_verify_keeps_what_it_did(
    connection: Connection, target: Target, folder: Folder, look: Look
) -> None:
    connection.execute("CREATE TABLE t (a int)")
    folder.write("1", "CREATE INDEX CONCURRENTLY i ON t (a)", verify="SELECT count(*) > 0 FROM t")

    failed(MigrationFailedError, lambda: apply_versions(connection, target, folder.read()), DatabaseState.CHANGED)
    assert look(connection) == {"t", "i"}
    assert read_history(connection, "public").applied() == {}

    connection.execute("INSERT INTO t VALUES (1)")
    apply_versions(connection, target, folder.read())
    assert read_history(connection, "public").current == "1"


# --- a plan that does not fit any more -----------------------------------------------------------------------------


def plan_for(target: Target, folder: Folder, digest: str) -> Plan:
    return Plan(
        database=target.database,
        schema=target.schema,
        schema_digest=digest,
        steps=plan_apply(folder.read(), History()),
        policy=Policy(),
    )


def test_a_plan_for_another_schema_is_refused_before_anything_changes(
    connection: Connection, target: Target, folder: Folder, look: Look, rows_of: Rows
) -> None:
    folder.write("0", "SELECT 1")
    apply_versions(connection, target, folder.read())
    folder.write("0", "CREATE TABLE t (a int)")
    plan = plan_for(target, folder, digest_schema(connection, schema="public").logical)
    connection.execute("CREATE TABLE somebody_elses (a int)")

    with exclusive(connection, target):
        failed(RefusedError, lambda: execute_plan(connection, plan), DatabaseState.UNTOUCHED)

        assert look(connection) == {"somebody_elses"}
        assert len(rows_of(connection)) == 1
        connection.execute("DROP TABLE somebody_elses")
        execute_plan(connection, plan)
        assert look(connection) == {"t"}


# --- the lock and the session --------------------------------------------------------------------------------------


@pytest.mark.parametrize("give_up", ["SELECT pg_advisory_unlock_all()", "SELECT pg_advisory_unlock({}, {})"])
def test_a_script_that_gives_up_the_lock_ends_the_run(
    connection: Connection, target: Target, folder: Folder, look: Look, give_up: str
) -> None:
    folder.write("1", f"CREATE TABLE t (a int); {give_up.format(*LOCK_KEYS)}")
    folder.write("2", "CREATE TABLE never (a int)")

    error = failed(RefusedError, lambda: apply_versions(connection, target, folder.read()), DatabaseState.CHANGED)

    assert "gave up the migration lock" in error.message
    assert look(connection) == {"t"}
    assert list(read_history(connection, "public").applied()) == ["1"]


KILL = "SELECT pg_terminate_backend(pg_backend_pid())"


def test_a_session_lost_inside_a_script_leaves_nothing_and_the_next_run_works(
    access: ServerAccess, connection: Connection, target: Target, folder: Folder, look: Look, rows_of: Rows
) -> None:
    folder.write("1", f"CREATE TABLE t (a int); {KILL}")

    error = failed(
        ConnectionFailedError, lambda: apply_versions(connection, target, folder.read()), DatabaseState.UNTOUCHED
    )

    assert error.code == 3
    assert error.retryable
    with connect(access, target.database, purpose="test") as again:
        assert look(again) == set()
        assert states(rows_of(again)) == [("1", APPLY, None)]
        folder.write("1", "CREATE TABLE t (a int)")
        apply_versions(again, target, folder.read())
        assert look(again) == {"t"}
        assert states(rows_of(again)) == [("1", APPLY, False), ("1", APPLY, True)]
        assert rows_of(again)[0].error == "the run that did this died before it ended"


def test_a_session_lost_between_statements_outside_a_transaction_goes_on_behind_them(
    access: ServerAccess, connection: Connection, target: Target, folder: Folder, rows_of: Rows
) -> None:
    connection.execute("CREATE TABLE log (what text); CREATE TABLE once (a int)")
    folder.write(
        "1",
        "INSERT INTO log VALUES ('one'); VACUUM log;"
        " SELECT pg_terminate_backend(pg_backend_pid()) FROM (SELECT count(*) AS n FROM once) c WHERE n = 0;"
        " INSERT INTO log VALUES ('four')",
    )

    failed(ConnectionFailedError, lambda: apply_versions(connection, target, folder.read()), DatabaseState.CHANGED)

    with connect(access, target.database, purpose="test") as again:
        assert rows_of(again)[-1].statements_done == 2
        again.execute("INSERT INTO once VALUES (1)")
        apply_versions(again, target, folder.read())
        assert log(again) == ["one", "four"]
        assert rows_of(again)[0].error == (
            "the run that did this died before it ended; 2 statements outside a transaction had finished"
        )


def test_a_script_that_goes_on_has_our_lock_timeout_whatever_it_had_set_before(
    connection: Connection, target: Target, folder: Folder
) -> None:
    connection.execute("CREATE TABLE t (a int)")
    seen = "CREATE TABLE seen AS SELECT current_setting('lock_timeout') AS value, 1 / count(*) FROM t"
    folder.write("1", f"SET lock_timeout = '7s'; VACUUM t; {seen}")
    failed(MigrationFailedError, lambda: apply_versions(connection, target, folder.read()), DatabaseState.CHANGED)
    connection.execute("INSERT INTO t VALUES (1)")

    apply_versions(connection, target, folder.read())

    assert connection.execute("SELECT value FROM seen").fetchall() == [("50ms",)]


@pytest.mark.parametrize("count", [1, 2], ids=["after the last version", "between two versions"])
def test_a_session_lost_after_a_commit_says_that_something_changed(
    access: ServerAccess, connection: Connection, control: Connection, target: Target, folder: Folder, count: int
) -> None:
    for number in range(1, count + 1):
        folder.write(str(number), f"CREATE TABLE t{number} (a int)")

    def kill(_outcome: Outcome) -> None:
        control.execute("SELECT pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))

    failed(
        ConnectionFailedError,
        lambda: apply_versions(connection, target, folder.read(), listener=Listener(on_done=kill)),
        DatabaseState.CHANGED,
    )

    with connect(access, target.database, purpose="test") as again:
        assert list(read_history(again, "public").applied()) == ["1"]
        apply_versions(again, target, folder.read())
        assert all(check.ok for check in verify_versions(again, target, folder.read()))


def test_the_first_error_is_the_one_that_is_seen_when_the_session_is_lost_too(
    connection: Connection, control: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", "CREATE TABLE t (a int)")

    class OurError(Exception):
        pass

    def kill(_outcome: Outcome) -> None:
        control.execute("SELECT pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))
        raise OurError

    with pytest.raises(OurError):
        apply_versions(connection, target, folder.read(), listener=Listener(on_done=kill))


# --- locks: foreseen and seen --------------------------------------------------------------------------------------


def lock_columns(connection: Connection, version: str) -> tuple[object, object]:
    row = connection.execute(
        "SELECT predicted_locks, observed_locks FROM squizzle_history WHERE version = %s ORDER BY id DESC LIMIT 1",
        (version,),
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def test_the_history_keeps_which_locks_were_foreseen_and_which_were_seen(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", "CREATE TABLE u (id int PRIMARY KEY); CREATE TABLE t (id int REFERENCES u)")
    folder.write("2", "CREATE TABLE own (a int); ALTER TABLE t DROP COLUMN id; CREATE INDEX ON own (a)")
    report = apply_versions(connection, target, folder.read())

    strong = {"relation": "t", "mode": "ACCESS EXCLUSIVE"}
    side = {"relation": "public.u", "mode": "ACCESS EXCLUSIVE"}
    assert lock_columns(connection, "1") == ({"locks": [], "complete": True}, {"locks": []})
    assert lock_columns(connection, "2") == (
        {"locks": [strong], "complete": False},
        {"locks": [{**strong, "relation": "public.t"}, side]},
    )
    assert [str(lock.relation) for lock in report.outcomes[1].locks.unforeseen] == ["public.u"]


def test_locks_of_a_statement_outside_a_transaction_are_sampled_while_it_runs(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", "CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 200000) g")
    folder.write("2", "CREATE INDEX CONCURRENTLY t_a ON t (a)")
    apply_versions(connection, target, folder.read())

    expected = {"mode": "SHARE UPDATE EXCLUSIVE"}
    assert lock_columns(connection, "2") == (
        {"locks": [{"relation": "t", **expected}], "complete": True},
        {"locks": [{"relation": "public.t", **expected}]},
    )


# --- what a script requires ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("statement", ["ALTER TABLE t ADD COLUMN b int", "CREATE INDEX CONCURRENTLY i ON t (a)"])
def test_a_statement_runs_only_when_what_it_requires_holds(
    connection: Connection, target: Target, folder: Folder, look: Look, statement: str
) -> None:
    folder.write("1", "CREATE TABLE t (a int); INSERT INTO t VALUES (7)")
    apply_versions(connection, target, folder.read())
    folder.write("2", f"-- squizzle: require SELECT count(*) = 0 FROM t\n{statement};")  # noqa: S608 - a script

    error = failed(
        MigrationFailedError, lambda: apply_versions(connection, target, folder.read()), DatabaseState.UNTOUCHED
    )
    assert error.message.startswith(f"2_change/up.sql:1: what is required before {statement} does not hold: 1 of 1")
    assert look(connection) == {"t"}

    connection.execute("DELETE FROM t")
    apply_versions(connection, target, folder.read())
    assert read_history(connection, "public").current == "2"


def test_a_requirement_that_fails_by_itself_is_named_with_its_line(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", "SELECT 1;\n-- squizzle: require SELECT count(*) = 0 FROM nowhere\nCREATE TABLE t (a int)")
    error = failed(
        MigrationFailedError, lambda: apply_versions(connection, target, folder.read()), DatabaseState.UNTOUCHED
    )
    assert "1_change/up.sql:2" in error.message
    assert "nowhere" in error.message
