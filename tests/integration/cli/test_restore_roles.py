"""`squizzle restore --roles`: an empty cluster gets every role as it was; what is there is not touched."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.surroundings import GLOBALS_FILE
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.database_properties import read_properties
from squizzle.postgres.embedded import ServerAddress, drill_settings, find_runtime, throwaway_cluster
from squizzle.postgres.programs import find_programs
from tests.integration.cli.conftest import Squizzle, url_of
from tests.integration.conftest import access_to
from tests.support.names import roles

ODD = 'odd; "one"'
FILL = """
    CREATE ROLE {owner} LOGIN CREATEDB PASSWORD 'planted-71d2' CONNECTION LIMIT 7;
    CREATE ROLE {odd} VALID UNTIL '2031-01-01';
    GRANT {owner} TO {odd} WITH ADMIN OPTION;
    GRANT pg_monitor TO {owner};
    GRANT SET ON PARAMETER log_min_duration_statement TO {odd};
    ALTER ROLE {owner} SET work_mem = '7MB';
    ALTER ROLE {owner} IN DATABASE {database} SET work_mem = '9MB';
    COMMENT ON ROLE {odd} IS 'two
lines; here'
"""


@pytest.fixture(scope="module")
def access(servers: Callable[[str], ServerAddress]) -> ServerAccess:
    """The embedded server alone: the empty one must be of its version."""
    return access_to(servers("embedded"))


@pytest.fixture
def filled(access: ServerAccess, control: Connection, database: str) -> Iterator[str]:
    """A database with two roles; gives the name of its owner."""
    owner = f"{database}_owner"
    names = {"owner": owner, "odd": ODD, "database": database}
    control.execute(sql.SQL(FILL).format(**{key: sql.Identifier(name) for key, name in names.items()}))
    control.execute(
        f"ALTER DATABASE {database} OWNER TO {owner}; GRANT CONNECT ON DATABASE {database} TO {owner}".encode()
    )
    yield owner
    control.execute(
        f"ALTER DATABASE {database} OWNER TO {access.user}; ALTER ROLE {owner} IN DATABASE {database} RESET ALL".encode()
    )
    for name in (ODD, owner):
        control.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(name)))


@pytest.fixture
def empty() -> Iterator[ServerAccess]:
    """A cluster that knows nobody, whose programs and version are the embedded server's."""
    runtime = find_runtime()
    settings = drill_settings(runtime.major, throwaway=True)
    with throwaway_cluster("tests-empty", settings=settings, runtime=runtime) as address:
        yield access_to(address)


def globals_of(access: ServerAccess, *more: str) -> list[str]:
    """What pg_dumpall says of a server's roles, without its random first line and without the superuser's password."""
    program = find_programs(explicit=None, server_major=18).path("pg_dumpall")
    command = [program, "--globals-only", f"--host={access.host}", f"--port={access.port}", f"--username={access.user}"]
    said = subprocess.run([*command, *more], check=True, capture_output=True, text=True, timeout=60).stdout
    lines = [
        line for line in said.splitlines() if line and not line.startswith(("--", "\\", f"ALTER ROLE {access.user} "))
    ]
    return sorted(lines)


@pytest.mark.parametrize("passwords", [True, False])
def test_an_empty_cluster_gets_every_role_as_it_was(
    squizzle: Squizzle,
    access: ServerAccess,
    empty: ServerAccess,
    filled: str,
    database: str,
    tmp_path: Path,
    *,
    passwords: bool,
) -> None:
    store = FolderStore(tmp_path / "store")
    options = ("--store", store.address, "--json")
    made = squizzle("backup", "globals", *([] if passwords else ["--no-role-passwords"]), *options)
    full = squizzle("backup", "full", *options).document["id"]
    expected = globals_of(access, *([] if passwords else ["--no-role-passwords"]))
    there = {"DATABASE_URL": url_of(empty, "postgres")}

    early = squizzle("restore", full, "--into", database, *options, **there)
    done = squizzle("restore", made.document["id"], "--roles", *options, **there)
    again = squizzle("restore", made.document["id"], "--roles", "--store", store.address, **there)
    whole = squizzle("restore", full, "--into", database, *options, **there)

    assert early.code == 7
    assert f"roles that this server does not have: {filled}" in early.error["message"]
    assert done.code == 0, done.err
    assert {filled, '"odd; ""one"""'} <= set(done.document["made"])
    assert done.document["kept"] == [empty.user]
    assert globals_of(empty) == expected
    text = (store.path_of(store.read(made.document["id"])) / GLOBALS_FILE).read_text()
    assert ("SCRAM-SHA-256$" in text) is passwords
    assert "made: none" in again.out
    assert ("passwords of roles: left out on request" in again.out) is not passwords
    # With its roles a database comes back with its owner, its privileges, and what single roles have set in it.
    assert whole.code == 0, whole.err
    with connect(empty, "postgres", purpose="look") as session, connect(access, "postgres", purpose="look") as source:
        assert read_properties(session, database) == read_properties(source, database)
        assert roles(session, filled) == {filled}


def test_what_is_there_is_not_touched(squizzle: Squizzle, control: Connection, filled: str, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    options = ("--store", store.address, "--json")
    backup = squizzle("backup", "globals", *options).document["id"]
    control.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(ODD)))
    control.execute(f"ALTER ROLE {filled} CONNECTION LIMIT 9".encode())

    done = squizzle("restore", backup, "--roles", *options)

    assert done.document["made"] == ['"odd; ""one"""']
    assert filled in done.document["kept"]
    row = control.execute("SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", (filled,)).fetchone()
    assert row == (9,)
    member = "SELECT pg_has_role(%s, %s, 'member')"
    assert control.execute(member, (ODD, filled)).fetchone() == (True,)
    data = squizzle("backup", "data", *options).document["id"]
    assert "holds no roles" in squizzle("restore", data, "--roles", *options).error["message"]
