"""Alembic projects on our own session: what is left when it works, when it fails, and what Alembic says afterwards."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from squizzle.errors import (
    DatabaseState,
    LockTimeoutError,
    MigrationFailedError,
    RollbackFailedError,
    VersionConflictError,
)
from squizzle.migrations.history import read_history
from squizzle.migrations.operations import apply_versions, roll_back_versions, verify_versions
from squizzle.migrations.records import HistoryRow, Policy, Timeouts
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target
from tests.support.alembic_project import NO_TABLE, TABLE, Project, alembic_heads, alembic_upgrade, failed
from tests.support.processes import wait_until

pytestmark = pytest.mark.one_server

Look = Callable[..., set[str]]
Rows = Callable[..., list[HistoryRow]]

QUICK = Policy(timeouts=Timeouts(lock=timedelta(milliseconds=200), budget=timedelta(seconds=1)))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def applied(connection: Connection) -> list[str]:
    return list(read_history(connection, "public").applied())


# --- what works ----------------------------------------------------------------------------------------------------


def test_revisions_are_applied_and_rolled_back_and_alembic_agrees_after_each(
    connection: Connection, target: Target, project: Project, look: Look, rows_of: Rows
) -> None:
    project.revision("aaaa1", TABLE.format("one"), down=NO_TABLE.format("one"))
    project.revision("bbbb2", TABLE.format("two"), down=NO_TABLE.format("two"), after="aaaa1")

    report = apply_versions(connection, target, project.read())

    assert [outcome.version for outcome in report.outcomes] == ["0001-aaaa1", "0002-bbbb2"]
    assert {"one", "two", "alembic_version"} <= look(connection)
    assert alembic_heads(connection) == {"bbbb2"}
    assert [(row.name, row.success, row.statements_done) for row in rows_of(connection)] == [
        ("Change aaaa1.", True, 1),
        ("Change bbbb2.", True, 1),
    ]
    assert all(check.ok for check in verify_versions(connection, target, project.read()))

    roll_back_versions(connection, target, project.read(), only="bbbb")
    assert "two" not in look(connection)
    assert alembic_heads(connection) == {"aaaa1"}

    roll_back_versions(connection, target, project.read(), only="aaaa1")
    assert look(connection) == {"alembic_version", "alembic_version_pkc"}
    assert alembic_heads(connection) == set()
    apply_versions(connection, target, project.read(), to="bbbb2")
    assert alembic_heads(connection) == {"bbbb2"}
    assert connection.autocommit
    assert connection.isolation_level is None


def test_branches_are_applied_by_what_they_need_and_a_late_one_may_come(
    connection: Connection, target: Target, project: Project
) -> None:
    project.revision("base1", TABLE.format("base"))
    project.revision("left1", TABLE.format("l1"), after="base1")
    project.revision("left2", TABLE.format("l2"), down=NO_TABLE.format("l2"), after="left1")
    apply_versions(connection, target, project.read())
    project.revision("right1", TABLE.format("r1"), down=NO_TABLE.format("r1"), after="base1")
    project.revision("right2", TABLE.format("r2"), after="right1", needs="left2")

    report = apply_versions(connection, target, project.read(), only="right1")
    assert [one.version for one in report.outcomes] == ["0002-right1"]
    assert alembic_heads(connection) == {"left2", "right1"}

    roll_back_versions(connection, target, project.read(), only="right1")
    assert alembic_heads(connection) == {"left2"}
    with pytest.raises(VersionConflictError, match="0002-right1 come before it"):
        apply_versions(connection, target, project.read(), only="right2")

    apply_versions(connection, target, project.read(), to="right2")
    assert alembic_heads(connection) == {"right2"}
    with pytest.raises(VersionConflictError, match="not the newest applied version: 0004-right2 come after it"):
        roll_back_versions(connection, target, project.read(), only="left2")

    project.revision("both", "pass", after=("left2", "right2"))
    apply_versions(connection, target, project.read())
    assert alembic_heads(connection) == {"both"}
    roll_back_versions(connection, target, project.read(), to="left1")
    assert alembic_heads(connection) == {"left1", "right1"}
    assert applied(connection) == ["0001-base1", "0002-left1", "0002-right1"]


def test_a_beginning_that_fits_two_revisions_is_refused(
    connection: Connection, target: Target, project: Project
) -> None:
    project.revision("abcd1", "pass")
    project.revision("abcd2", "pass", after="abcd1")

    with pytest.raises(VersionConflictError, match="may be more than one version: 0001-abcd1, 0002-abcd2"):
        apply_versions(connection, target, project.read(), to="abcd")
    with pytest.raises(VersionConflictError, match="there is no version abc "):
        apply_versions(connection, target, project.read(), to="abc")


def test_what_env_py_says_about_names_and_the_version_table_counts(
    connection: Connection, target: Target, project: Project, look: Look
) -> None:
    project.env(
        'names = sa.MetaData(naming_convention={"uq": "unique_%(table_name)s_%(column_0_name)s"})\n'
        'context.is_offline_mode() and offline(target_metadata=names, version_table="at", version_table_schema="books")'
    )
    connection.execute("CREATE SCHEMA books")
    project.revision(
        "aaaa1",
        'op.create_table("t", sa.Column("a", sa.Integer))\nop.create_unique_constraint(None, "t", ["a"])',
        down='op.drop_constraint(op.f("unique_t_a"), "t")\nop.drop_table("t")',
    )

    apply_versions(connection, target, project.read())

    assert look(connection) == {"t", "unique_t_a"}
    assert alembic_heads(connection, version_table="at", version_table_schema="books") == {"aaaa1"}
    roll_back_versions(connection, target, project.read(), only="aaaa1")
    assert look(connection) == set()


def test_revisions_work_in_the_schema_that_was_named(
    connection: Connection, database: str, project: Project, look: Look
) -> None:
    connection.execute("CREATE SCHEMA app")
    project.revision("aaaa1", TABLE.format("one"))

    apply_versions(connection, Target(database=database, schema="app"), project.read())

    assert {"one", "alembic_version"} <= look(connection, "app")
    assert look(connection) == set()


def test_a_revision_sees_a_live_session_that_speaks_sqlalchemy(
    connection: Connection, target: Target, project: Project
) -> None:
    project.revision(
        "aaaa1",
        """\
assert not context.is_offline_mode() and not op.get_context().as_sql
bind = op.get_bind()
op.execute("CREATE TABLE t (a jsonb, b text DEFAULT '%s %%')")
bind.execute(sa.text("INSERT INTO t (a) VALUES (CAST(:a AS jsonb))"), [{"a": '{"x": 1}'}, {"a": '{"x": 2}'}])
bind.exec_driver_sql("INSERT INTO t VALUES ('{}', 'a%b')")
assert bind.exec_driver_sql("SELECT count(*) FROM t WHERE b LIKE 'a%'").scalar() == 1
assert [row.a["x"] for row in bind.execute(sa.text("SELECT a FROM t WHERE a <> '{}' ORDER BY a"))] == [1, 2]
assert sa.inspect(bind).get_table_names() != []
with bind.begin_nested() as savepoint:
    bind.execute(sa.text("DELETE FROM t"))
    savepoint.rollback()
assert bind.execute(sa.text("SELECT count(*) FROM t")).scalar_one() == 3""",
    )

    apply_versions(connection, target, project.read())

    assert connection.execute("SELECT DISTINCT b FROM t ORDER BY 1").fetchall() == [("%s %%",), ("a%b",)]


def test_the_role_that_env_py_takes_makes_the_tables_and_not_our_history(
    connection: Connection, target: Target, project: Project, role: str, rows_of: Rows
) -> None:
    connection.execute(f"GRANT CREATE ON SCHEMA public TO {role}")
    project.env(
        'context.configure(dialect_name="postgresql")\n'
        f"context.execute('SET ROLE {role}')\n"
        "with context.begin_transaction():\n    context.run_migrations()\n"
    )
    project.revision(
        "aaaa1",
        'op.execute("CREATE TABLE t (a int)")\n'
        "with op.get_context().autocommit_block():\n"
        '    op.execute("CREATE INDEX CONCURRENTLY i ON t (a)")\n'
        'op.execute("CREATE TABLE u (a int)")',
    )

    apply_versions(connection, target, project.read())

    owners = connection.execute("SELECT tableowner FROM pg_tables WHERE tablename IN ('t', 'u')").fetchall()
    assert owners == [(role,), (role,)]
    assert [row.success for row in rows_of(connection)] == [True]


# --- outside a transaction -----------------------------------------------------------------------------------------

CONCURRENTLY = """\
op.execute("CREATE TABLE t (a int)")
with op.get_context().autocommit_block():
    op.execute("CREATE INDEX CONCURRENTLY i ON t (a)")
"""


@pytest.mark.parametrize(
    "up",
    [
        CONCURRENTLY + 'op.execute("CREATE TABLE u (a int)")',
        (
            'op.execute("CREATE TABLE t (a int)")\nop.execute("COMMIT")\n'
            'op.execute("CREATE INDEX CONCURRENTLY i ON t (a)")\nop.execute("BEGIN")\nop.execute("CREATE TABLE u (a int)")'
        ),
        (
            'op.execute("CREATE TABLE t (a int)")\nop.execute("COMMIT")\n'
            'op.execute("CREATE INDEX CONCURRENTLY i ON t (a)")\nop.execute("CREATE TABLE u (a int)")'
        ),
    ],
    ids=["autocommit_block", "COMMIT and BEGIN", "COMMIT"],
)
def test_statements_outside_a_transaction_run_and_what_comes_behind_them_is_one_commit(
    connection: Connection, target: Target, project: Project, look: Look, rows_of: Rows, up: str
) -> None:
    project.revision("aaaa1", up)

    apply_versions(connection, target, project.read())

    assert {"t", "i", "u"} <= look(connection)
    assert alembic_heads(connection) == {"aaaa1"}
    assert [row.success for row in rows_of(connection)] == [True]


def test_a_failure_behind_a_commit_says_what_is_kept_and_the_mended_revision_begins_anew(
    connection: Connection, target: Target, project: Project, look: Look, rows_of: Rows
) -> None:
    up = CONCURRENTLY + 'op.execute("SELECT 1/0")'
    down = 'op.execute("DROP TABLE IF EXISTS t")'
    project.revision("aaaa1", up, down=down)

    error = failed(
        MigrationFailedError, lambda: apply_versions(connection, target, project.read()), DatabaseState.CHANGED
    )

    assert "versions/aaaa1_change.py:13: SELECT 1/0: division by zero" in error.message
    assert "begins at its first line" in error.hint
    assert {"t", "i"} <= look(connection)
    assert [(row.success, row.statements_done) for row in rows_of(connection)] == [(False, 2)]
    assert alembic_heads(connection) == set()

    project.revision(
        "aaaa1", up.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS").replace("INDEX C", "UNIQUE INDEX C")
    )
    still = failed(
        MigrationFailedError, lambda: apply_versions(connection, target, project.read()), DatabaseState.CHANGED
    )
    assert 'relation "i" already exists' in still.message

    project.revision("aaaa1", "pass", down=down)
    roll_back_versions(connection, target, project.read(), only="aaaa1")  # what is there of it is cleaned up
    assert "t" not in look(connection)
    assert read_history(connection, "public").half_done() == {}
    apply_versions(connection, target, project.read())
    assert alembic_heads(connection) == {"aaaa1"}


def test_an_invalid_index_of_a_failed_try_is_made_anew_even_where_the_revision_would_pass_over_it(
    connection: Connection, target: Target, project: Project
) -> None:
    connection.execute("CREATE TABLE t AS SELECT 1 AS a UNION ALL SELECT 1")
    project.revision(
        "aaaa1",
        "with op.get_context().autocommit_block():\n"
        '    op.execute("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)")',
    )
    error = failed(
        MigrationFailedError, lambda: apply_versions(connection, target, project.read()), DatabaseState.CHANGED
    )
    assert "could not create unique index" in error.message
    assert connection.execute("SELECT indisvalid FROM pg_index WHERE indrelid = 't'::regclass").fetchall() == [(False,)]

    connection.execute("DELETE FROM t WHERE ctid = '(0,1)'")
    apply_versions(connection, target, project.read())

    assert connection.execute("SELECT indisvalid FROM pg_index WHERE indrelid = 't'::regclass").fetchall() == [(True,)]


# --- what fails ----------------------------------------------------------------------------------------------------


def test_a_failing_revision_leaves_nothing_and_names_file_line_and_the_servers_words(
    connection: Connection, target: Target, project: Project, look: Look, rows_of: Rows
) -> None:
    project.revision("aaaa1", TABLE.format("one") + '\nop.execute("SELECT 1/0")')

    error = failed(
        MigrationFailedError, lambda: apply_versions(connection, target, project.read()), DatabaseState.UNTOUCHED
    )

    assert isinstance(error, MigrationFailedError)
    assert error.sqlstate == "22012"
    assert error.message == ("could not apply 0001-aaaa1: versions/aaaa1_change.py:11: SELECT 1/0: division by zero")
    assert look(connection) == set()
    assert alembic_heads(connection) == set()
    assert rows_of(connection)[0].error == error.message


PYTHON = {
    "an exception": ('{}["nothing"]', "KeyError: 'nothing'"),
    "an exit": ("import sys\nsys.exit(0)", "SystemExit: 0"),
    "a second connection": ("op.get_bind().engine.connect()", "AssertionError: connection is already checked out"),
    "the driver itself": (
        "op.get_bind().connection.driver_connection.execute('SELECT 1/0')",
        "a statement sent with the driver itself: division by zero",
    ),
    "a constraint at commit": (
        (
            'op.execute("CREATE TABLE p (a int PRIMARY KEY)")\n'
            'op.execute("CREATE TABLE c (a int REFERENCES p DEFERRABLE INITIALLY DEFERRED)")\n'
            'op.execute("INSERT INTO c VALUES (1)")'
        ),
        "at commit: insert or update on table",
    ),
}


@pytest.mark.parametrize(("line", "words"), PYTHON.values(), ids=PYTHON.keys())
def test_what_python_raises_is_a_failed_migration(
    connection: Connection, target: Target, project: Project, look: Look, line: str, words: str
) -> None:
    project.revision("aaaa1", TABLE.format("one") + "\n" + line)

    error = failed(
        MigrationFailedError, lambda: apply_versions(connection, target, project.read()), DatabaseState.UNTOUCHED
    )

    assert words in error.message
    assert ("versions/aaaa1_change.py:1" in error.message) or "at commit" in words
    assert look(connection) == set()


def test_a_failing_downgrade_leaves_the_revision_applied(
    connection: Connection, target: Target, project: Project, look: Look
) -> None:
    project.revision("aaaa1", TABLE.format("one"), down=NO_TABLE.format("one") + "\nraise NotImplementedError('no')")
    apply_versions(connection, target, project.read())

    error = failed(
        RollbackFailedError,
        lambda: roll_back_versions(connection, target, project.read(), only="aaaa1"),
        DatabaseState.UNTOUCHED,
    )

    assert "versions/aaaa1_change.py:15: NotImplementedError: no" in error.message
    assert "one" in look(connection)
    assert alembic_heads(connection) == {"aaaa1"}
    assert applied(connection) == ["0001-aaaa1"]


def test_books_that_disagree_are_refused_both_ways(connection: Connection, target: Target, project: Project) -> None:
    project.revision("aaaa1", TABLE.format("one"), down=NO_TABLE.format("one"))
    project.revision("bbbb2", TABLE.format("two"), after="aaaa1")
    alembic_upgrade(project, connection, "aaaa1")

    ahead = failed(
        VersionConflictError, lambda: apply_versions(connection, target, project.read()), DatabaseState.UNTOUCHED
    )
    assert "says aaaa1 is there" in ahead.message
    assert "squizzle adopt" in ahead.hint

    connection.execute("DROP TABLE squizzle_history; DROP TABLE one; DELETE FROM alembic_version")
    apply_versions(connection, target, project.read(), to="aaaa1")
    connection.execute("DELETE FROM alembic_version")
    behind = failed(
        VersionConflictError, lambda: apply_versions(connection, target, project.read()), DatabaseState.UNTOUCHED
    )
    assert "lacks what bbbb2 needs: aaaa1" in behind.message
    gone = failed(
        VersionConflictError,
        lambda: roll_back_versions(connection, target, project.read(), only="aaaa1"),
        DatabaseState.UNTOUCHED,
    )
    assert "says aaaa1 is not there" in gone.message


# --- locks ---------------------------------------------------------------------------------------------------------


def test_a_lock_that_is_not_granted_lets_the_revision_run_anew(
    connection: Connection, other: Connection, target: Target, project: Project
) -> None:
    connection.execute("CREATE TABLE t (a int)")
    project.revision(
        "aaaa1",
        'tries = op.get_bind().info.setdefault("tries", [])\ntries.append(1)\n'
        'op.execute(f"CREATE TABLE try_{len(tries)} (a int)")\nop.add_column("t", sa.Column("b", sa.Integer))',
    )
    waits: list[str] = []

    with ThreadPoolExecutor(1) as pool:
        with other.transaction():
            other.execute("LOCK TABLE t IN ACCESS SHARE MODE")
            running = pool.submit(_apply, connection, target, project, waits)
            wait_until(lambda: bool(waits) or running.done(), "the lock is tried for")
        report = running.result()

    (outcome,) = report.outcomes
    assert outcome.attempts > 1
    assert "squizzle somebody else" in waits[0]
    tries = connection.execute("SELECT relname FROM pg_class WHERE relname LIKE 'try%'").fetchall()
    assert tries == [(f"try_{outcome.attempts}",)]


def _apply(connection: Connection, target: Target, project: Project, waits: list[str]):  # type: ignore[no-untyped-def]  # noqa: ANN202
    from squizzle.migrations.listener import Listener  # noqa: PLC0415

    return apply_versions(connection, target, project.read(), listener=Listener(on_wait=waits.append))


@pytest.mark.parametrize(
    ("up", "state"),
    [
        ('op.execute("ALTER TABLE t ADD b int")', DatabaseState.UNTOUCHED),
        (
            (
                'op.execute("CREATE TABLE u (a int)")\nwith op.get_context().autocommit_block():\n'
                '    op.execute("ALTER TABLE t ADD b int")'
            ),
            DatabaseState.CHANGED,
        ),
        (
            CONCURRENTLY.replace(" t ", " u ") + 'op.execute("SELECT 1")\nop.execute("ALTER TABLE t ADD b int")',
            DatabaseState.CHANGED,
        ),
    ],
    ids=["in its transaction", "outside a transaction", "behind a commit"],
)
def test_a_lock_that_is_never_granted_ends_with_who_blocks(
    connection: Connection, other: Connection, target: Target, project: Project, up: str, state: DatabaseState
) -> None:
    connection.execute("CREATE TABLE t (a int)")
    project.revision("aaaa1", up)

    with other.transaction():
        other.execute("LOCK TABLE t IN ACCESS SHARE MODE")
        error = failed(
            LockTimeoutError, lambda: apply_versions(connection, target, project.read(), policy=QUICK), state
        )

    assert "Blocked by session" in error.message
    assert "squizzle somebody else" in error.message
    assert "ALTER TABLE t ADD b int" in error.message
    assert connection.autocommit
