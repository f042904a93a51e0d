"""The fence keeps everybody out, lets us through, and is seen by whoever comes next."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from psycopg import sql

from squizzle.errors import ConnectionFailedError, DatabaseError, RecoveryError, RefusedError
from squizzle.postgres.access import Connection, ServerAccess, connect, server_pid
from squizzle.recovery import fence as fence_module
from squizzle.recovery.fence import (
    control_session,
    fence,
    is_fenced,
    session_through_fence,
    terminate_sessions,
    unfence,
    wait_until_gone,
)
from tests.support.hammer import NAME, hammering
from tests.support.names import clients_in
from tests.support.processes import wait_until
from tests.support.scratch import new_database, new_role


@pytest.fixture(scope="module")
def one_for_all(access: ServerAccess) -> Iterator[str]:
    with (
        connect(access, "postgres", purpose="test") as control,
        new_database(control, sql.SQL("TEMPLATE template0"), prefix="fence") as name,
    ):
        yield name


@pytest.fixture
def database(control: Connection, one_for_all: str) -> Iterator[str]:
    """One database for all tests of this module: each gets it open, and leaves nobody in it."""
    yield one_for_all
    fence(control, one_for_all)
    unfence(control, one_for_all)


def test_fence_keeps_superusers_out(access: ServerAccess, control: Connection, database: str) -> None:
    fence(control, database)
    assert is_fenced(control, database)
    with pytest.raises(ConnectionFailedError, match="fenced"):
        connect(access, database, purpose="test")


def test_fence_ends_the_sessions_that_are_in_and_counts_them(
    access: ServerAccess, control: Connection, database: str
) -> None:
    idle = connect(access, database, purpose="test idle")
    busy = connect(access, database, purpose="test busy")
    busy.execute("BEGIN; CREATE TABLE lost ()")
    assert fence(control, database) == 2
    assert clients_in(control, database) == []
    for session in (idle, busy):
        with pytest.raises(psycopg.errors.AdminShutdown):
            session.execute("SELECT 1")
        session.close()


def test_fence_ends_a_session_in_the_middle_of_a_long_query(
    access: ServerAccess, control: Connection, database: str
) -> None:
    errors: list[type[BaseException]] = []

    def sleep() -> None:
        session = connect(access, database, purpose="test")
        try:
            session.execute("SELECT pg_sleep(60)")
        except psycopg.Error as exc:
            errors.append(type(exc))
        session.close()

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    query = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event = 'PgSleep'"
    wait_until(lambda: control.execute(query, (database,)).fetchone() is not None, "somebody sleeps")
    assert fence(control, database) == 1
    sleeper.join(5)
    assert errors == [psycopg.errors.AdminShutdown]


def test_workers_of_the_server_end_too_and_are_no_clients(
    access: ServerAccess, control: Connection, database: str
) -> None:
    # The setting that hands a whole query to a parallel worker got another name with 16.
    setting = "debug_parallel_query" if control.info.server_version >= 160000 else "force_parallel_mode"
    errors: list[type[BaseException]] = []

    def sleep() -> None:
        with connect(access, database, purpose="test") as session:
            session.execute(f"SET {setting} = on".encode())
            try:
                session.execute("SELECT pg_sleep(60)")
            except psycopg.Error as exc:
                errors.append(type(exc))

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    query = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND backend_type = 'parallel worker'"
    wait_until(lambda: control.execute(query, (database,)).fetchone() is not None, "a worker sleeps")
    assert fence(control, database) == 1
    sleeper.join(5)
    assert len(errors) == 1


def test_the_maintenance_database_is_refused_by_name(control: Connection) -> None:
    with pytest.raises(RefusedError, match="cannot be fenced itself"):
        fence(control, "postgres")
    assert not is_fenced(control, "postgres")


def test_fence_waits_for_a_session_that_was_let_in_and_cannot_be_seen_yet(
    access: ServerAccess, control: Connection, database: str
) -> None:
    # The delay lies between the look at ALLOW_CONNECTIONS and the first line in pg_stat_activity.
    slow = replace(access, parameters=(("options", "-c post_auth_delay=1"),))
    errors: list[type[BaseException]] = []

    def enter() -> None:
        try:
            with connect(slow, database, purpose="test slow starter") as session:
                session.execute("SELECT pg_sleep(60)")
        except (psycopg.Error, ConnectionFailedError) as exc:
            errors.append(type(exc))

    query = "SELECT 1 FROM pg_locks JOIN pg_database d ON d.oid = objid WHERE datname = %s AND locktype = 'object'"
    ended, hidden = 0, False
    # On a busy machine the fence may come before the session has looked at it, or after the session can be seen.
    while not (ended and hidden) and len(errors) < 20:
        unfence(control, database)
        starter = threading.Thread(target=enter)
        starter.start()
        wait_until(lambda: control.execute(query, (database,)).fetchone() is not None, "a session starts")
        time.sleep(0.05)
        hidden = not clients_in(control, database)
        ended = fence(control, database)
        starter.join(60)
        assert clients_in(control, database) == []
    assert (ended, hidden) == (1, True)


def test_fence_holds_against_pools_that_come_back_at_once(
    access: ServerAccess, control: Connection, database: str, connection: Connection
) -> None:
    connection.execute("CREATE TABLE t (n int)")
    connection.close()  # the fence would end it
    with hammering(access, database, work="INSERT INTO t VALUES (1)") as hammer:
        wait_until(lambda: hammer.connects >= 4, "all clients are in")
        fence(control, database)
        let_in = hammer.connects
        assert clients_in(control, database) == []
        with session_through_fence(access, database, purpose="test") as session:
            [(before,)] = session.execute("SELECT count(*) FROM t")
            wait_until(lambda: any("not currently accepting" in text for text in hammer.refusals), "they are refused")
            [(after,)] = session.execute("SELECT count(*) FROM t")
        assert before == after > 0
        wait_until(lambda: clients_in(control, database) == [], "our session has gone")
        unfence(control, database)
        wait_until(lambda: hammer.connects > let_in, "they come back")


def test_fence_is_safe_to_repeat(control: Connection, database: str) -> None:
    assert [fence(control, database), fence(control, database)] == [0, 0]
    assert is_fenced(control, database)
    unfence(control, database)
    unfence(control, database)
    assert not is_fenced(control, database)


def test_fence_outlives_the_session_that_made_it(access: ServerAccess, control: Connection, database: str) -> None:
    with control_session(access, purpose="test") as other:
        fence(other, database)
    assert is_fenced(control, database)


def test_unfenced_database_lets_everybody_in(access: ServerAccess, control: Connection, database: str) -> None:
    fence(control, database)
    unfence(control, database)
    with connect(access, database, purpose="test") as session:
        assert session.execute("SELECT 1").fetchone() == (1,)


def test_session_through_the_fence_leaves_it_closed(access: ServerAccess, control: Connection, database: str) -> None:
    fence(control, database)
    with session_through_fence(access, database, purpose="test") as session:
        assert session.execute("SELECT current_database()").fetchone() == (database,)
        assert is_fenced(control, database)
        with pytest.raises(ConnectionFailedError, match="fenced"):
            connect(access, database, purpose="test intruder")
    assert is_fenced(control, database)
    wait_until(lambda: clients_in(control, database) == [], "our session has gone")


def test_session_through_an_open_door_leaves_it_open_and_ends_nobody(
    access: ServerAccess, control: Connection, connection: Connection, database: str
) -> None:
    with session_through_fence(access, database, purpose="test") as session:
        assert not is_fenced(control, database)
        session.execute("SELECT 1")
    assert not is_fenced(control, database)
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_intruders_who_slip_in_are_ended_before_the_caller_gets_the_session(
    access: ServerAccess, control: Connection, database: str
) -> None:
    fence(control, database)
    with hammering(access, database):
        for _ in range(3):
            with session_through_fence(access, database, purpose="test"):
                assert NAME not in clients_in(control, database)
    assert is_fenced(control, database)


def test_failing_login_leaves_the_fence_closed(access: ServerAccess, control: Connection, database: str) -> None:
    fence(control, database)
    control.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT 0").format(sql.Identifier(database)))
    with new_role(control, sql.SQL("LOGIN CREATEDB")) as role:
        control.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(database), sql.Identifier(role)))
        by_owner = replace(access, user=role)
        with (
            pytest.raises(ConnectionFailedError, match="too many connections"),
            session_through_fence(by_owner, database, purpose="test"),
        ):
            raise AssertionError("nobody gets in")
        assert is_fenced(control, database)
        control.execute(sql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(sql.Identifier(database)))
        control.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT -1").format(sql.Identifier(database)))


def test_error_of_the_caller_closes_the_session_and_not_the_fence(
    access: ServerAccess, control: Connection, database: str
) -> None:
    fence(control, database)
    with pytest.raises(ZeroDivisionError), session_through_fence(access, database, purpose="test"):
        raise ZeroDivisionError
    assert is_fenced(control, database)
    wait_until(lambda: clients_in(control, database) == [], "our session has gone")


def test_missing_database_is_told(access: ServerAccess, control: Connection) -> None:
    with pytest.raises(DatabaseError, match="no_such_database"):
        fence(control, "no_such_database")
    with pytest.raises(ConnectionFailedError, match="no_such_database"):
        is_fenced(control, "no_such_database")
    with (
        pytest.raises(ConnectionFailedError, match="no_such_database"),
        session_through_fence(access, "no_such_database", purpose="test"),
    ):
        raise AssertionError("there is nothing to get into")


def test_stranger_may_not_fence_and_nobody_is_thrown_out(
    access: ServerAccess, control: Connection, connection: Connection, database: str
) -> None:
    with (
        new_role(control, sql.SQL("LOGIN")) as role,
        control_session(replace(access, user=role), purpose="test") as stranger,
        pytest.raises(DatabaseError, match="must be owner") as caught,
    ):
        fence(stranger, database)
    assert caught.value.sqlstate == "42501"
    assert not is_fenced(control, database)
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_sessions_of_other_databases_are_left_alone(access: ServerAccess, control: Connection, database: str) -> None:
    with connect(access, "postgres", purpose="test bystander") as bystander:
        fence(control, database)
        assert bystander.execute("SELECT 1").fetchone() == (1,)


def test_one_session_may_be_kept(
    access: ServerAccess, control: Connection, connection: Connection, database: str
) -> None:
    other = connect(access, database, purpose="test")
    assert terminate_sessions(control, database, keep_pid=connection.info.backend_pid) == 1
    assert connection.execute("SELECT 1").fetchone() == (1,)
    other.close()


def test_sessions_that_never_end_are_named(
    access: ServerAccess, control: Connection, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fence_module, "_TERMINATE_DEADLINE", timedelta(seconds=0.1))
    session = connect(access, database, purpose="test stopped")
    pid = server_pid(session)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(RecoveryError, match=rf"{pid} \(squizzle test stopped\)"):
            terminate_sessions(control, database)
    finally:
        os.kill(pid, signal.SIGCONT)
    monkeypatch.undo()
    terminate_sessions(control, database)
    assert clients_in(control, database) == []
    session.close()


def test_a_session_of_our_own_that_still_ends_is_waited_for(
    access: ServerAccess, control: Connection, database: str
) -> None:
    session = connect(access, database, purpose="test stopped")
    pid = server_pid(session)
    os.kill(pid, signal.SIGSTOP)
    session.close()
    going_on = threading.Timer(0.2, os.kill, (pid, signal.SIGCONT))
    going_on.start()
    wait_until_gone(control, pid)
    assert clients_in(control, database) == []
    going_on.join()


def test_a_session_that_a_pooler_keeps_is_not_waited_for_long(
    connection: Connection, control: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fence_module, "_OWN_END_DEADLINE", timedelta(seconds=0.1))
    wait_until_gone(control, server_pid(connection))
    assert connection.execute("SELECT 1").fetchone() == (1,)
