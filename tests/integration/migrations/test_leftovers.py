"""What a killed statement outside a transaction leaves, and what it finished though nobody noted it."""

from __future__ import annotations

import pytest

from squizzle.analysis.statements import split_statements
from squizzle.migrations.history import HISTORY_TABLE
from squizzle.migrations.leftovers import clear_leftovers, is_already_done
from squizzle.migrations.operations import apply_versions
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target
from tests.integration.migrations.conftest import Folder

pytestmark = pytest.mark.one_server

LONG = "a_table_with_a_name_that_is_as_long_as_names_may_be_in_postgres"


@pytest.fixture
def table(connection: Connection) -> None:
    connection.execute(
        f"CREATE TABLE t (a int, b text, c text); CREATE TABLE other (a int); CREATE TABLE {LONG} (a int, b text)"
    )


def leave(connection: Connection, *indexes: str) -> None:
    """Indexes as a killed build leaves them."""
    for index in indexes:
        connection.execute(f"CREATE {index}".encode())
    connection.execute(
        "UPDATE pg_index SET indisvalid = false FROM pg_class t"
        " WHERE t.oid = indrelid AND t.relnamespace = 'public'::regnamespace AND t.relname <> 'squizzle_history'"
    )


def cleared(connection: Connection, script: str, *, interrupted: bool = True) -> list[str]:
    (statement,) = split_statements(script, source="up.sql")
    return list(clear_leftovers(connection, statement, interrupted=interrupted))


def done(connection: Connection, script: str) -> bool:
    (statement,) = split_statements(script, source="up.sql")
    return is_already_done(connection, statement)


UNNAMED = [
    ("INDEX ON t (a)", "CREATE INDEX CONCURRENTLY ON public.t USING btree (a)", "t_a_idx"),
    ("INDEX ON t (lower(b)) WHERE b <> ''", "CREATE INDEX CONCURRENTLY ON t (lower(b)) WHERE b <> ''", "t_lower_idx"),
    ("UNIQUE INDEX ON t (a, b)", "CREATE UNIQUE INDEX CONCURRENTLY ON t (a, b)", "t_a_b_idx"),
    (f"INDEX ON {LONG} (a)", f"CREATE INDEX CONCURRENTLY ON {LONG} (a)", f"{LONG[:57]}_a_idx"),
]


@pytest.mark.parametrize(("left", "script", "name"), UNNAMED)
@pytest.mark.usefixtures("table")
def test_an_invalid_index_without_a_chosen_name_is_known_by_its_definition(
    connection: Connection, left: str, script: str, name: str
) -> None:
    leave(connection, left, left)

    found = cleared(connection, script)

    assert len(found) == 2
    assert found[0] == name
    assert cleared(connection, script) == []


@pytest.mark.parametrize(
    ("left", "script"),
    [
        ("INDEX ON t (b)", "CREATE INDEX CONCURRENTLY ON t (a)"),
        ("INDEX ON t (a) WHERE a > 0", "CREATE INDEX CONCURRENTLY ON t (a)"),
        ("UNIQUE INDEX ON t (a)", "CREATE INDEX CONCURRENTLY ON t (a)"),
        ("INDEX theirs ON t (a)", "CREATE INDEX CONCURRENTLY ON t (a)"),
        ("INDEX ON other (a)", "CREATE INDEX CONCURRENTLY ON t (a)"),
        ("INDEX theirs ON t (a)", "CREATE INDEX CONCURRENTLY i ON t (a)"),
        ("INDEX i ON other (a)", "CREATE INDEX CONCURRENTLY i ON t (a)"),
        ("INDEX i_ccnew ON other (a)", "REINDEX TABLE CONCURRENTLY t"),
        ("INDEX j_ccnew ON t (a)", "REINDEX INDEX CONCURRENTLY i"),
        ("INDEX i ON t (a)", "CREATE INDEX i ON t (a)"),
    ],
)
@pytest.mark.usefixtures("table")
def test_an_invalid_index_of_somebody_else_stays(connection: Connection, left: str, script: str) -> None:
    leave(connection, left)

    assert cleared(connection, script) == []


@pytest.mark.parametrize("script", ["REINDEX INDEX CONCURRENTLY i", "REINDEX (VERBOSE) TABLE CONCURRENTLY public.t"])
@pytest.mark.usefixtures("table")
def test_the_copies_of_a_killed_reindex_are_dropped_by_its_next_try_only(connection: Connection, script: str) -> None:
    leave(connection, "INDEX i_ccnew ON t (a)", "INDEX i_ccold1 ON t (a)")
    connection.execute("CREATE INDEX i ON t (a)")

    assert cleared(connection, script, interrupted=False) == []
    assert cleared(connection, script) == ["i_ccnew", "i_ccold1"]


@pytest.mark.parametrize(
    ("made", "script", "expected"),
    [
        ("CREATE INDEX i ON t (a)", "CREATE INDEX CONCURRENTLY i ON t (a)", True),
        ("CREATE INDEX i ON t (b)", "CREATE INDEX CONCURRENTLY i ON t (a)", False),
        ("CREATE INDEX ON t (a)", "CREATE INDEX CONCURRENTLY ON t (a)", True),
        ("CREATE INDEX ON t (b)", "CREATE INDEX CONCURRENTLY ON t (a)", False),
        ("SELECT 1", "CREATE INDEX CONCURRENTLY i ON t (a)", False),
        ("SELECT 1", "DROP INDEX CONCURRENTLY public.i", True),
        ("CREATE INDEX i ON t (a)", "DROP INDEX CONCURRENTLY i", False),
        ("SELECT 1", "CREATE DATABASE postgres", True),
        ("SELECT 1", "CREATE DATABASE no_such_one", False),
        ("SELECT 1", "DROP DATABASE no_such_one", True),
        ("SELECT 1", "VACUUM t", False),
    ],
)
@pytest.mark.usefixtures("table")
def test_what_is_finished_is_known(connection: Connection, made: str, script: str, *, expected: bool) -> None:
    connection.execute(made.encode())

    assert done(connection, script) is expected


def test_a_partition_whose_detaching_was_begun_is_detached_to_the_end(connection: Connection) -> None:
    connection.execute("CREATE TABLE p (a int) PARTITION BY RANGE (a); CREATE TABLE p_1 PARTITION OF p DEFAULT")
    connection.execute("CREATE TABLE p_2 PARTITION OF p FOR VALUES FROM (1) TO (2); DROP TABLE p_1")
    detach = "ALTER TABLE p DETACH PARTITION public.p_2 CONCURRENTLY"
    assert not done(connection, detach)

    connection.execute("UPDATE pg_inherits SET inhdetachpending = true WHERE inhrelid = 'p_2'::regclass")

    assert done(connection, detach)
    assert connection.execute("SELECT count(*) FROM pg_inherits WHERE inhrelid = 'p_2'::regclass").fetchone() == (0,)
    assert done(connection, detach)


def test_a_first_statement_that_was_finished_when_its_run_died_is_not_run_again(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", "CREATE TABLE t (a int)")
    folder.write("2", "CREATE INDEX CONCURRENTLY i ON t (a)")
    apply_versions(connection, target, folder.read())
    connection.execute(f"UPDATE {HISTORY_TABLE} SET success = NULL, statements_done = 0 WHERE version = '2'")  # noqa: S608

    apply_versions(connection, target, folder.read())

    assert connection.execute("SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass").fetchone() == (1,)


def test_an_index_that_somebody_else_made_is_not_taken_for_ours_after_a_failure(
    connection: Connection, target: Target, folder: Folder
) -> None:
    connection.execute("CREATE TABLE t (a int, b int); CREATE INDEX i ON t (a)")
    folder.write("1", "CREATE TABLE u (a int); CREATE INDEX CONCURRENTLY i ON t (a)")

    for _ in range(2):
        with pytest.raises(Exception, match='relation "i" already exists'):
            apply_versions(connection, target, folder.read())
