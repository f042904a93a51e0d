"""Behind PgBouncer clients wait while a database is fenced: with the real one, where it is installed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Self

import psycopg
import pytest
from psycopg import sql

from squizzle.errors import FencingFailedError, FencingUnavailableError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.database_properties import read_properties
from squizzle.postgres.secret import Secret
from squizzle.recovery.fences.book import FenceBook, Page, Step
from squizzle.recovery.fences.order import make_fences, put_up_all, take_down_all
from squizzle.recovery.fences.pgbouncer import PgBouncerFence
from squizzle.recovery.fences.records import FenceState
from squizzle.recovery.switch_over import switch_over
from squizzle.settings.fences import CONSOLE, PgBouncerSettings
from tests.support.holds import hold
from tests.support.pgbouncer import PROGRAM, pgbouncer
from tests.support.processes import wait_until

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed"),
    # What is between does not depend on the server's version.
    pytest.mark.parametrize("address", ["embedded"], indirect=True),
]


@pytest.fixture(scope="module")
def pool(access: ServerAccess) -> Iterator[ServerAccess]:
    """A PgBouncer in transaction mode."""
    with pgbouncer(access, "transaction", servers=8, auth_type="trust") as reached:
        yield reached


@pytest.fixture
def settings(pool: ServerAccess, database: str) -> PgBouncerSettings:
    return PgBouncerSettings(access=pool, database=database, patience=timedelta(seconds=30))


@pytest.fixture
def fence(settings: PgBouncerSettings, control: Connection) -> Iterator[PgBouncerFence]:
    fence = PgBouncerFence(settings, FenceBook(control))
    yield fence
    fence.take_down(None)


@pytest.fixture
def client(pool: ServerAccess, database: str) -> Iterator[Connection]:
    with connect(pool, database, purpose="client") as session:
        yield session


class Workers:
    """Clients that write one row after the other, and count."""

    def __init__(self, pool: ServerAccess, database: str, clients: int) -> None:
        self.written = [0] * clients
        self.errors: list[str] = []
        self._pool, self._database = pool, database
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(n,)) for n in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self, number: int) -> None:
        try:
            with connect(self._pool, self._database, purpose=f"worker {number}") as session:
                while not self._stop.is_set():
                    with session.transaction():
                        session.execute("INSERT INTO t VALUES (%s, %s)", (number, self.written[number]))
                        session.execute("SELECT count(*) FROM t")
                    self.written[number] += 1
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is what must not happen
            self.errors.append(f"{type(exc).__name__}: {exc}")

    def has_written_more_than(self, counts: list[int]) -> bool:
        return bool(self.errors) or all(now > then for now, then in zip(self.written, counts, strict=True))


def test_no_query_fails_while_another_database_takes_the_place(
    access: ServerAccess, pool: ServerAccess, settings: PgBouncerSettings, control: Connection, database: str
) -> None:
    other = f"{database}__r"
    with connect(access, database, purpose="test") as session:
        session.execute("CREATE TABLE t (worker int, n int)")
    run = "CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy"
    control.execute(sql.SQL(run).format(sql.Identifier(other), sql.Identifier(database)))
    fences = make_fences(control, database, [settings])

    with Workers(pool, database, 16) as workers:
        wait_until(lambda: workers.has_written_more_than([0] * 16), "all write")
        put_up_all(fences, hold())
        before = list(workers.written)
        properties = read_properties(control, database)
        switch_over(control, database=database, restored=other, keep_as=f"{database}__old", properties=properties)
        take_down_all(fences, "recovery")
        wait_until(lambda: workers.has_written_more_than([n + 1 for n in before]), "all go on")

    assert workers.errors == []
    with connect(access, database, purpose="test") as session:
        rows = session.execute("SELECT worker, min(n), max(n) + 1, count(*) FROM t GROUP BY 1 ORDER BY 1").fetchall()
    # Each worker's first row here is the next one after its last row there: none was lost, none came twice.
    control.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(f"{database}__old")))
    with connect(access, f"{database}__old", purpose="test") as session:
        old = session.execute("SELECT worker, max(n) + 1 FROM t GROUP BY 1 ORDER BY 1").fetchall()
    assert [(worker, first) for worker, first, _, _ in rows] == old
    assert all(count == after - first for _, first, after, count in rows)
    assert [after for _, _, after, _ in rows] == workers.written


def test_clients_wait_for_as_long_as_it_is_up_and_go_on_afterwards(
    fence: PgBouncerFence, client: Connection, pool: ServerAccess, control: Connection
) -> None:
    client.execute("SELECT 1")
    up = fence.put_up(hold("first"))
    assert up.state is FenceState.FENCED
    assert up.detail == "clients wait for up to 120 s (query_wait_timeout)"
    answers: list[object] = []
    waiter = threading.Thread(target=lambda: answers.append(client.execute("SELECT 7").fetchone()))
    waiter.start()
    with connect(pool, CONSOLE, purpose="test") as console:
        waiting = "SHOW CLIENTS"
        wait_until(lambda: any("waiting" in row for row in console.execute(waiting).fetchall()), "the client waits")
    fence.put_up(hold("second"))
    assert fence.take_down("first").holds == (hold("second"),)
    assert answers == []

    assert fence.take_down("second").state is FenceState.OPEN

    waiter.join()
    assert answers == [(7,)]
    assert FenceBook(control).read(fence.name) is None
    assert fence.take_down("second").state is FenceState.OPEN


def test_a_transaction_that_does_not_end_is_told_and_nobody_is_left_waiting(
    settings: PgBouncerSettings, fence: PgBouncerFence, client: Connection, control: Connection
) -> None:
    hasty = PgBouncerFence(replace(settings, patience=timedelta(seconds=0.1)), FenceBook(control))
    with client.transaction():
        client.execute("SELECT 1")
        with pytest.raises(
            FencingUnavailableError, match=r"did not end within 0\.1 s, so it was resumed: nobody waits"
        ):
            hasty.put_up(hold())
        assert fence.look().state is FenceState.OPEN
        assert fence.look().holds == ()
        client.execute("SELECT 2")
    assert fence.put_up(hold("other")).state is FenceState.FENCED


def test_a_session_that_is_just_logging_in_is_let_in_first(
    access: ServerAccess, control: Connection, database: str
) -> None:
    # PAUSE would end it, and PgBouncer would open none for the next 15 s: longer than this client has patience.
    query = "SELECT 1 FROM pg_stat_activity WHERE datname = %s"
    with pgbouncer(access, "transaction", auth_type="trust", connect_query="SELECT pg_sleep(0.3)") as reached:
        client = threading.Thread(target=lambda: connect(reached, database, purpose="client").close())
        client.start()
        wait_until(lambda: control.execute(query, (database,)).fetchone() is not None, "a session logs in")
        slow = PgBouncerFence(PgBouncerSettings(access=reached, database=database), FenceBook(control))
        slow.put_up(hold())
        slow.take_down("recovery")
        client.join()


def test_giving_up_leaves_it_paused_for_whoever_holds_it(
    settings: PgBouncerSettings, fence: PgBouncerFence, client: Connection, control: Connection
) -> None:
    hasty = PgBouncerFence(replace(settings, patience=timedelta(seconds=0.1)), FenceBook(control))
    with client.transaction():
        client.execute("SELECT 1")
        # What a process leaves that was killed while PAUSE waited.
        FenceBook(control).write(fence.name, _page_of("killed"))
        with closing(connect(settings.access, CONSOLE, purpose="test")) as console:
            console.pgconn.send_query(f'PAUSE "{settings.database}"'.encode())
            wait_until(lambda: fence.look().state is FenceState.FENCED, "it is being paused")
        with pytest.raises(FencingUnavailableError, match="it stays paused, because 'killed' since"):
            hasty.put_up(hold("other"))
        assert fence.look().state is FenceState.FENCED
    assert fence.put_up(hold("killed")).state is FenceState.FENCED
    assert fence.take_down("killed").state is FenceState.OPEN
    assert client.execute("SELECT 1").fetchone() == (1,)


def _page_of(holder: str) -> Page:
    return Page(found="running", holds=(hold(holder),), step=Step.CLOSED)


def test_a_database_without_clients_is_resumed_although_pgbouncer_hides_it(
    fence: PgBouncerFence, settings: PgBouncerSettings
) -> None:
    with connect(settings.access, CONSOLE, purpose="test") as console:

        def is_hidden() -> bool:
            return all(settings.database not in row for row in console.execute("SHOW DATABASES").fetchall())

        fence.put_up(hold())
        wait_until(is_hidden, "PgBouncer hides it")
        assert fence.look().state is FenceState.UNKNOWN
        assert fence.take_down("recovery").state is FenceState.OPEN
        with pytest.raises(psycopg.Error, match="is not paused"):
            console.execute(f'RESUME "{settings.database}"'.encode())
        # And what somebody else has paused is known in spite of that.
        console.execute(f'PAUSE "{settings.database}"'.encode())
        wait_until(is_hidden, "PgBouncer hides it")
        fence.put_up(hold())
        assert fence.take_down("recovery").state is FenceState.FENCED
        assert console.execute(f'RESUME "{settings.database}"'.encode()).statusmessage == "RESUME"


def test_an_answer_that_comes_too_early_is_not_believed(
    fence: PgBouncerFence, settings: PgBouncerSettings, client: Connection, control: Connection
) -> None:
    hasty = PgBouncerFence(replace(settings, patience=timedelta(seconds=0.5)), FenceBook(control))
    with client.transaction(), connect(settings.access, CONSOLE, purpose="test") as console:
        client.execute("SELECT 1")
        console.execute(f'WAIT_CLOSE "{settings.database}"'.encode())
        with pytest.raises(FencingUnavailableError, match=r"did not end within 0\.5 s"):
            hasty.put_up(hold())
        client.execute("SELECT 2")
    assert fence.put_up(hold()).state is FenceState.FENCED


def test_what_somebody_has_paused_before_stays_paused(fence: PgBouncerFence, settings: PgBouncerSettings) -> None:
    with connect(settings.access, CONSOLE, purpose="test") as console:
        console.execute(f'PAUSE "{settings.database}"'.encode())
    fence.put_up(hold())
    down = fence.take_down("recovery")
    assert (down.state, down.detail) == (FenceState.FENCED, "it was paused before Squizzle fenced it, and stays so")
    assert fence.take_down(None).state is FenceState.OPEN


def test_a_pause_that_was_forgotten_by_a_restart_is_told_and_made_again(
    fence: PgBouncerFence, settings: PgBouncerSettings
) -> None:
    fence.put_up(hold())
    with connect(settings.access, CONSOLE, purpose="test") as console:
        console.execute(f'RESUME "{settings.database}"'.encode())
    look = fence.look()
    assert (look.state, look.holds) == (FenceState.OPEN, (hold(),))
    assert "nobody waits" in look.detail
    assert fence.put_up(hold()).state is FenceState.FENCED
    assert fence.take_down("recovery").state is FenceState.OPEN


def test_a_name_that_needs_quoting_is_one(pool: ServerAccess, control: Connection, database: str) -> None:
    name = f'{database} "; RESUME'
    control.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    fence = PgBouncerFence(PgBouncerSettings(access=pool, database=name), FenceBook(control))
    assert fence.put_up(hold()).state is FenceState.FENCED
    assert fence.take_down("recovery").state is FenceState.OPEN


def test_a_pause_of_everything_is_somebody_elses(fence: PgBouncerFence, settings: PgBouncerSettings) -> None:
    with connect(settings.access, CONSOLE, purpose="test") as console:
        console.execute("PAUSE")
        try:
            with pytest.raises(FencingFailedError, match="already suspended/paused") as caught:
                fence.put_up(hold())
        finally:
            console.execute("RESUME")
    assert "without a name" in caught.value.hint
    assert fence.look().holds == ()


def test_a_console_that_does_not_let_us_in_is_told_without_the_password(
    access: ServerAccess, control: Connection, database: str
) -> None:
    with pgbouncer(access, "transaction", auth_type="md5", password="right-7e1c") as reached:
        right = PgBouncerSettings(access=replace(reached, password=Secret("right-7e1c")), database=database)
        wrong = replace(right, access=replace(reached, password=Secret("wrong-7e1c")))
        with pytest.raises(FencingFailedError, match="does not accept the login") as caught:
            PgBouncerFence(wrong, FenceBook(control)).put_up(hold())
        assert not caught.value.retryable
        assert "wrong-7e1c" not in f"{caught.value.message}{caught.value.hint}"
        fence = PgBouncerFence(right, FenceBook(control))
        assert fence.put_up(hold()).state is FenceState.FENCED
        assert fence.take_down("recovery").state is FenceState.OPEN
    with pytest.raises(FencingUnavailableError, match="no connection"):
        fence.put_up(hold())


def test_who_is_no_admin_is_told_which_setting_helps(access: ServerAccess, control: Connection, database: str) -> None:
    with pgbouncer(access, "transaction") as reached:
        fence = PgBouncerFence(PgBouncerSettings(access=reached, database=database), FenceBook(control))
        with pytest.raises(FencingFailedError, match="admin access needed") as caught:
            fence.put_up(hold())
    assert "admin_users" in caught.value.hint
    assert FenceBook(control).read(fence.name) is None
