"""Ctrl-C, and worse, in the middle of a migration."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest

from squizzle.postgres.access import Connection
from tests.integration.cli.conftest import PATIENCE_S, Squizzle
from tests.integration.migrations.conftest import Folder
from tests.support.processes import wait_until

pytestmark = pytest.mark.one_server

Tables = Callable[[], set[str]]


def is_sleeping(connection: Connection) -> bool:
    row = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    ).fetchone()
    return row == (1,)


def is_gone(connection: Connection) -> bool:
    row = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'squizzle migration'"
    ).fetchone()
    return row == (0,)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell starts what runs in its background with Ctrl-C ignored, and children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["human", "json"])
def test_ctrl_c_ends_the_statement_keeps_nothing_and_the_next_run_works(
    squizzle: Squizzle, shop_folder: Folder, connection: Connection, tables: Tables, form: list[str]
) -> None:
    shop_folder.write("0002", "CREATE TABLE gone (a int); SELECT pg_sleep(300)")
    with squizzle.started("apply", "--all", *form) as process:
        wait_until(lambda: is_sleeping(connection), "the script sleeps", seconds=30)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 130
    assert b"interrupted" in err
    assert b"Traceback" not in err
    wait_until(lambda: is_gone(connection), "the server has ended the session")
    assert tables() == {"t"}
    status = squizzle("status", "--json").document
    assert status["current"] == "0001"
    assert [one["version"] for one in status["running"]] == ["0002"]

    shop_folder.write("0002", "CREATE TABLE kept (a int)")
    assert squizzle("apply", "--all").code == 0
    assert tables() == {"t", "kept", "u"}
    assert squizzle("status", "--json").document["running"] == []


def test_a_run_that_is_killed_leaves_nothing_and_the_next_one_works(
    squizzle: Squizzle, shop_folder: Folder, connection: Connection, tables: Tables
) -> None:
    # Short enough to wait for: the server notices that nobody listens when the statement ends.
    shop_folder.write("0002", "CREATE TABLE gone (a int); SELECT pg_sleep(2); SELECT pg_sleep(2)")
    with squizzle.started("apply", "--all") as process:
        wait_until(lambda: is_sleeping(connection), "the script sleeps", seconds=30)
        process.kill()
        process.communicate(timeout=PATIENCE_S)

    wait_until(lambda: is_gone(connection), "the server has ended the session", seconds=30)
    assert tables() == {"t"}
    shop_folder.write("0002", "CREATE TABLE kept (a int)")
    assert squizzle("apply", "--all").code == 0
    assert tables() == {"t", "kept", "u"}
