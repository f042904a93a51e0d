"""Running the installed command as its users do: another process, an environment, exit codes, two streams."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from squizzle.postgres.access import Connection, ServerAccess
from tests.integration.migrations.conftest import Folder, other, relations, role
from tests.support.ready_command import COMMAND, PATIENCE_S, ReadyCommand

__all__ = ["COMMAND", "PATIENCE_S", "other", "role"]  # also fixtures of the other folder


@dataclass(frozen=True, kw_only=True)
class Done:
    """What one run of the command gave."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on standard output."""
        assert self.out.endswith("\n")
        assert self.out.count("\n") == 1, self.out
        document = json.loads(self.out)
        assert isinstance(document, dict)
        return document

    @property
    def error(self) -> dict[str, Any]:
        """What the document says about an error; standard error must say the same to a person."""
        assert set(self.document) == {"error"}
        error: dict[str, Any] = self.document["error"]
        assert list(error) == ["code", "message", "hint", "database_state"]
        assert error["code"] == self.code
        assert error["message"]
        assert error["hint"]
        assert f"error: {error['message']}" in self.err
        assert f"database: {error['database_state']}" in self.err
        assert f"next: {error['hint']}" in self.err
        return error


@dataclass(frozen=True, kw_only=True)
class Squizzle:
    """The command in a folder of its own.

    Attributes:
        place: Where it is started; what a user's project would be.
        ready: The command, loaded; what a call of this object runs.
        environment: All that it sees of the environment.
    """

    place: Path
    ready: ReadyCommand
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        return {**started_with(), **self.environment}

    def __call__(self, *arguments: str, stdin: int | None = None, **environment: str) -> Done:
        """One run in a forked process, which spares it the start of Python; what the start is about uses `anew`."""
        with TemporaryFile() as out, TemporaryFile() as err, Path(os.devnull).open("rb") as nothing:
            code = self.ready.run(
                arguments,
                folder=self.place,
                environment=self.variables | environment,
                streams=(nothing.fileno() if stdin is None else stdin, out.fileno(), err.fileno()),
            )
            out.seek(0)
            err.seek(0)
            return Done(code=code, out=out.read().decode(), err=err.read().decode())

    def anew(self, *arguments: str) -> Done:
        """One run of the installed command, as its users start it."""
        with self.started(*arguments) as process:
            out, err = process.communicate(timeout=PATIENCE_S)
        return Done(code=process.returncode, out=out.decode(), err=err.decode())

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start it and do not wait; killed at the end of the block when it still runs."""
        with subprocess.Popen(
            [COMMAND, *arguments],
            cwd=self.place,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def configure(self, text: str) -> None:
        """Write the project's squizzle.toml."""
        (self.place / "squizzle.toml").write_text(text, encoding="utf-8")


def url_of(access: ServerAccess, database: str, *, user: str = "") -> str:
    """The connection string that leads to the server's private socket."""
    place = urlencode({"host": access.host, "port": access.port, "user": user or access.user}, quote_via=quote)
    return f"postgresql:///{quote(database, safe='')}?{place}"


def started_with() -> dict[str, str]:
    """The environment of every run."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**kept, "LC_ALL": "C.UTF-8", "PYTHONWARNINGS": "error"}


@pytest.fixture(scope="session")
def ready() -> Iterator[ReadyCommand]:
    """The command, loaded once for all tests of a worker."""
    command = ReadyCommand(started_with())
    yield command
    command.close()


@pytest.fixture
def offline(folder: Folder, ready: ReadyCommand) -> Squizzle:
    """The command without any database."""
    return Squizzle(place=folder.path.parent, ready=ready)


@pytest.fixture
def url(access: ServerAccess, database: str) -> str:
    return url_of(access, database)


@pytest.fixture
def squizzle(folder: Folder, ready: ReadyCommand, url: str) -> Squizzle:
    """The command with DATABASE_URL."""
    return Squizzle(place=folder.path.parent, ready=ready, environment={"DATABASE_URL": url})


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """The project's migrations, empty; the folder above is the project."""
    project = tmp_path / "project"
    project.mkdir()
    return Folder(project / "migrations")


@pytest.fixture
def shop_folder(folder: Folder) -> Folder:
    """Three versions that work, with a way back."""
    folder.write("0001", "CREATE TABLE t (a int)", down="DROP TABLE t", verify="SELECT to_regclass('t') IS NOT NULL")
    folder.write("0002", "ALTER TABLE t ADD COLUMN b int", down="ALTER TABLE t DROP COLUMN b")
    folder.write("0003", "CREATE TABLE u (a int)", down="DROP TABLE u")
    return folder


@pytest.fixture
def tables(connection: Connection) -> Callable[[], set[str]]:
    """Says which tables there are now."""

    def now() -> set[str]:
        return relations(connection)

    return now
