"""The real programs and Squizzle in turn on one database: each finds what the other did.

dbmate comes from PyPI and is always there; sqitch and sql-migrate are tried where they are installed (Debian: sqitch,
libdbd-pg-perl, sql-migrate).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.errors import VersionConflictError
from squizzle.migrations.adoption import Trust, adopt_history
from squizzle.migrations.operations import apply_versions, roll_back_versions
from squizzle.migrations.status import read_status
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from tests.support.tools import TOOLS, Tool, found

pytestmark = pytest.mark.parametrize("address", ["embedded"], indirect=True)

Run = Callable[..., str]


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if found(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed here: {', '.join(missing)}")


def run(*command: str | Path, folder: Path, ends_with: int = 0) -> str:
    """A program's output; its environment is that of nobody."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "TZ": "UTC", "LC_ALL": "C.UTF-8"}
    ended = subprocess.run(
        command,
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == ends_with, ended.stdout
    return ended.stdout


class Pair:
    """Squizzle with books of a tool."""

    def __init__(self, tool: Tool, folder: Path, connection: Connection, target: Target) -> None:
        self.tool, self.folder, self.connection, self.target = tool, folder, connection, target

    def apply(self) -> None:
        books = self.tool.books(self.folder)
        apply_versions(self.connection, self.target, books.migrations, books=books)

    def roll_back(self, number: int) -> None:
        books = self.tool.books(self.folder)
        only = books.migrations[number - 1].version
        roll_back_versions(self.connection, self.target, books.migrations, only=only, books=books)

    def adopt(self, trust: Trust | None = None) -> None:
        adopt_history(self.connection, self.target, self.tool.books(self.folder), trust=trust)

    def pending(self) -> int:
        return len(read_status(self.connection, self.target, self.tool.read(self.folder)).pending)


@pytest.fixture
def pair(connection: Connection, target: Target, tmp_path: Path) -> Callable[[str], Pair]:
    def make(name: str) -> Pair:
        tool = TOOLS[name]
        tool.write(tmp_path)
        return Pair(tool, tmp_path, connection, target)

    return make


@pytest.fixture
def twin(access: ServerAccess, database: str, control: Connection) -> Iterator[Connection]:
    """A second database, for the tool alone."""
    name = f"{database}_twin"
    control.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    with connect(access, name, purpose="twin") as opened:
        yield opened


def in_turn(pair: Pair, *, up: Callable[[], object], down: Callable[[], object], pending: Callable[[], int]) -> None:
    """Each tool goes on where the other one stopped; three migrations, none applied yet."""
    pair.apply()
    assert pending() == 0  # the tool says so

    pair.roll_back(3)
    assert pending() == 1
    up()
    with pytest.raises(VersionConflictError, match="applied what the history does not have"):
        pair.apply()
    pair.adopt()
    assert pair.pending() == 0

    down()
    assert pending() == 1
    with pytest.raises(VersionConflictError, match="does not know as applied"):
        pair.apply()
    pair.adopt(Trust.BOOKS)
    assert pair.pending() == 1
    pair.apply()
    assert (pending(), pair.pending()) == (0, 0)


def test_dbmate_and_squizzle_in_turn(
    pair: Callable[[str], Pair], access: ServerAccess, database: str, twin: Connection
) -> None:
    both = pair("dbmate")
    program = Path(sys.executable).with_name("dbmate")

    def dbmate(*words: str, on: str = database) -> str:
        url = f"postgres://{access.user}@/{on}?host={access.host}&port={access.port}&sslmode=disable"
        return run(program, "--no-dump-schema", "-d", str(both.folder), "--url", url, *words, folder=both.folder)

    def pending() -> int:
        return int(dbmate("status").rpartition("Pending: ")[2])

    in_turn(both, up=lambda: dbmate("up"), down=lambda: dbmate("rollback"), pending=pending)
    dbmate("up", on=twin.info.dbname)
    assert both.tool.said(both.connection) == both.tool.said(twin)
    assert structure(both.connection, "public", "schema_migrations") == structure(twin, "public", "schema_migrations")


@needs("sql-migrate")
def test_sql_migrate_and_squizzle_in_turn(pair: Callable[[str], Pair], access: ServerAccess, database: str) -> None:
    both = pair("sql-migrate")
    source = f"host={access.host} port={access.port} user={access.user} dbname={database} sslmode=disable"
    text = f"development:\n  dialect: postgres\n  datasource: {source}\n  dir: .\n"
    (both.folder / "dbconfig.yml").write_text(text)

    def sql_migrate(*words: str) -> str:
        return run("sql-migrate", *words, folder=both.folder)

    def pending() -> int:
        return sql_migrate("status").count("| no ")

    in_turn(both, up=lambda: sql_migrate("up"), down=lambda: sql_migrate("down"), pending=pending)


@needs("sqitch", "psql")
def test_sqitch_and_squizzle_in_turn(
    pair: Callable[[str], Pair], access: ServerAccess, database: str, twin: Connection
) -> None:
    both = pair("sqitch")

    def sqitch(*words: str, on: str = database) -> str:
        target = f"db:pg://{access.user}@/{on}?host={access.host}&port={access.port}"
        return run("sqitch", words[0], "--target", target, *words[1:], folder=both.folder)

    def pending() -> int:
        said = sqitch("status")
        return 0 if "Nothing to deploy" in said else said.count("\n  * ")

    both.apply()
    sqitch("deploy", on=twin.info.dbname)
    assert both.tool.said(both.connection) == both.tool.said(twin)
    assert structure(both.connection, "sqitch", "") == structure(twin, "sqitch", "")

    in_turn(both, up=lambda: sqitch("deploy"), down=lambda: sqitch("revert", "-y", "--to", "@HEAD^"), pending=pending)


def structure(connection: Connection, schema: str, table: str) -> list[tuple[object, ...]]:
    """What a tool's tables consist of, but for comments."""
    query = """
        SELECT c.relname, a.attnum::text, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
            pg_get_expr(d.adbin, d.adrelid)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
            LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace = %(schema)s::regnamespace AND starts_with(c.relname, %(table)s) AND a.attnum > 0
            AND c.relkind IN ('r', 'i')
        UNION ALL
        SELECT c.relname, o.conname, pg_get_constraintdef(o.oid), NULL, NULL, NULL
        FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
        WHERE o.connamespace = %(schema)s::regnamespace AND starts_with(c.relname, %(table)s)
        ORDER BY 1, 2, 3
    """
    return connection.execute(query, {"schema": schema, "table": table}).fetchall()
