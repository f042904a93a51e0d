"""Real servers: the embedded PostgreSQL, and the system's where there is one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import ServerAddress, drill_settings, find_runtime, throwaway_cluster
from squizzle.postgres.programs import ClientPrograms, find_programs
from tests.support.scratch import new_database

# Debian's and the PGDG's folders, the newest last; the embedded server is always there.
# A server of any version in the place of the system's: the folder of its programs.
OTHER_SERVER = "SQUIZZLE_TEST_SERVER"
SYSTEM_FOLDERS = (
    [Path(os.environ[OTHER_SERVER])]
    if OTHER_SERVER in os.environ
    else sorted([*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")], key=Path.as_posix)
)
SERVERS = ["embedded", *(["system"] if SYSTEM_FOLDERS else [])]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is marked `one_server` runs on the others only in `make exhaustive`; before anything is left out by its marks."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        server = callspec.params.get("address", SERVERS[0]) if callspec else SERVERS[0]
        if item.get_closest_marker("one_server") and server != SERVERS[0]:
            item.add_marker(pytest.mark.exhaustive)


def access_to(address: ServerAddress) -> ServerAccess:
    """The superuser through the private socket, which asks for no password."""
    return ServerAccess(host=str(address.socket_folder), port=address.port, user=address.user)


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str], ServerAddress]]:
    """Starts a server of each kind when it is first asked for, and keeps it until the end."""
    running: dict[str, ServerAddress] = {}
    with ExitStack() as stack:

        def server(kind: str) -> ServerAddress:
            if kind not in running:
                runtime = find_runtime(bin_folder=SYSTEM_FOLDERS[-1] if kind == "system" else None)
                settings = drill_settings(runtime.major, throwaway=True) | {"max_prepared_transactions": "5"}
                running[kind] = stack.enter_context(throwaway_cluster("tests", settings=settings, runtime=runtime))
            return running[kind]

        yield server


@pytest.fixture(scope="session", params=SERVERS)
def address(request: pytest.FixtureRequest, servers: Callable[[str], ServerAddress]) -> ServerAddress:
    """A running server, once for each kind."""
    return servers(request.param)


@pytest.fixture(scope="session")
def access(address: ServerAddress) -> ServerAccess:
    """How to reach the server."""
    return access_to(address)


@pytest.fixture(scope="session")
def programs(access: ServerAccess) -> ClientPrograms:
    """Client programs that fit the server."""
    with connect(access, "postgres", purpose="test") as connection:
        return find_programs(explicit=None, server_major=connection.info.server_version // 10000)


@pytest.fixture
def control(access: ServerAccess) -> Iterator[Connection]:
    """A session in the maintenance database."""
    with connect(access, "postgres", purpose="test control") as connection:
        yield connection


@pytest.fixture
def database(control: Connection) -> Iterator[str]:
    """An empty database, dropped afterwards together with everything whose name begins with its own."""
    with new_database(control, sql.SQL("TEMPLATE template0")) as name:
        yield name


@pytest.fixture
def connection(access: ServerAccess, database: str) -> Iterator[Connection]:
    """A session in the empty database."""
    with connect(access, database, purpose="test") as opened:
        yield opened
