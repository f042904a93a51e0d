"""A server and a Prefect that may be killed, and the process that runs flows."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from pydantic import SecretStr

from blocks import PostgresDatabase
from squizzle.postgres.access import ServerAccess
from tests.support.killed import Mortal, mortal
from tests.support.own_server import Server, own_server
from tests.support.prefect_server import PrefectServer, prefect_server

PORT = 5432  # part of the socket's name


class Place:
    """A server under one address, wherever it listens after it was killed.

    Attributes:
        server: The server.
        access: Its lasting address, the folder of a socket that leads to it.
    """

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self._link = folder / f".s.PGSQL.{PORT}"
        self.access = ServerAccess(host=str(folder), port=PORT, user=server.access.user)
        self._lead()

    def start(self) -> None:
        """Start it again."""
        self.server.start()
        self._lead()

    def _lead(self) -> None:
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(Path(self.server.access.host) / f".s.PGSQL.{self.server.access.port}")

    def block(self, database: str, **fields: object) -> str:
        """Save a block for one of its databases; how a parameter names it."""
        name = f"database-{secrets.token_hex(4)}"
        PostgresDatabase(
            host=self.access.host,
            port=PORT,
            database=database,
            user=self.access.user,
            password=SecretStr(""),
            environment="testing",
            **fields,  # type: ignore[arg-type]
        ).save(name)
        return f"block:postgres-database/{name}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with own_server("matrix", settings={"shared_preload_libraries": "pg_stat_statements"}) as server:
        yield Place(server, tmp_path_factory.mktemp("way"))


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as server:
        settings = {PREFECT_API_URL: server.url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
        with pytest.MonkeyPatch.context() as patch, temporary_settings(settings):
            patch.setenv("PREFECT_API_URL", server.url)
            patch.setenv("PREFECT_LOGGING_LEVEL", "CRITICAL")
            yield server


@pytest.fixture(scope="module")
def temp() -> Iterator[Path]:
    """What TMPDIR is for those who are killed: not below pytest's own folder, a socket's path must be short."""
    with tempfile.TemporaryDirectory(prefix="sqz") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="module")
def work(prefect: PrefectServer, temp: Path) -> Iterator[Mortal]:
    del prefect
    with mortal("tests.support.flow_work", temp) as running:
        yield running
