"""Small folders of migrations, and a look at what they left in the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.migrations.history import read_history
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.records import HistoryRow, Migration
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from tests.support.scratch import new_role


class Folder:
    """A folder of migrations that a test writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def write(self, version: str, up: str, *, down: str | None = None, verify: str | None = None) -> None:
        """One version, anew when it is there already."""
        folder = self.path / f"{version}_change"
        folder.mkdir(exist_ok=True)
        for file, text in (("up.sql", up), ("down.sql", down), ("verify.sql", verify)):
            (folder / file).unlink(missing_ok=True)
            if text is not None:
                (folder / file).write_text(text, encoding="utf-8")

    def read(self) -> tuple[Migration, ...]:
        return read_migrations(self.path)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "migrations")


@pytest.fixture
def target(database: str) -> Target:
    return Target(database=database)


@pytest.fixture
def other(access: ServerAccess, database: str) -> Iterator[Connection]:
    """A second session in the same database: somebody else."""
    with connect(access, database, purpose="somebody else") as opened:
        yield opened


@pytest.fixture
def role(access: ServerAccess, control: Connection, database: str) -> Iterator[str]:
    """Somebody who may log in, with no rights but everybody's."""
    with new_role(control, sql.SQL("LOGIN")) as name:
        yield name
        with connect(access, database, purpose="test") as connection:
            connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(name)))


def relations(connection: Connection, schema: str = "public") -> set[str]:
    """The tables, views and indexes of a schema but for our own."""
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident(%s))"
        " AND relkind IN ('r', 'p', 'v', 'm', 'i') AND NOT starts_with(relname, 'squizzle_history')",
        (schema,),
    )
    return {row[0] for row in rows}


@pytest.fixture(scope="session")
def look() -> Callable[..., set[str]]:
    return relations


@pytest.fixture(scope="session")
def rows_of() -> Callable[..., list[HistoryRow]]:
    def rows(connection: Connection, schema: str = "public") -> list[HistoryRow]:
        return list(read_history(connection, schema).rows)

    return rows
