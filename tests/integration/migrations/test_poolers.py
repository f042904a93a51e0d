"""A connection pooler between us and the server: refused when it lends sessions out, as good as none when it does not.

The same tests run behind a small pooler of our own and, where it is installed, behind PgBouncer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta

import pytest

from squizzle.errors import DatabaseState, LockTimeoutError, RefusedError
from squizzle.migrations.adoption import adopt_history
from squizzle.migrations.bookkeeping import open_books
from squizzle.migrations.operations import apply_versions, roll_back_versions
from squizzle.migrations.records import Policy, Timeouts
from squizzle.migrations.status import read_status
from squizzle.postgres import pooling
from squizzle.postgres.access import Connection, ServerAccess, connect, server_pid
from squizzle.postgres.identity import Target
from tests.integration.migrations.conftest import Folder
from tests.support.pgbouncer import PROGRAM, pgbouncer
from tests.support.pooler import Pooler
from tests.support.wire import listening

Behind = Callable[..., AbstractContextManager[ServerAccess]]

# What is between does not depend on the server's version.
pytestmark = pytest.mark.parametrize("address", ["embedded"], indirect=True)


@contextmanager
def own_pooler(access: ServerAccess, mode: str) -> Iterator[ServerAccess]:
    pooler = Pooler(access, mode)
    with listening(pooler, access) as reached:
        yield reached
    pooler.close()


POOLERS: dict[str, Behind] = {"own": own_pooler, "pgbouncer": pgbouncer}


@pytest.fixture(params=POOLERS)
def behind(request: pytest.FixtureRequest) -> Behind:
    if request.param == "pgbouncer" and PROGRAM is None:
        pytest.skip("PgBouncer is not installed")
    return POOLERS[request.param]


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pooler_that_lends_sessions_out_is_refused_before_anything_is_changed(
    behind: Behind,
    mode: str,
    access: ServerAccess,
    connection: Connection,
    target: Target,
    folder: Folder,
    look: Callable[..., set[str]],
) -> None:
    folder.write("1", "CREATE TABLE t (a int)", down="DROP TABLE t")
    acts = [
        lambda session: apply_versions(session, target, folder.read()),
        lambda session: roll_back_versions(session, target, folder.read(), only="1"),
        lambda session: adopt_history(session, target, open_books(folder.path, "golang-migrate", folder.read())),
    ]

    with behind(access, mode) as reached, connect(reached, target.database, purpose="migration") as pooled:
        for act in acts:
            with pytest.raises(RefusedError, match=r"connection pooler .* that lends sessions out") as caught:
                act(pooled)
            assert caught.value.code == 9
            assert caught.value.database_state is DatabaseState.UNTOUCHED
            assert "pool_mode = session" in caught.value.hint

    assert look(connection) == set()
    assert connection.execute("SELECT to_regclass('squizzle_history'), to_regnamespace('squizzle')").fetchone() == (
        None,
        None,
    )
    assert connection.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() == (0,)


def test_the_status_may_be_read_through_any_pooler(
    behind: Behind, access: ServerAccess, connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", "CREATE TABLE t (a int)")
    apply_versions(connection, target, folder.read())

    with behind(access, "transaction") as reached, connect(reached, target.database, purpose="status") as pooled:
        assert read_status(pooled, target, folder.read()).current == "1"


def test_a_pooler_that_keeps_sessions_apart_is_as_good_as_none(
    behind: Behind, access: ServerAccess, connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", "CREATE TABLE t (a int);\nCOPY t FROM stdin;\n1\n2\n\\.\n", down="DROP TABLE t")

    with behind(access, "session") as reached, connect(reached, target.database, purpose="migration") as pooled:
        assert pooled.info.backend_pid != server_pid(pooled)
        apply_versions(pooled, target, folder.read())
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (2,)
        roll_back_versions(pooled, target, folder.read(), only="1")
        assert read_status(pooled, target, folder.read()).current is None


def test_who_blocks_is_known_behind_a_pooler_that_keeps_sessions_apart(
    behind: Behind, access: ServerAccess, connection: Connection, other: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", "CREATE TABLE t (a int)")
    apply_versions(connection, target, folder.read())
    folder.write("2", "ALTER TABLE t ADD COLUMN b int")
    policy = Policy(timeouts=Timeouts(budget=timedelta(seconds=1)))

    with (
        behind(access, "session") as reached,
        connect(reached, target.database, purpose="migration") as pooled,
        other.transaction(force_rollback=True),
    ):
        other.execute("SELECT FROM t")
        with pytest.raises(LockTimeoutError, match=rf"Blocked by session {server_pid(other)} "):
            apply_versions(pooled, target, folder.read(), policy=policy)


def test_a_pool_that_has_no_second_session_is_refused_and_not_waited_for(
    access: ServerAccess, target: Target, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooling, "PATIENCE_S", 0.3)
    if PROGRAM is None:
        pytest.skip("PgBouncer is not installed")
    folder.write("1", "CREATE TABLE t (a int)")

    with (
        pgbouncer(access, "session", servers=1) as reached,
        connect(reached, target.database, purpose="migration") as pooled,
        pytest.raises(RefusedError, match="could not be told whether it keeps them apart"),
    ):
        apply_versions(pooled, target, folder.read())


@pytest.mark.parametrize("in_turn", [False, True])
def test_a_busy_pool_that_takes_sessions_back_late_is_seen_through(
    access: ServerAccess, target: Target, folder: Folder, *, in_turn: bool
) -> None:
    folder.write("1", "CREATE TABLE t (a int)")
    pooler = Pooler(access, "transaction", in_turn=in_turn, late=True)
    with (
        listening(pooler, access) as reached,
        connect(reached, target.database, purpose="migration") as pooled,
        pytest.raises(RefusedError, match="lends sessions out"),
    ):
        apply_versions(pooled, target, folder.read())
    pooler.close()


def test_sessions_that_are_handed_out_in_turn_are_seen_through(
    access: ServerAccess, target: Target, folder: Folder
) -> None:
    folder.write("1", "CREATE TABLE t (a int)")
    pooler = Pooler(access, "transaction", in_turn=True)
    with listening(pooler, access) as reached, ThreadPoolExecutor(4) as pool:
        sessions = list(pool.map(lambda _: connect(reached, target.database, purpose="client"), range(4)))
        list(pool.map(lambda session: session.execute("SELECT pg_sleep(0.1)"), sessions))
        with (
            connect(reached, target.database, purpose="migration") as pooled,
            pytest.raises(RefusedError, match="lends sessions out"),
        ):
            apply_versions(pooled, target, folder.read())
        for session in sessions:
            session.close()
    pooler.close()
