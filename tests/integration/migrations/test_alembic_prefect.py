"""A real history of a hundred revisions, which is at hand: Prefect's own, in the installed package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import prefect
import pytest
from psycopg import sql

from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import ServerAddress
from squizzle.proof.digests import digest_schema
from tests.integration.conftest import access_to
from tests.support.alembic_project import alembic_heads
from tests.support.scratch import new_database

REVISIONS = Path(prefect.__file__).parent / "server" / "database" / "_migrations" / "versions" / "postgresql"
# `prefect server database upgrade`, without the command around it.
PREFECTS_OWN_WAY = """
import asyncio
from prefect.server.database.alembic_commands import alembic_upgrade
from prefect.utilities.asyncutils import run_sync_in_worker_thread
asyncio.run(run_sync_in_worker_thread(alembic_upgrade))
"""


# Once is enough: on the server that is always there.
@pytest.fixture(scope="module")
def address(servers: Callable[[str], ServerAddress]) -> ServerAddress:
    return servers("embedded")


@pytest.fixture(scope="module")
def access(address: ServerAddress) -> ServerAccess:
    return access_to(address)


@pytest.fixture
def variables(access: ServerAccess, database: str, tmp_path: Path) -> Mapping[str, str]:
    url = f"{access.user}@localhost/{database}?host={access.host}&port={access.port}"
    return os.environ | {
        "DATABASE_URL": f"postgresql://{url}",
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{url}",
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "stays",
    [
        pytest.param(-20, marks=pytest.mark.exhaustive, id="twenty revisions back"),
        pytest.param(0, marks=pytest.mark.exhaustive, id="back to its first"),
    ],
)
def test_prefects_whole_history_gives_the_schema_that_prefect_makes_and_goes_back(
    access: ServerAccess,
    control: Connection,
    connection: Connection,
    database: str,
    variables: Mapping[str, str],
    stays: int,
) -> None:
    program = str(Path(sys.executable).with_name("squizzle"))

    def squizzle(*arguments: str) -> dict[str, list[dict[str, object]]]:
        given = [program, *arguments, "--layout", "alembic", "--migrations", str(REVISIONS), "--json"]
        done = subprocess.run(given, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        document: dict[str, list[dict[str, object]]] = json.loads(done.stdout)
        return document

    with (
        new_database(control, sql.SQL("TEMPLATE template0")) as theirs,
        connect(access, theirs, purpose="test") as other,
    ):
        url = variables["PREFECT_SERVER_DATABASE_CONNECTION_URL"].replace(f"/{database}?", f"/{theirs}?")
        own_way = subprocess.Popen(
            [sys.executable, "-c", PREFECTS_OWN_WAY],
            env={**variables, "PREFECT_SERVER_DATABASE_CONNECTION_URL": url},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        applied = squizzle("apply", "--all")["applied"]
        assert own_way.wait() == 0
        assert len(applied) == len(list(REVISIONS.glob("*.py"))) > 100
        assert digest_schema(connection, schema="public").strict == digest_schema(other, schema="public").strict
        assert alembic_heads(connection) == alembic_heads(other)

    last, kept = applied[-1]["version"], str(applied[stays]["version"])
    rolled_back = squizzle("rollback", "--to", kept)["rolled_back"]
    assert [rolled_back[0]["version"], len(rolled_back)] == [last, len(applied[stays:]) - 1]
    assert alembic_heads(connection) == {kept.partition("-")[2]}
    if stays == 0:
        # Prefect's own way back forgets one type.
        enums = connection.execute("SELECT typname FROM pg_type WHERE typtype = 'e' ORDER BY 1").fetchall()
        assert enums == [("state_type",), ("worker_status",)]
