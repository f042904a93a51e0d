"""What a connection asks of TLS holds for our own sessions and for every client program, and is never made less."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from blocks import PostgresDatabase
from squizzle.errors import ConnectionFailedError, SquizzleError, ToolError
from squizzle.postgres.access import ServerAccess, connect, conninfo_database, parse_url
from squizzle.postgres.client_run import run_client
from squizzle.postgres.embedded import Cluster, ServerAddress, find_runtime
from squizzle.postgres.programs import ClientPrograms, find_programs
from tests.integration.conftest import SYSTEM_FOLDERS

SETTINGS = {"ssl": "on", "ssl_cert_file": "server.crt", "ssl_key_file": "server.key", "log_connections": "on"}
PROGRAMS = ["psql", "pg_dump", "pg_dumpall", "pg_restore", "pg_basebackup", "pg_receivewal"]


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """A server with a certificate of an authority that nobody knows."""

    address: ServerAddress
    programs: ClientPrograms
    right: Path
    wrong: Path
    log: Path

    def reached(self, mode: str, root: Path | None = None, *, host: str = "") -> ServerAccess:
        roots = f"&sslrootcert={root}" if root else ""
        password = self.address.read_password()
        place = f"{host or self.address.host}:{self.address.port}"
        return parse_url(f"postgresql://{self.address.user}:{password}@{place}/postgres?sslmode={mode}{roots}")[0]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    if not SYSTEM_FOLDERS:
        pytest.skip("the embedded server has no TLS: install PostgreSQL")
    from tests.support.certificate_authority import Authority  # noqa: PLC0415 - loads OpenSSL

    folder = tmp_path_factory.mktemp("authorities")
    ours, other = Authority("ours", folder), Authority("other", folder)
    runtime = find_runtime(bin_folder=SYSTEM_FOLDERS[-1])
    cluster = Cluster(runtime, f"tests-tls-{os.getpid()}")
    try:
        cluster.create(SETTINGS | {"fsync": "off"})
        for name, content in zip(("server.crt", "server.key"), ours.certify("127.0.0.1"), strict=True):
            file = cluster.layout.data / name
            file.touch(mode=0o600)
            file.write_bytes(content)
            runtime.hand_over(file)
        address = cluster.start(guarded=True)
        programs = find_programs(explicit=SYSTEM_FOLDERS[-1], server_major=runtime.major)
        yield Guarded(address=address, programs=programs, right=ours.root, wrong=other.root, log=cluster.layout.log)
    finally:
        cluster.destroy()


def run(name: str, programs: ClientPrograms, access: ServerAccess, folder: Path) -> None:
    """Start a client program as we do, and let it work on a server."""
    arguments = {
        "psql": ["--no-psqlrc", "--command=SELECT 1"],
        "pg_dump": ["--schema-only", f"--file={folder / 'dump'}"],
        "pg_dumpall": ["--globals-only", f"--file={folder / 'globals'}"],
        "pg_restore": [f"--dbname={conninfo_database('postgres')}", str(folder / "empty")],
        "pg_basebackup": [f"--pgdata={folder / 'copy'}", "--checkpoint=fast", "--wal-method=none", "--no-manifest"],
        "pg_receivewal": ["--create-slot", f"--slot=tls_{secrets.token_hex(3)}"],
    }[name]
    if name == "pg_restore":
        _run("pg_dump", programs, access, ["--format=custom", "--schema-only", f"--file={folder / 'empty'}"])
    _run(name, programs, access, [*arguments, "--no-password"])


def _run(name: str, programs: ClientPrograms, access: ServerAccess, arguments: list[str]) -> None:
    patience = timedelta(minutes=2)
    run_client(programs.path(name), arguments, access=access, database="postgres", doing="look", timeout=patience)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_client_program_proves_who_the_server_is_or_does_not_connect(
    name: str, guarded: Guarded, tmp_path: Path
) -> None:
    with guarded.log.open() as log:
        log.seek(0, os.SEEK_END)
        run(name, guarded.programs, guarded.reached("verify-full", guarded.right), tmp_path)
        said = [line for line in log if "connection authorized" in line]
    assert said
    assert all("SSL enabled" in line for line in said)

    with pytest.raises(ToolError, match="certificate verify failed"):
        run(name, guarded.programs, guarded.reached("verify-full", guarded.wrong), tmp_path)
    with pytest.raises(ToolError, match="does not match host name"):
        run(name, guarded.programs, guarded.reached("verify-full", guarded.right, host="localhost"), tmp_path)


def is_encrypted(access: ServerAccess) -> bool:
    with connect(access, "postgres", purpose="test") as session:
        query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        return session.execute(query).fetchone() == (True,)


@pytest.mark.parametrize("given_by", ["url", "environment", "service", "block"])
def test_our_own_session_asks_for_what_url_environment_service_or_block_say(
    given_by: str, guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reached(root: Path) -> ServerAccess:
        by_url = guarded.reached("verify-full", root)
        if given_by == "environment":
            monkeypatch.setenv("PGSSLMODE", "verify-full")
            monkeypatch.setenv("PGSSLROOTCERT", str(root))
            return replace(by_url, parameters=())
        if given_by == "service":
            (tmp_path / "services").write_text(f"[one]\nport={by_url.port}\nsslmode=verify-full\nsslrootcert={root}\n")
            monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
            found = parse_url(f"postgresql://{by_url.user}@{by_url.host}/postgres?service=one")[0]
            return replace(found, password=by_url.password)
        if given_by == "block":
            return PostgresDatabase(
                host=by_url.host,
                port=guarded.address.port,
                database="postgres",
                user=by_url.user,
                password=SecretStr(guarded.address.read_password()),
                sslmode="verify-full",
                root_certificate=str(root),
                environment="testing",
            ).access()
        return by_url

    assert is_encrypted(reached(guarded.right))
    with pytest.raises(ConnectionFailedError, match="certificate verify failed"):
        is_encrypted(reached(guarded.wrong))
    # A program that is started for the same access.
    run("psql", guarded.programs, reached(guarded.right), tmp_path)
    with pytest.raises(ToolError, match="certificate verify failed"):
        run("psql", guarded.programs, reached(guarded.wrong), tmp_path)


def test_whoever_must_have_tls_gets_no_connection_in_the_clear(
    access: ServerAccess, address: ServerAddress, programs: ClientPrograms, tmp_path: Path
) -> None:
    with connect(access, "postgres", purpose="test") as control:
        assert control.execute("SHOW ssl").fetchone() == ("off",)
    for mode in ("require", "verify-ca", "verify-full"):
        demanding = replace(access, host=address.host, parameters=(("sslmode", mode), ("sslrootcert", os.devnull)))
        with pytest.raises(SquizzleError, match="SSL"):
            connect(demanding, "postgres", purpose="test")
        with pytest.raises(ToolError, match="SSL"):
            run("psql", programs, demanding, tmp_path)
