"""A whole history in every layout: the schema and the rows are the very ones that psql makes of the same scripts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.migrations.layouts import detect_layout, read_migrations
from squizzle.migrations.operations import apply_versions, roll_back_versions
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.embedded import ServerAddress
from squizzle.postgres.identity import Target
from squizzle.proof.digests import digest_database
from tests.integration.conftest import SERVERS, access_to
from tests.support.by_psql import dump_schema, run_script
from tests.support.histories import LAYOUTS, lay_out, read_steps
from tests.support.scratch import new_database

STEPS = read_steps(Path(__file__).parents[2] / "support" / "history.sql")
TEMPLATE = sql.SQL("TEMPLATE template0")
WITHOUT_A_WAY_BACK = {"numbered"}
# How a folder is laid out is the same to every server.
CASES = [
    *(("embedded", layout) for layout in LAYOUTS),
    *((server, "native") for server in SERVERS if server == "system"),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """A database as pg_dump and we see it."""

    schema: str
    rows: dict[str, str]


def look(access: ServerAccess, database: str) -> State:
    with connect(access, database, purpose="look") as connection:
        tables = digest_database(connection).tables
    rows = {table.table: table.digest for table in tables if "squizzle" not in table.table}
    return State(schema=dump_schema(access, database), rows=rows)


@pytest.fixture(scope="module")
def by_psql(
    servers: Callable[[str], ServerAddress], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[State, State, State]]:
    """What psql makes on a server: after all scripts, after all ways back, and after all scripts again."""

    @cache
    def states(server: str) -> tuple[State, State, State]:
        access, folder = access_to(servers(server)), tmp_path_factory.mktemp("psql")
        with connect(access, "postgres", purpose="control") as control, new_database(control, TEMPLATE) as database:

            def after(scripts: list[str]) -> State:
                for script in scripts:
                    run_script(access, database, script, folder)
                return look(access, database)

            ups = [step.up for step in STEPS]
            return after(ups), after([step.down for step in reversed(STEPS)]), after(ups)

    return states


@pytest.mark.parametrize(("server", "layout"), CASES)
def test_a_history_ends_with_what_psql_makes_of_it(
    servers: Callable[[str], ServerAddress],
    by_psql: Callable[[str], tuple[State, State, State]],
    tmp_path: Path,
    server: str,
    layout: str,
) -> None:
    access = access_to(servers(server))
    applied, undone, again = by_psql(server)
    folder = tmp_path / "migrations"
    lay_out(layout, STEPS, folder)

    assert detect_layout(folder) == layout
    migrations = read_migrations(folder)
    with connect(access, "postgres", purpose="control") as control, new_database(control, TEMPLATE) as database:
        target = Target(database=database)
        with connect(access, database, purpose="test") as connection:
            apply_versions(connection, target, migrations)
        assert look(access, database) == applied

        if layout in WITHOUT_A_WAY_BACK:
            return
        with connect(access, database, purpose="test") as connection:
            roll_back_versions(connection, target, migrations, to=migrations[0].version)
            roll_back_versions(connection, target, migrations, only=migrations[0].version)
        assert look(access, database) == undone
        with connect(access, database, purpose="test") as connection:
            apply_versions(connection, target, migrations)
        assert look(access, database) == again
