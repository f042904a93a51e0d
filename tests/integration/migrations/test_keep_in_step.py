"""Another tool's books say what our history says, whatever happens, so that both tools stay usable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from squizzle.errors import (
    DatabaseState,
    MigrationFailedError,
    RefusedError,
    RollbackFailedError,
    SquizzleError,
    VersionConflictError,
)
from squizzle.migrations.adoption import adopt_history
from squizzle.migrations.bookkeeping.comparison import Difference, compare
from squizzle.migrations.history import read_history
from squizzle.migrations.operations import apply_versions, preview_apply, roll_back_versions, verify_versions
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from tests.support.tools import FLYWAY_CHECKSUMS, SQITCH_TAG_IDS, TOOLS, Tool

EMBEDDED = pytest.mark.parametrize("address", ["embedded"], indirect=True)


@pytest.fixture(params=TOOLS)
def tool(request: pytest.FixtureRequest) -> Tool:
    return TOOLS[request.param]


class Project:
    """A folder of one tool's migrations and a database, both ways."""

    def __init__(self, tool: Tool, folder: Path, connection: Connection, target: Target) -> None:
        self.tool, self.folder, self.connection, self.target = tool, folder, connection, target

    def apply(self, connection: Connection | None = None, **limits: str) -> None:
        books = self.tool.books(self.folder)
        apply_versions(connection or self.connection, self.target, books.migrations, books=books, **limits)

    def roll_back(self, number: int) -> None:
        books = self.tool.books(self.folder)
        only = books.migrations[number - 1].version
        roll_back_versions(self.connection, self.target, books.migrations, only=only, books=books)

    def said(self) -> list[tuple[object, ...]]:
        return self.tool.said(self.connection)

    def difference(self) -> Difference:
        books = self.tool.books(self.folder)
        entries = books.entries(self.connection, self.target.schema)
        return compare(books, entries, read_history(self.connection, self.target.schema))

    def applied(self) -> list[int]:
        """Which of t1, t2, t3 are there."""
        rows = self.connection.execute("SELECT relname FROM pg_class WHERE relname ~ '^t[0-9]$' ORDER BY 1")
        return [int(name[1]) for (name,) in rows]


@pytest.fixture
def project(tool: Tool, tmp_path: Path, connection: Connection, target: Target) -> Project:
    """On an empty database."""
    tool.write(tmp_path)
    return Project(tool, tmp_path, connection, target)


@pytest.fixture
def dbmate(tmp_path: Path, connection: Connection, target: Target) -> Project:
    TOOLS["dbmate"].write(tmp_path)
    return Project(TOOLS["dbmate"], tmp_path, connection, target)


# --- every tool -----------------------------------------------------------------------------------------------------


@pytest.fixture
def as_the_tool(access: ServerAccess, database: str, control: Connection, tool: Tool) -> Iterator[Connection]:
    """A second database, in which the tool itself does everything."""
    name = f"{database}_twin"
    control.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    with connect(access, name, purpose="twin") as opened:
        tool.create(opened)
        yield opened


@pytest.mark.one_server
def test_books_hold_the_same_rows_as_if_the_tool_itself_had_done_it(project: Project, as_the_tool: Connection) -> None:
    tool = project.tool

    def same() -> bool:
        assert project.said() == tool.said(as_the_tool)
        return project.difference() == Difference()

    project.apply()
    for number in (1, 2, 3):
        tool.apply(as_the_tool, number)
    assert same()

    project.roll_back(3)
    tool.revert(as_the_tool, 3)
    assert same()

    project.roll_back(2)
    tool.revert(as_the_tool, 2)
    assert same()

    project.apply(to=tool.read(project.folder)[1].version)
    tool.apply(as_the_tool, 2)
    assert same()
    assert project.applied() == [1, 2]
    assert structure(project.connection, tool) == structure(as_the_tool, tool)
    assert all(check.ok for check in verified(project))


def structure(connection: Connection, tool: Tool) -> list[tuple[object, ...]]:
    """Columns, constraints and indexes of a tool's tables, but for column numbers."""
    schema = tool.table.partition(".")[0]
    query = """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text,
            pg_get_expr(d.adbin, d.adrelid)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid
            AND d.adnum = a.attnum
        WHERE c.relkind = 'r' AND c.relnamespace = to_regnamespace(%(schema)s) AND a.attnum > 0
            AND c.relname !~ '^t[0-9]$|squizzle'
        UNION ALL
        SELECT c.relname, o.conname, pg_get_constraintdef(o.oid), NULL, NULL, NULL
        FROM pg_class c JOIN pg_constraint o ON o.conrelid = c.oid
        WHERE c.relnamespace = to_regnamespace(%(schema)s) AND c.relname !~ 'squizzle'
        UNION ALL
        SELECT tablename, indexname, indexdef, NULL, NULL, NULL FROM pg_indexes
        WHERE schemaname = %(schema)s AND tablename !~ '^t[0-9]$|squizzle'
        ORDER BY 1, 2, 3
    """
    return connection.execute(query, {"schema": schema}).fetchall()


def verified(project: Project) -> list[object]:
    books = project.tool.books(project.folder)
    return list(verify_versions(project.connection, project.target, books.migrations, books=books))


@EMBEDDED
def test_we_go_on_where_the_tool_stopped_and_the_tool_where_we_stopped(
    connection: Connection, target: Target, tmp_path: Path, tool: Tool
) -> None:
    tool.used(tmp_path, connection)
    project = Project(tool, tmp_path, connection, target)
    adopt_history(connection, target, tool.books(tmp_path))
    before = tool.said(connection)

    project.apply()
    applied = tool.said(connection)
    project.roll_back(3)
    if tool.layout not in {"flyway", "sqitch"}:  # these remember what was taken back
        assert tool.said(connection) == before
    connection.execute("CREATE TABLE t3 (a int)")
    tool.apply(connection, 3)
    if tool.layout not in {"flyway", "sqitch"}:
        assert tool.said(connection) == applied

    version = tool.read(tmp_path)[2].version
    for act in (project.apply, lambda: project.roll_back(2), lambda: preview(project)):
        with pytest.raises(
            VersionConflictError, match=rf"applied what the history does not have: {version} "
        ) as caught:
            act()
        assert "squizzle adopt" in caught.value.hint
        assert caught.value.database_state is DatabaseState.UNTOUCHED
    assert [check.ok for check in verified(project) if check.name.startswith("books")] == [False]

    adopt_history(connection, target, tool.books(tmp_path))
    project.roll_back(3)
    assert project.applied() == [1, 2]
    assert project.difference() == Difference()


def preview(project: Project) -> None:
    books = project.tool.books(project.folder)
    preview_apply(project.connection, project.target, books.migrations, books=books)


# --- when something goes wrong ----------------------------------------------------------------------------------------


def disturb(project: Project, action: str) -> None:
    """Let a trigger do something when the books are written."""
    project.connection.execute(
        f"CREATE FUNCTION disturb() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {action}; RETURN NULL; END$$".encode()
    )
    project.connection.execute(
        f"CREATE TRIGGER disturb AFTER INSERT OR DELETE ON {project.tool.table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION disturb()".encode()
    )


def end_disturbance(project: Project) -> None:
    project.connection.execute(f"DROP TRIGGER disturb ON {project.tool.table}".encode())


TERMINATE = "PERFORM pg_terminate_backend(pg_backend_pid())"


def killed(project: Project, act: Callable[[Connection], None], access: ServerAccess) -> None:
    """The session dies while it writes the books, and with it everything that it had not committed."""
    disturb(project, TERMINATE)
    with connect(access, project.target.database, purpose="to be killed") as victim, pytest.raises(SquizzleError):
        act(victim)
    end_disturbance(project)


@EMBEDDED
def test_a_run_that_dies_while_it_writes_them_leaves_both_without_the_version(
    access: ServerAccess, project: Project
) -> None:
    versions = [one.version for one in project.tool.read(project.folder)]
    project.apply(to=versions[0])
    before = project.said()

    killed(project, project.apply, access)

    assert project.applied() == [1]
    assert project.said() == before
    assert project.difference() == Difference()
    project.apply()  # the next run completes it
    assert project.applied() == [1, 2, 3]
    assert project.difference() == Difference()


@EMBEDDED
def test_a_script_outside_a_transaction_is_noted_together_with_its_closing_row(
    access: ServerAccess, dbmate: Project
) -> None:
    dbmate.apply()
    alone = "-- migrate:{} transaction:false\n{} INDEX CONCURRENTLY i{};\n"
    text = alone.format("up", "CREATE", " ON t1 (a)") + alone.format("down", "DROP", "")
    (dbmate.folder / "20240104120000_i.sql").write_text(text)

    killed(dbmate, dbmate.apply, access)

    assert dbmate.difference() == Difference()
    assert ("20240104120000",) not in dbmate.said()
    dbmate.apply()
    assert dbmate.said()[-1] == ("20240104120000",)
    dbmate.roll_back(4)
    assert ("20240104120000",) not in dbmate.said()
    assert dbmate.connection.execute("SELECT to_regclass('i')").fetchone() == (None,)


@EMBEDDED
def test_what_cannot_be_noted_is_not_done(dbmate: Project) -> None:
    dbmate.apply(to="20240101120000")
    disturb(dbmate, "RAISE 'the auditors have it'")

    with pytest.raises(
        MigrationFailedError, match=r"books of dbmate \(public\.schema_migrations\): the auditors"
    ) as up:
        dbmate.apply()
    assert up.value.database_state is DatabaseState.UNTOUCHED
    assert dbmate.applied() == [1]
    with pytest.raises(RollbackFailedError, match="the auditors have it"):
        dbmate.roll_back(1)
    assert dbmate.applied() == [1]
    assert dbmate.difference() == Difference()


@EMBEDDED
@pytest.mark.parametrize("name", ["dbmate", "sqitch", "flyway"])
def test_a_missing_right_is_found_before_anything_is_run(
    access: ServerAccess, connection: Connection, target: Target, tmp_path: Path, role: str, name: str
) -> None:
    tool = TOOLS[name]
    tool.used(tmp_path, connection)
    project = Project(tool, tmp_path, connection, target)
    adopt_history(connection, target, tool.books(tmp_path))
    rows = len(read_history(connection, "public").rows)
    names = sql.SQL("CREATE, USAGE ON SCHEMA public TO {}").format(sql.Identifier(role))
    connection.execute(sql.SQL("GRANT ") + names)
    for schema in {"public", "squizzle", tool.table.partition(".")[0]}:
        for what in ("USAGE ON SCHEMA {}", "SELECT ON ALL TABLES IN SCHEMA {}"):
            grant = sql.SQL("GRANT " + what + " TO {}").format(sql.Identifier(schema), sql.Identifier(role))
            connection.execute(grant)
    connection.execute(sql.SQL("GRANT ALL ON squizzle_history TO {}").format(sql.Identifier(role)))

    with (
        connect(access, target.database, purpose="weak") as weak,
    ):
        weak.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(sql.Identifier(role)))
        with pytest.raises(RefusedError, match=rf"the user may not .*INSERT on {tool.table}") as caught:
            project.apply(weak)

    assert caught.value.database_state is DatabaseState.UNTOUCHED
    assert project.applied() == [1, 2]
    assert len(read_history(connection, "public").rows) == rows


@EMBEDDED
def test_goose_before_3_25_needs_its_sequence(connection: Connection, role: str, tmp_path: Path) -> None:
    TOOLS["goose"].write(tmp_path)
    books = TOOLS["goose"].books(tmp_path)
    connection.execute(
        "CREATE TABLE goose_db_version (id serial PRIMARY KEY, version_id bigint NOT NULL,"
        " is_applied boolean NOT NULL, tstamp timestamp DEFAULT now())"
    )
    connection.execute(sql.SQL("GRANT ALL ON goose_db_version TO {}").format(sql.Identifier(role)))
    connection.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(sql.Identifier(role)))

    with pytest.raises(RefusedError, match=r"the user may not USAGE on public\.goose_db_version_id_seq"):
        books.refuse_without_rights(connection, "public")


@EMBEDDED
def test_a_table_that_somebody_locks_is_waited_for(access: ServerAccess, dbmate: Project) -> None:
    dbmate.apply(to="20240101120000")
    with psycopg.connect(host=access.host, port=access.port, user=access.user, dbname=dbmate.target.database) as holder:
        holder.execute("LOCK TABLE schema_migrations IN ACCESS SHARE MODE")  # who only reads is in nobody's way
        dbmate.apply()
    assert dbmate.applied() == [1, 2, 3]


# --- flyway's repeatable migrations -------------------------------------------------------------------------------


@EMBEDDED
def test_a_repeatable_migration_is_noted_each_time_and_comes_again_when_it_changes(
    connection: Connection, target: Target, tmp_path: Path
) -> None:
    tool = TOOLS["flyway"]
    tool.write(tmp_path)
    project = Project(tool, tmp_path, connection, target)
    view = tmp_path / "R__all_of_t.sql"
    view.write_text("CREATE OR REPLACE VIEW v AS SELECT a FROM t1;\n")
    project.apply()
    project.apply()
    assert [row[1:4] for row in project.said()] == [
        ("1", "add t1", "SQL"),
        ("2", "add t2", "SQL"),
        ("3", "add t3", "SQL"),
        (None, "all of t", "SQL"),
    ]

    view.write_text("CREATE OR REPLACE VIEW v AS SELECT a FROM t1 UNION SELECT a FROM t2;\n")
    (tmp_path / "V4__add_t4.sql").write_text("CREATE TABLE t4 (a int);\n")
    assert project.difference() == Difference()  # that a file was changed is no contradiction
    project.apply()

    assert [row[1:4] for row in project.said()[4:]] == [("4", "add t4", "SQL"), (None, "all of t", "SQL")]
    assert project.said()[3][5] != project.said()[5][5]
    assert project.difference() == Difference()
    assert all(check.ok for check in verified(project))

    connection.execute(
        "INSERT INTO flyway_schema_history SELECT 7, version, description, type, script, 5, installed_by,"
        " installed_on, 1, true FROM flyway_schema_history WHERE installed_rank = 6"
    )
    with pytest.raises(VersionConflictError, match="does not know as applied: 9999"):  # Flyway applied another text
        project.apply()
    assert FLYWAY_CHECKSUMS["V1"] == project.said()[0][5]


# --- sqitch's registry --------------------------------------------------------------------------------------------


@EMBEDDED
def test_what_another_sqitch_project_provides_must_be_deployed_and_is_noted_by_its_id(
    connection: Connection, target: Target, tmp_path: Path
) -> None:
    tool = TOOLS["sqitch"]
    tool.write(tmp_path)
    plan = tmp_path / "sqitch.plan"
    plan.write_text(plan.read_text(encoding="utf-8").replace("!other:thing", "other:thing@v7"), encoding="utf-8")
    project = Project(tool, tmp_path, connection, target)

    with pytest.raises(VersionConflictError, match="users requires other:thing@v7, which sqitch's registry"):
        project.apply()
    assert project.applied() == [1, 2]
    assert project.difference() == Difference()

    connection.execute("INSERT INTO sqitch.projects VALUES ('other', NULL, now(), 'A', 'a@b.c')")
    connection.execute(
        "INSERT INTO sqitch.changes"
        " VALUES ('id7', 'hash', 'thing', 'other', '', now(), 'A', 'a@b.c', now(), 'A', 'a@b.c')"
    )
    connection.execute(
        "INSERT INTO sqitch.tags VALUES ('t', '@v7', 'other', 'id7', '', now(), 'A', 'a@b.c', now(), 'A', 'a@b.c')"
    )
    project.apply()

    query = "SELECT dependency_id FROM sqitch.dependencies WHERE dependency = 'other:thing@v7'"
    assert connection.execute(query).fetchall() == [("id7",)]


@EMBEDDED
def test_a_tag_that_the_plan_got_later_is_noted_with_the_next_change(
    connection: Connection, target: Target, tmp_path: Path
) -> None:
    tool = TOOLS["sqitch"]
    tool.write(tmp_path)
    plan = tmp_path / "sqitch.plan"
    text = plan.read_text(encoding="utf-8")
    plan.write_text(text[: text.index("@v1.0")], encoding="utf-8")
    (tmp_path / "deploy" / "users@v1.0.sql").rename(tmp_path / "deploy" / "users.sql")
    project = Project(tool, tmp_path, connection, target)
    project.apply()
    assert connection.execute("SELECT tag FROM sqitch.tags").fetchall() == []

    (tmp_path / "deploy" / "users.sql").rename(tmp_path / "deploy" / "users@v1.0.sql")
    (tmp_path / "deploy" / "users.sql").write_text("CREATE TABLE t3 (a int);\n")
    plan.write_text(text, encoding="utf-8")
    project.apply()

    found = connection.execute("SELECT tag, tag_id FROM sqitch.tags ORDER BY 1").fetchall()
    assert found == [("@v1.0", SQITCH_TAG_IDS[0]), ("@v1.1", SQITCH_TAG_IDS[1])]


@EMBEDDED
def test_who_may_only_look_may_compare(
    access: ServerAccess, connection: Connection, role: str, dbmate: Project
) -> None:
    dbmate.apply()
    for what in ("USAGE ON SCHEMA squizzle", "SELECT ON ALL TABLES IN SCHEMA public, squizzle"):
        connection.execute(sql.SQL("GRANT " + what + " TO {}").format(sql.Identifier(role)))
    with connect(access, dbmate.target.database, purpose="weak") as weak:
        weak.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(sql.Identifier(role)))
        preview(Project(dbmate.tool, dbmate.folder, weak, dbmate.target))
