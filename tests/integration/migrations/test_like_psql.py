"""What psql does by nature, a file a session and a statement a transaction: scripts may need it without saying so."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg import sql

from squizzle.errors import DatabaseState, MigrationFailedError
from squizzle.migrations.history import read_history
from squizzle.migrations.listener import Listener
from squizzle.migrations.operations import apply_versions, preview_apply, roll_back_versions
from squizzle.migrations.session import lock_holder
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target
from tests.integration.migrations.conftest import Folder

Look = Callable[..., set[str]]

# Each needs the table and its partition, and is refused in a transaction for a reason that its text does not show.
REFUSED = {
    "a block that commits": "DO $$ BEGIN FOR i IN 1..3 LOOP INSERT INTO t VALUES (i); COMMIT; END LOOP; END $$",
    "a procedure that commits": (
        "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t VALUES (1), (2), (3); COMMIT; END $$; CALL p()"
    ),
    "a partitioned table that is reindexed": "INSERT INTO t VALUES (1), (2), (3); REINDEX TABLE t",
    "an enum value in an array": (
        "INSERT INTO t VALUES (1), (2), (3); CREATE TYPE e AS ENUM ('old')"
        "; DO 'BEGIN COMMIT; END'; ALTER TYPE e ADD VALUE 'new'; CREATE TABLE u (e e[] DEFAULT '{old,new}')"
    ),
}


@pytest.mark.parametrize("script", REFUSED.values(), ids=REFUSED)
def test_what_the_server_refuses_in_a_transaction_is_run_outside_of_one(
    connection: Connection, target: Target, folder: Folder, script: str
) -> None:
    table = "CREATE TABLE t (a int PRIMARY KEY) PARTITION BY RANGE (a); CREATE TABLE t_1 PARTITION OF t DEFAULT"
    folder.write("1", f"{table}; {script}; INSERT INTO t VALUES (4)")  # noqa: S608 - written here
    said: list[str] = []

    apply_versions(connection, target, folder.read(), listener=Listener(on_wait=said.append))

    assert connection.execute("SELECT array_agg(a ORDER BY a) FROM t").fetchone() == ([1, 2, 3, 4],)
    assert any("what stands before it is committed first" in line for line in said)
    assert read_history(connection, "public").current == "1"


def test_a_script_that_was_divided_on_the_way_goes_on_behind_what_finished(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write(
        "1",
        "CREATE TABLE log (what text); INSERT INTO log VALUES ('one');\n"
        "DO $$ BEGIN INSERT INTO log VALUES ('two'); COMMIT; END $$;\n"
        "INSERT INTO log SELECT 'three' FROM later; INSERT INTO log VALUES ('four')",
    )

    with pytest.raises(MigrationFailedError, match=r'up\.sql:3.*relation "later" does not exist') as caught:
        apply_versions(connection, target, folder.read())
    assert caught.value.database_state is DatabaseState.CHANGED
    connection.execute("CREATE TABLE later AS SELECT 1 AS a")
    apply_versions(connection, target, folder.read())

    assert connection.execute("SELECT array_agg(what) FROM log").fetchone() == (["one", "two", "three", "four"],)


def test_a_script_that_says_begin_itself_is_not_divided(
    connection: Connection, target: Target, folder: Folder, look: Look
) -> None:
    folder.write("1", "BEGIN; CREATE TABLE t (a int); DO $$ BEGIN COMMIT; END $$; COMMIT")

    with pytest.raises(MigrationFailedError, match="invalid transaction termination") as caught:
        apply_versions(connection, target, folder.read())

    assert caught.value.database_state is DatabaseState.UNTOUCHED
    assert look(connection) == set()


def test_a_down_script_is_divided_as_well(connection: Connection, target: Target, folder: Folder, look: Look) -> None:
    folder.write("1", "CREATE TABLE t (a int)", down="INSERT INTO t VALUES (1); DO 'BEGIN COMMIT; END'; DROP TABLE t")
    apply_versions(connection, target, folder.read())

    roll_back_versions(connection, target, folder.read(), only="1")

    assert look(connection) == set()


@pytest.mark.parametrize(
    "begin", ["SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "BEGIN /* all */ WORK ISOLATION LEVEL SERIALIZABLE"]
)
def test_a_script_may_choose_its_isolation(connection: Connection, target: Target, folder: Folder, begin: str) -> None:
    end = "COMMIT" if begin.startswith("BEGIN") else ""
    folder.write("1", f"{begin}; CREATE TABLE t AS SELECT current_setting('transaction_isolation') AS level; {end}")

    apply_versions(connection, target, folder.read())

    assert connection.execute("SELECT level FROM t").fetchone() == ("serializable",)


@pytest.mark.parametrize(
    "store",
    [
        "ALTER DATABASE {} SET search_path = app, public",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = app', current_database()); END $$",
        "ALTER ROLE CURRENT_USER IN DATABASE {} SET search_path = app; ALTER DATABASE {} SET search_path = other",
    ],
)
def test_a_setting_that_is_stored_for_new_sessions_holds_for_the_next_script(
    connection: Connection, target: Target, folder: Folder, look: Look, store: str
) -> None:
    database = sql.Identifier(target.database).as_string(connection)
    folder.write(
        "1", f"CREATE SCHEMA app; CREATE SCHEMA other; {store.replace('{}', database)}; CREATE TABLE t (a int)"
    )
    folder.write("2", "CREATE TABLE u (a int)")

    apply_versions(connection, target, folder.read())

    assert look(connection) == {"t"}
    assert look(connection, "app") == {"u"}


def test_discard_all_is_run_but_for_the_lock(connection: Connection, target: Target, folder: Folder) -> None:
    folder.write(
        "1",
        "SET search_path = pg_catalog; CREATE TEMP TABLE gone (a int); DISCARD ALL;"
        " CREATE TABLE t AS SELECT to_regclass('gone') IS NULL AS a, current_setting('search_path') AS b",
    )
    folder.write("2", "CREATE TABLE u (a int)")
    held: list[bool] = []

    apply_versions(
        connection,
        target,
        folder.read(),
        listener=Listener(on_done=lambda _: held.append(lock_holder(connection) is not None)),
    )

    assert connection.execute("SELECT a, b FROM t").fetchone() == (True, '"$user", public')
    assert held == [True, True]


def test_what_a_script_does_to_its_session_does_not_reach_its_verify_script(
    connection: Connection, target: Target, folder: Folder
) -> None:
    up = "SELECT pg_catalog.set_config('search_path', '', false); CREATE TABLE public.t (a int); SET ROLE pg_monitor"
    folder.write("1", up, verify="SELECT count(*) = 0 FROM t")

    apply_versions(connection, target, folder.read())

    assert read_history(connection, "public").current == "1"


def test_every_extension_that_the_server_lacks_is_named_before_anything_runs(
    connection: Connection, target: Target, folder: Folder, look: Look
) -> None:
    folder.write("1", "CREATE TABLE t (a int); CREATE EXTENSION IF NOT EXISTS plpgsql")
    folder.write("2", 'SELECT 1;\nCREATE EXTENSION IF NOT EXISTS "no-such-one"')
    folder.write("3", "CREATE EXTENSION nor_this WITH SCHEMA public")

    with pytest.raises(MigrationFailedError, match="no-such-one"):
        preview_apply(connection, target, folder.read())
    with pytest.raises(MigrationFailedError) as caught:
        apply_versions(connection, target, folder.read())

    assert "no-such-one (2_change/up.sql:2); nor_this (3_change/up.sql:1)" in caught.value.message
    assert "plpgsql" not in caught.value.message
    assert caught.value.database_state is DatabaseState.UNTOUCHED
    assert look(connection) == set()
