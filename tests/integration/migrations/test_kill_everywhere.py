"""kill -9 behind every statement of the example: the next run goes on, and in the end nothing happened twice."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.analysis.statements import split_statements
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.operations import apply_versions, roll_back_versions
from squizzle.migrations.records import Migration
from squizzle.migrations.status import read_status
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import ServerAddress
from squizzle.postgres.identity import Target
from squizzle.proof.comparison import compare_digests
from squizzle.proof.digests import digest_database
from squizzle.proof.records import DatabaseDigest
from tests.conftest import ROOT
from tests.integration.conftest import access_to
from tests.support.halfway import Halfway
from tests.support.processes import wait_until
from tests.support.scratch import new_database
from tests.support.shop import load_shop
from tests.support.tally import Kind, note_strike

# What the example does behind this version keeps the rows that are there.
BEFORE_ROWS = "0004"


@pytest.fixture(scope="module")
def access(servers: Callable[[str], ServerAddress]) -> ServerAccess:
    """The embedded server alone: what is tested is not the server's."""
    return access_to(servers("embedded"))


class Killer:
    """Ends each run behind the first statement of the example, or commit, that no run was ended behind yet.

    Where the history is written outside of a script's transaction, a run is ended behind that, too.
    """

    def __init__(self, migrations: Sequence[Migration]) -> None:
        self._scripts = {one.version: set(statements_of(one)) for one in migrations}
        self._alone = {one.version for one in migrations if "CONCURRENTLY" in one.up_sql}
        self._version = ""
        self.behind: set[tuple[str, str]] = set()

    def stops_at(self, statement: str, parameters: bytes) -> bool:
        begins = statement.startswith("INSERT") and "squizzle_history" in statement
        if begins:
            self._version = min(self._scripts, key=lambda version: parameters.find(version.encode()) % (1 << 30))
        notes = self._version in self._alone and "squizzle_history" in statement and statement.startswith("UPDATE")
        known = self._scripts.get(self._version, set())
        if not (begins or notes or statement in known or (known and statement == "COMMIT")):
            return False
        was_there = (self._version, statement) in self.behind
        self.behind.add((self._version, statement))
        return not was_there


def statements_of(migration: Migration) -> list[str]:
    return [one.sql for one in split_statements(migration.up_sql, source=migration.labels.up)]


@contextmanager
def applier(folder: Path, to: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.support.applier", str(folder), to]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        yield process


def run_until_killed(process: subprocess.Popen[bytes], halfway: Halfway, line: str) -> int:
    """One run; the exit code, negative when it was killed."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line.encode())
    pid = int(process.stdout.readline())
    ended = [process.stdout]
    wait_until(lambda: halfway.reached.is_set() or bool(select.select(ended, [], [], 0)[0]), "the run came to an end")
    if halfway.reached.is_set():
        os.kill(pid, signal.SIGKILL)
    return int(process.stdout.readline())


def kill_everywhere(access: ServerAccess, database: str, migrations: Sequence[Migration], tmp_path: Path) -> None:
    """Apply up to the last of these, and kill one run after the other, each a statement later."""
    killer = Killer(migrations)
    server = Path(access.host) / f".s.PGSQL.{access.port}"
    line = f"{tmp_path} {access.port} {access.user} {database}\n"
    gone = (
        "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = %s AND application_name LIKE 'squizzle test run%%'"
    )
    with (
        connect(access, "postgres", purpose="look") as control,
        applier(migrations[0].source.parent, migrations[-1].version) as process,
        Halfway(tmp_path, server, killer.stops_at) as halfway,
    ):
        while (code := run_until_killed(process, halfway, line)) == -signal.SIGKILL:
            note_strike(Kind.KILL, "apply", "the run itself", cell=f"behind statement {len(killer.behind)}")
            halfway.hang_up()
            wait_until(lambda: control.execute(gone, (database,)).fetchone() == (True,), "the server let go of it")
        process.stdin.close()  # type: ignore[union-attr]
    assert code == 0
    everywhere = {(one.version, statement) for one in migrations for statement in statements_of(one)}
    assert everywhere - killer.behind == set()


@pytest.mark.chaos
@pytest.mark.kills
def test_an_empty_database_ends_like_one_whose_run_was_left_alone(
    access: ServerAccess, control: Connection, shop: Path, tmp_path: Path
) -> None:
    migrations = read_migrations(shop / "migrations")
    with (
        new_database(control, sql.SQL("TEMPLATE template0")) as database,
        connect(access, database, purpose="look") as connection,
    ):
        apply_versions(connection, Target(database=database), migrations, to=BEFORE_ROWS)
        empty = digest_database(connection)
    with new_database(control, sql.SQL("TEMPLATE template0")) as database:
        kill_everywhere(access, database, migrations[:4], tmp_path)
        with connect(access, database, purpose="look") as connection:
            assert_equal(empty, digest_database(connection))


@pytest.mark.kills
def test_a_run_that_is_killed_behind_every_statement_ends_like_one_that_was_left_alone(
    access: ServerAccess, control: Connection, shop: Path, tmp_path: Path
) -> None:
    """With rows, which are filled, split and moved on the way."""
    migrations = read_migrations(shop / "migrations")
    with new_database(control, sql.SQL("TEMPLATE template0")) as database:
        load_shop(access, database)
        with connect(access, database, purpose="look") as connection:
            complete = digest_database(connection)
            roll_back_versions(connection, Target(database=database), migrations, to=BEFORE_ROWS)

        kill_everywhere(access, database, migrations[4:], tmp_path)
        with connect(access, database, purpose="look") as connection:
            assert_equal(complete, digest_database(connection))
            assert complete.rows > 1000
            assert read_status(connection, Target(database=database), migrations).pending == ()


def assert_equal(expected: DatabaseDigest, found: DatabaseDigest) -> None:
    comparison = compare_digests(expected, found)
    assert comparison.is_equal, comparison.sentences()
