"""The connection is lost at the worst moments: what is said then, what the history knows, and that nothing runs twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from squizzle.errors import ConnectionFailedError, DatabaseState
from squizzle.migrations.operations import apply_versions, roll_back_versions
from squizzle.migrations.status import Status, read_status
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from tests.integration.migrations.conftest import Folder
from tests.support.cutter import Cutter
from tests.support.names import clients_in
from tests.support.processes import wait_until
from tests.support.wire import listening

# The connection is lost between us and any server in the same way.
pytestmark = pytest.mark.parametrize("address", ["embedded"], indirect=True)

ARRIVES = pytest.mark.parametrize("arrives", [False, True], ids=["before it arrives", "after it was carried out"])


@pytest.fixture
def once(connection: Connection, target: Target, folder: Folder) -> Iterator[Folder]:
    """Version 1 is applied; it made the table in which every later statement leaves one row."""
    folder.write("1", "CREATE TABLE once (a int)")
    apply_versions(connection, target, folder.read())
    return folder


def lose(
    cutter: Cutter, access: ServerAccess, target: Target, folder: Folder, act: Callable[..., object] = apply_versions
) -> DatabaseState:
    """Run everything through the cutter, which must lose the connection; what the error says about the database."""
    with (
        listening(cutter, access) as reached,
        connect(reached, target.database, purpose="migration") as session,
        pytest.raises(ConnectionFailedError) as caught,
    ):
        act(session, target, folder.read())
    assert cutter.has_cut.is_set()
    assert caught.value.code == 3
    if caught.value.database_state is DatabaseState.UNKNOWN:
        assert "`squizzle status` says" in caught.value.hint
    return caught.value.database_state


def status_when_all_is_over(control: Connection, connection: Connection, target: Target, folder: Folder) -> Status:
    wait_until(lambda: clients_in(control, target.database) == ["squizzle test"], "the server ended the lost sessions")
    return read_status(connection, target, folder.read())


def rows(connection: Connection) -> list[int]:
    return [a for (a,) in connection.execute("SELECT a FROM once ORDER BY a")]


@ARRIVES
def test_a_commit_whose_answer_is_lost_is_unknown_and_never_done_twice(
    access: ServerAccess, control: Connection, connection: Connection, target: Target, once: Folder, *, arrives: bool
) -> None:
    once.write("2", "INSERT INTO once VALUES (2)")

    state = lose(Cutter(access, after="INSERT INTO once", at="COMMIT", arrives=arrives), access, target, once)

    assert state is DatabaseState.UNKNOWN
    status = status_when_all_is_over(control, connection, target, once)
    assert status.current == ("2" if arrives else "1")
    assert [row.version for row in status.running] == ([] if arrives else ["2"])
    assert status.runner is None
    apply_versions(connection, target, once.read())
    assert rows(connection) == [2]
    assert read_status(connection, target, once.read()).pending == ()


@ARRIVES
def test_a_commit_of_a_rollback_whose_answer_is_lost_is_unknown_and_never_done_twice(
    access: ServerAccess, control: Connection, connection: Connection, target: Target, once: Folder, *, arrives: bool
) -> None:
    once.write("2", "SELECT 1", down="INSERT INTO once VALUES (2)")
    apply_versions(connection, target, once.read())

    cutter = Cutter(access, after="INSERT INTO once", at="COMMIT", arrives=arrives)
    state = lose(cutter, access, target, once, partial(roll_back_versions, to="1"))

    assert state is DatabaseState.UNKNOWN
    status = status_when_all_is_over(control, connection, target, once)
    assert status.current == ("1" if arrives else "2")
    roll_back_versions(connection, target, once.read(), to="1")
    assert rows(connection) == [2]
    assert read_status(connection, target, once.read()).current == "1"


PIECES = "INSERT INTO once VALUES (2);\nCREATE INDEX CONCURRENTLY i ON once (a);\nINSERT INTO once VALUES (3);\n"
# What was seen before, where the connection is lost, and what is said about the database.
POINTS = {
    "commit of the first piece": ("VALUES .2", "COMMIT", DatabaseState.UNKNOWN),
    "statement outside a transaction": ("VALUES .2", "CREATE INDEX", DatabaseState.CHANGED),
    "note behind it": ("CREATE INDEX", "UPDATE", DatabaseState.CHANGED),
    "statement of the last piece": ("CREATE INDEX", "INSERT INTO once", DatabaseState.CHANGED),
    "commit of the last piece": ("VALUES .3", "COMMIT", DatabaseState.UNKNOWN),
}


@ARRIVES
@pytest.mark.parametrize("point", POINTS)
def test_a_script_in_pieces_goes_on_behind_what_was_done_wherever_the_connection_is_lost(
    access: ServerAccess,
    control: Connection,
    connection: Connection,
    target: Target,
    once: Folder,
    point: str,
    *,
    arrives: bool,
) -> None:
    once.write("2", PIECES)
    after, at, said = POINTS[point]

    state = lose(Cutter(access, after=after, at=at, arrives=arrives), access, target, once)

    assert state is said
    status = status_when_all_is_over(control, connection, target, once)
    is_done = arrives and point == "commit of the last piece"
    assert [row.version for row in status.running] == ([] if is_done else ["2"])
    apply_versions(connection, target, once.read())
    assert rows(connection) == [2, 3]
    assert connection.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass").fetchall() == [
        (True,)
    ]
