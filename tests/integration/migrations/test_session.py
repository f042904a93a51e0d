"""One run at a time: the lock, who holds it, and what becomes of a run whose session dies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from squizzle.errors import ConnectionFailedError, DatabaseState, LockTimeoutError
from squizzle.migrations.executor import Report
from squizzle.migrations.history import read_history
from squizzle.migrations.operations import apply_versions, roll_back_versions
from squizzle.migrations.records import RowState, Timeouts
from squizzle.migrations.session import exclusive, prepare_session
from squizzle.migrations.status import read_status
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from tests.integration.migrations.conftest import Folder
from tests.support.processes import wait_until

GATE = 4711
# A script that waits for us in its middle.
WAITS = f"CREATE TABLE before (a int); SELECT pg_advisory_xact_lock({GATE}); CREATE TABLE behind (a int)"

Look = Callable[..., set[str]]


@pytest.fixture
def runner(access: ServerAccess, database: str) -> Iterator[Connection]:
    """The session of the run that is going on."""
    with connect(access, database, purpose="migration") as opened:
        yield opened


@contextmanager
def run_that_waits(runner: Connection, other: Connection, target: Target, folder: Folder) -> Iterator[Future[Report]]:
    """A run of version 1 that has begun and waits for the gate, which `other` holds until the block ends."""
    folder.write("1", WAITS)
    other.execute("SELECT pg_advisory_lock(%s)", (GATE,))
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(apply_versions, runner, target, folder.read())
        try:
            wait_until(lambda: is_waiting(other, runner.info.backend_pid), "the run waits for the gate")
            yield future
        finally:
            other.execute("SELECT pg_advisory_unlock(%s)", (GATE,))


def is_waiting(other: Connection, pid: int) -> bool:
    row = other.execute("SELECT wait_event FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone()
    return row == ("advisory",)


def holds_lock(connection: Connection) -> bool:
    return prepare_session(connection, schema="public", timeouts=Timeouts())


def test_everybody_can_see_that_a_run_is_going_on(
    runner: Connection, other: Connection, target: Target, folder: Folder
) -> None:
    with run_that_waits(runner, other, target, folder) as run:
        status = read_status(other, target, folder.read())
        assert [row.version for row in status.running] == ["1"]
        assert [row.success for row in status.running] == [None]
        assert [migration.version for migration in status.pending] == ["1"]
        assert status.applied == ()
        name = other.execute(
            "SELECT application_name FROM pg_stat_activity WHERE pid = %s", (runner.info.backend_pid,)
        ).fetchone()
        assert name == ("squizzle migration",)

    run.result(timeout=20)
    assert read_status(other, target, folder.read()).running == ()


@pytest.mark.parametrize("act", [apply_versions, roll_back_versions])
def test_a_second_runner_is_refused_at_once_and_told_who_holds_the_lock(
    connection: Connection,
    runner: Connection,
    other: Connection,
    target: Target,
    folder: Folder,
    act: Callable[..., object],
) -> None:
    with run_that_waits(runner, other, target, folder) as run:
        with pytest.raises(LockTimeoutError) as caught:
            act(connection, target, folder.read(), only="1")
        assert len(read_history(other, "public").rows) == 1

    error = caught.value
    assert error.code == 8
    assert error.retryable
    assert error.database_state is DatabaseState.UNTOUCHED
    assert f"session {runner.info.backend_pid} (squizzle migration)" in error.message
    assert error.hint
    assert run.result(timeout=20).outcomes


def test_the_lock_is_of_one_database(connection: Connection, control: Connection, target: Target) -> None:
    elsewhere = Target(database="postgres")

    with exclusive(connection, target), exclusive(control, elsewhere):
        assert holds_lock(connection)
        assert holds_lock(control)
    assert not holds_lock(connection)
    assert not holds_lock(control)


def test_the_lock_is_given_back_whatever_happens(connection: Connection, other: Connection, target: Target) -> None:
    def fail() -> None:
        with exclusive(connection, target):
            raise ValueError("anything")

    with pytest.raises(ValueError, match="anything"):
        fail()
    with exclusive(other, target):
        assert not holds_lock(connection)


def test_a_holder_that_is_killed_lets_go_and_its_row_is_closed_by_the_next_run(
    connection: Connection, runner: Connection, other: Connection, target: Target, folder: Folder, look: Look
) -> None:
    with run_that_waits(runner, other, target, folder) as run:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (runner.info.backend_pid,))
        with pytest.raises(ConnectionFailedError) as caught:
            run.result(timeout=20)
    assert caught.value.database_state is DatabaseState.UNTOUCHED

    assert look(connection) == set()
    (dead,) = read_history(connection, "public").in_state(RowState.RUNNING)
    assert dead.error is None

    folder.write("1", "CREATE TABLE mended (a int)")  # it was never applied, so it may be mended
    apply_versions(connection, target, folder.read())

    assert look(connection) == {"mended"}
    rows = read_history(connection, "public").rows
    assert [(row.id, row.success, row.error) for row in rows] == [
        (dead.id, False, "the run that did this died before it ended"),
        (dead.id + 1, True, None),
    ]
    assert read_history(connection, "public").in_state(RowState.RUNNING) == ()


def test_a_rollback_that_died_leaves_its_version_applied(
    connection: Connection, target: Target, folder: Folder, look: Look
) -> None:
    folder.write("1", "CREATE TABLE t (a int)", down="DROP TABLE t")
    apply_versions(connection, target, folder.read())
    connection.execute(
        "INSERT INTO squizzle_history (version, name, direction) VALUES ('1', 'change', 'rollback')"
    )  # what a run that was killed in the middle leaves

    assert read_history(connection, "public").current == "1"
    roll_back_versions(connection, target, folder.read(), only="1")

    assert look(connection) == set()
    assert read_history(connection, "public").in_state(RowState.RUNNING) == ()
    assert read_history(connection, "public").current is None
