"""The command on Alembic projects: one JSON document whatever a revision prints, previews, and kill -9."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from squizzle.migrations.status import read_status
from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.embedded import ServerAddress
from squizzle.postgres.identity import Target
from tests.integration.cli.conftest import Squizzle
from tests.integration.conftest import access_to
from tests.support.alembic_project import Project, alembic_heads
from tests.support.processes import wait_until


# What the command does depends on no version of the server: the one that is always there is enough.
@pytest.fixture(scope="module")
def address(servers: Callable[[str], ServerAddress]) -> ServerAddress:
    return servers("embedded")


@pytest.fixture(scope="module")
def access(address: ServerAddress) -> ServerAccess:
    return access_to(address)


@pytest.fixture
def project(squizzle: Squizzle) -> Project:
    """The folder that the configuration names."""
    project = Project(squizzle.place / "alembic")
    squizzle.configure('[project]\nmigrations = "alembic"\n')
    return project


def test_what_a_project_prints_leaves_standard_output_to_the_document(
    squizzle: Squizzle, project: Project, connection: Connection
) -> None:
    project.env('print("env")\n' + "offline() if context.is_offline_mode() else online()\n")
    file = project.revision(
        "aaaa1", 'print("upgrade")\nop.execute("CREATE TABLE t (a int)")', down='print("downgrade")'
    )
    file.write_text("print('import')\n" + file.read_text())

    done = squizzle("apply", "aaaa1", "--json")

    assert done.code == 0, done.err
    (outcome,) = done.document["applied"]
    assert outcome["version"] == done.document["current"] == "0001-aaaa1"
    assert [line for line in done.err.splitlines() if line in {"import", "env", "upgrade"}] == [
        "import",
        "env",
        "upgrade",
    ]
    assert squizzle("status", "--json").document["applied"][0]["name"] == "aaaa1_change"
    assert squizzle("verify", "aaaa", "--json").document["ok"] is True
    assert squizzle("rollback", "aaaa1", "--json").document["rolled_back"][0]["version"] == "0001-aaaa1"
    assert alembic_heads(connection) == set()


def test_an_error_is_one_document_with_the_line_of_the_revision(squizzle: Squizzle, project: Project) -> None:
    project.revision("aaaa1", 'print("half")\nop.execute("SELECT 1/0")')

    error = squizzle("apply", "--all", "--json").error

    assert error["code"] == 1
    assert "versions/aaaa1_change.py:11: SELECT 1/0" in error["message"]


def test_a_preview_shows_the_sql_and_runs_nothing(squizzle: Squizzle, project: Project, connection: Connection) -> None:
    project.revision(
        "aaaa1",
        'op.execute("CREATE TABLE t (a int)")\nwith op.get_context().autocommit_block():\n'
        '    op.execute("CREATE INDEX CONCURRENTLY i ON t (a)")',
    )
    project.revision("bbbb2", 'op.get_bind().execute(sa.text("SELECT 1")).scalar()', after="aaaa1")

    document = squizzle("apply", "--all", "--dry-run", "--json").document
    first, second = document["would_apply"]
    human = squizzle("apply", "--all", "--dry-run").out
    plan = squizzle("plan", "--json").document["statements"]

    shown = [(one["line"], one["sql"]) for one in first["statements"]]
    assert (10, "CREATE TABLE t (a int)") in shown
    assert (12, "CREATE INDEX CONCURRENTLY i ON t (a)") in shown
    assert any("INSERT INTO alembic_version" in sql for _line, sql in shown)
    assert first["transactional"] is False
    assert second["statements"] == []
    assert "bbbb2_change.py:10 cannot be told without running it: AttributeError" in second["not_shown"]
    assert "-- versions/aaaa1_change.py:12 (outside a transaction)\nCREATE INDEX CONCURRENTLY i ON t (a);" in human
    assert "-- versions/aaaa1_change.py:10\nCREATE TABLE t (a int);" in human
    assert [(one["sql"], one["reversal"]) for one in plan if one["line"]] == [
        ("CREATE TABLE t (a int)", "versions/aaaa1_change.py"),
        ("CREATE INDEX CONCURRENTLY i ON t (a)", "versions/aaaa1_change.py"),
    ]
    assert "cannot be told" in plan[-1]["sql"]
    made = "SELECT count(*) FROM pg_class WHERE relname IN ('t', 'alembic_version')"
    assert connection.execute(made).fetchone() == (0,)


def test_a_rollback_is_previewed_too(squizzle: Squizzle, project: Project, connection: Connection) -> None:
    project.revision("aaaa1", 'op.execute("CREATE TABLE t (a int)")', down='op.execute("DROP TABLE t")')
    assert squizzle("apply", "--all").code == 0

    document = squizzle("rollback", "aaaa1", "--dry-run", "--json").document

    (step,) = document["would_roll_back"]
    assert (14, "DROP TABLE t") in [(one["line"], one["sql"]) for one in step["statements"]]
    assert any("DELETE FROM alembic_version" in one["sql"] for one in step["statements"])
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


KILLED = {
    "in its transaction": ('op.execute("SELECT pg_sleep(30)")', "pg_sleep", 0),
    "outside a transaction": (
        (
            "with op.get_context().autocommit_block():\n"
            '    op.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)")'
        ),
        "CREATE INDEX",
        1,
    ),
}


@pytest.mark.parametrize(("behind", "working", "kept"), KILLED.values(), ids=KILLED.keys())
def test_a_run_that_is_killed_in_a_revision_is_completed_by_the_next_one(
    squizzle: Squizzle,
    project: Project,
    connection: Connection,
    other: Connection,
    database: str,
    behind: str,
    working: str,
    kept: int,
) -> None:
    target = Target(database=database)
    table = "CREATE TABLE IF NOT EXISTS t AS SELECT 1 AS a"
    project.revision("aaaa1", f'op.execute("{table}")\n{behind}')
    # CREATE INDEX CONCURRENTLY waits for whoever still sees the table as it was.
    other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
    busy = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'squizzle migration' AND state = 'active'"
        " AND strpos(query, %s) > 0"
    )

    with squizzle.started("apply", "--all") as process:
        wait_until(lambda: connection.execute(busy, (working,)).fetchone() is not None, f"{working} is at work")
        (pid,) = connection.execute(busy, (working,)).fetchone() or (0,)
        process.kill()
        process.wait()
    # The server notices only at the end of a statement that its client is gone.
    connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
    other.execute("COMMIT")
    left = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
    wait_until(lambda: connection.execute(left, (pid,)).fetchone() is None, "the server lets go")
    (row,) = read_status(connection, target, project.read()).running
    assert row.statements_done == kept
    assert "its run DIED" in (told := squizzle("status").out)
    assert "begins it anew" in told
    assert alembic_heads(connection) == set()

    project.revision("aaaa1", f'op.execute("{table}")\n{behind.replace("(30)", "(0)")}')
    done = squizzle("apply", "--all", "--json")

    assert done.code == 0, done.err
    assert alembic_heads(connection) == {"aaaa1"}
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)
    invalid = connection.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid").fetchone()
    assert invalid == (0,)


def test_a_project_is_adopted_by_the_command(squizzle: Squizzle, project: Project, connection: Connection) -> None:
    project.revision("aaaa1", "pass")
    connection.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
    connection.execute("INSERT INTO alembic_version VALUES ('aaaa1')")

    document = squizzle("adopt", "--json").document

    assert document["adopted"] == [{"version": "0001-aaaa1", "name": "Change aaaa1.", "applied_at": None}]
    assert squizzle("apply", "--all", "--json").document["applied"] == []


def test_a_migrations_folder_inside_a_package_needs_no_settings(squizzle: Squizzle, project: Project) -> None:
    project.revision("aaaa1", "pass")

    done = squizzle("apply", "--all", "--migrations", str(Path("alembic") / "versions"), "--layout", "alembic")

    assert done.code == 0, done.err
