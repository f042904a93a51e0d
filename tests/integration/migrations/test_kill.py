"""kill -9 of the command in the middle of a history: the next run completes it, and nothing happens twice.

Where exactly it is hit is chance here; `test_kill_everywhere` goes from statement to statement.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from squizzle.errors import LockTimeoutError
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.status import read_status
from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.identity import Target
from tests.integration.cli.conftest import Squizzle, ready, url_of
from tests.support.processes import wait_until
from tests.support.ready_command import ReadyCommand
from tests.support.tally import Kind, note_strike

pytestmark = [pytest.mark.one_server, pytest.mark.kills]

__all__ = ["ready"]  # a fixture of the other folder

# From before the first statement to after the last one; a slow machine may need more of them.
KILLS = 8
KILLS_ON_A_SLOW_MACHINE = 60
STATEMENTS = "\n".join(f"INSERT INTO done VALUES ({number}); SELECT pg_sleep(0.02);" for number in range(10))  # noqa: S608


class Command:
    """The command on one folder and one database."""

    def __init__(self, ready: ReadyCommand, access: ServerAccess, database: str, folder: Path) -> None:
        self._ready = ready
        self._squizzle = Squizzle(place=folder, ready=ready, environment={"DATABASE_URL": url_of(access, database)})
        self._arguments = ("apply", "--all", "--migrations", str(folder))

    @contextmanager
    def killed(self) -> Iterator[Callable[[], bool]]:
        """Start it, and kill it at the end of the block; yields a function that says whether it still runs."""
        runner = threading.Thread(target=self._squizzle, args=self._arguments)
        runner.start()
        try:
            yield runner.is_alive
        finally:
            self._ready.kill_run()
            note_strike(Kind.KILL, "apply", "the run itself", cell="at a moment of chance")
            runner.join()

    def finish(self) -> int:
        """The next run; a server notices only at the end of a statement that its client is gone: the lock may be held."""
        for _ in range(50):
            code = self._squizzle(*self._arguments).code
            if code != LockTimeoutError.code:
                return code
            time.sleep(0.2)
        return code


@pytest.fixture
def command(ready: ReadyCommand, access: ServerAccess, database: str, tmp_path: Path) -> Command:
    return Command(ready, access, database, tmp_path)


def write(folder: Path, version: str, up: str) -> None:
    (folder / f"{version}_change").mkdir()
    (folder / f"{version}_change" / "up.sql").write_text(up)


def kill_on_the_way(
    command: Command, folder: Path, target: Target, connection: Connection, *, table: str = "squizzle_history"
) -> int:
    """Start the command again and again, kill it a little later each time.

    Returns:
        How often it was in the middle, and this table was there already.
    """
    migrations = read_migrations(folder)
    interrupted = 0
    for number in range(KILLS_ON_A_SLOW_MACHINE):
        with command.killed() as runs:
            # Until its session is there, nothing of it can be hit.
            wait_until(lambda: bool(others(connection)) or not runs(), "it is in")
            time.sleep(0.05 * number)
        wait_until(lambda: not others(connection), "the server noticed")
        status = read_status(connection, target, migrations)
        is_there = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone() == (True,)
        interrupted += is_there and bool(status.running or (status.applied and status.pending))
        if not status.pending or (number >= KILLS and interrupted):
            break
    return interrupted


def test_transactional_scripts_that_are_killed_happen_once_or_not_at_all(
    command: Command, database: str, connection: Connection, tmp_path: Path
) -> None:
    target = Target(database=database)
    write(tmp_path, "1", "CREATE TABLE done (number int)")
    write(tmp_path, "2", STATEMENTS)
    write(tmp_path, "3", STATEMENTS)

    assert kill_on_the_way(command, tmp_path, target, connection) > 0
    assert command.finish() == 0

    assert connection.execute("SELECT DISTINCT count(*) FROM done GROUP BY number").fetchall() == [(2,)]
    assert read_status(connection, target, read_migrations(tmp_path)).pending == ()


def test_scripts_outside_a_transaction_that_are_killed_are_continued(
    command: Command, database: str, connection: Connection, tmp_path: Path
) -> None:
    target = Target(database=database)
    write(tmp_path, "1", "CREATE TABLE t AS SELECT g AS a, g AS b, g AS c FROM generate_series(1, 300000) g")
    indexes = [f"CREATE INDEX CONCURRENTLY i_{column} ON t ({column});" for column in "abc"]
    write(tmp_path, "2", "CREATE TABLE done (number int);\n" + "\nINSERT INTO done VALUES (1);\n".join(indexes))

    assert kill_on_the_way(command, tmp_path, target, connection, table="done") > 0
    assert command.finish() == 0

    assert connection.execute("SELECT count(*) FROM done").fetchone() == (2,)
    indexes_now = (
        "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relname LIKE 'i\\__'"
    )
    assert connection.execute(f"{indexes_now} ORDER BY 1").fetchall() == [("i_a", True), ("i_b", True), ("i_c", True)]


def test_a_statement_in_batches_that_is_killed_changes_every_row_once(
    command: Command, database: str, connection: Connection, tmp_path: Path
) -> None:
    write(
        tmp_path,
        "1",
        "CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0); INSERT INTO t SELECT generate_series(1, 3000)",
    )
    write(
        tmp_path,
        "2",
        "-- squizzle: batch key=id size=50 pause=5ms target=1ms\nUPDATE t SET n = n + 1;\n"
        "-- squizzle: batch key=id size=50 pause=5ms target=1ms\nUPDATE t SET n = n + 1 WHERE id % 2 = 0 OR id < 10;",
    )
    for batches in (1, 70):  # 60 are one statement
        with command.killed() as runs:
            wait_until(lambda: batches_done(connection) >= batches or not runs(), "a batch is done")  # noqa: B023
        wait_until(lambda: not others(connection), "the server noticed")

    assert read_status(connection, Target(database=database), read_migrations(tmp_path)).pending
    assert command.finish() == 0

    assert connection.execute(
        "SELECT count(*) FROM t WHERE n <> CASE WHEN id % 2 = 0 OR id < 10 THEN 2 ELSE 1 END"
    ).fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM squizzle_history WHERE version = '2'").fetchone() == (3,)


def batches_done(connection: Connection) -> int:
    if connection.execute("SELECT to_regclass('squizzle_history')").fetchone() == (None,):
        return 0
    row = connection.execute(
        "SELECT coalesce(sum((one ->> 'batches')::int), 0) FROM squizzle_history h,"
        " jsonb_array_elements(h.batch_progress -> 'statements') one WHERE h.id = (SELECT max(id) FROM squizzle_history)"
    ).fetchone()
    return int(row[0]) if row else 0


def others(connection: Connection) -> int:
    row = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND application_name LIKE 'squizzle%'"
    ).fetchone()
    return int(row[0]) if row else 0
