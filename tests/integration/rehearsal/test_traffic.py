"""How much a database is used, and whether a forecast made of that comes true."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import RelationName
from squizzle.migrations.listener import Listener
from squizzle.migrations.operations import apply_versions, roll_back_versions
from squizzle.migrations.records import Direction
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from squizzle.rehearsal.lock_forecast import forecast_queue, relations_of
from squizzle.rehearsal.lock_forecast_records import QueueVerdict
from squizzle.rehearsal.records import RelationKind, ScriptTrace, TracedLock, TracedStatement
from squizzle.rehearsal.tracing import tracing
from squizzle.rehearsal.traffic import read_counters, read_traffic
from squizzle.rehearsal.traffic_records import Counted
from tests.integration.conftest import SERVERS
from tests.integration.migrations.conftest import Folder
from tests.support.processes import wait_until
from tests.support.scratch import new_role

HELD = timedelta(milliseconds=400)
CLIENTS = 20
PERIOD_S = 0.5


def named(name: str) -> RelationName:
    return RelationName(schema="public", name=name)


def trace_of(table: str, sql_text: str, held: timedelta) -> ScriptTrace:
    lock = TracedLock(
        relation=named(table), kind=RelationKind.TABLE, mode=LockMode.ACCESS_EXCLUSIVE, since=timedelta(), held=held
    )
    statement = TracedStatement(
        number=1, line=4, sql=sql_text, transactional=True, since=timedelta(), duration=held, locks=(lock,)
    )
    return ScriptTrace(version="0002", direction=Direction.APPLY, duration=held, statements=(statement,))


@contextmanager
def writers(access: ServerAccess, database: str, waits: list[float]) -> Iterator[Callable[[], int]]:
    """Clients that write a row each every so often, evenly; gives how many have begun, and notes how long each took."""
    stop = threading.Event()
    begun = set[int]()

    def write(number: int) -> None:
        with connect(access, database, purpose=f"client {number}") as own:
            stop.wait(PERIOD_S * number / CLIENTS)
            while not stop.is_set():
                since = time.monotonic()
                own.execute("UPDATE busy SET n = n + 1 WHERE id = %s", (number,))
                waits.append(time.monotonic() - since)
                # Sessions tell what they counted once a second at most; the watch here is shorter.
                own.execute("SELECT pg_stat_force_next_flush()")
                begun.add(number)
                stop.wait(max(0.0, PERIOD_S - (time.monotonic() - since)))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(CLIENTS)]
    for one in threads:
        one.start()
    try:
        yield lambda: len(begun)
    finally:
        stop.set()
        for one in threads:
            one.join()


# Arithmetic meets reality: how PostgreSQL counts is the same on both, and two seconds are many.
@pytest.mark.parametrize("address", SERVERS[:1], indirect=True)
def test_as_many_clients_wait_as_long_as_was_foretold(
    access: ServerAccess, database: str, connection: Connection, tmp_path: Path
) -> None:
    connection.execute("CREATE TABLE busy (id int PRIMARY KEY, n int NOT NULL)")
    connection.execute("INSERT INTO busy SELECT i, 0 FROM generate_series(0, %s) i", (CLIENTS,))
    folder, target = Folder(tmp_path / "migrations"), Target(database=database)
    folder.write("1", "ALTER TABLE busy ADD COLUMN note text;\nSELECT pg_sleep(0.3)", down="ALTER TABLE busy DROP note")
    with tracing(connection) as tracer:
        apply_versions(connection, target, folder.read(), listener=Listener(observer=tracer))
        (trace,) = tracer.take()
    roll_back_versions(connection, target, folder.read(), only="1")

    waits: list[float] = []
    with writers(access, database, waits) as begun, connect(access, database, purpose="test migrate") as migrating:
        wait_until(lambda: begun() == CLIENTS, "every client writes")
        traffic = read_traffic(connection, relations_of(trace), over=timedelta(seconds=PERIOD_S))
        forecast = forecast_queue(trace, traffic)
        waits.clear()
        thread = threading.Thread(target=apply_versions, args=(migrating, target, folder.read()))
        thread.start()
        waiting = 0
        while thread.is_alive():
            row = connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
            waiting = max(waiting, int(row[0]) if row else 0)
            thread.join(0.01)

    (queue,) = forecast.queues
    assert traffic.clients > CLIENTS
    assert forecast.sessions is not None
    assert queue.longest_wait is not None
    assert waiting / 2 <= forecast.sessions <= waiting * 2, (waiting, forecast.sentence)
    longest = max(waits)
    assert longest / 2 <= queue.longest_wait.total_seconds() <= longest * 2, (longest, forecast.sentence)
    assert "on public.busy (ACCESS EXCLUSIVE, ALTER TABLE in line 1)" in forecast.sentence


def test_holders_are_found_on_indexes_in_partitions_and_without_a_session(
    access: ServerAccess, database: str, connection: Connection
) -> None:
    connection.execute(
        "CREATE TABLE events (id int, at date) PARTITION BY RANGE (at);"
        "CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');"
        "CREATE INDEX events_id ON events (id);"
        "CREATE VIEW seen AS SELECT * FROM events;"
        "CREATE TABLE taken (id int)"
    )
    asked = [named("events"), named("events_1_id_idx"), named("seen"), named("taken"), named("nowhere")]
    first = read_counters(connection, asked)
    with ExitStack() as stack:
        idle, locking, waiting = (
            stack.enter_context(connect(access, database, purpose=purpose)) for purpose in ("idle", "lock", "wait")
        )
        idle.execute("BEGIN; SET LOCAL enable_seqscan = off; INSERT INTO events VALUES (1, '2026-05-01')")
        idle.execute("SELECT FROM events_1 WHERE id = 1")
        connection.execute(
            "SELECT pg_stat_force_next_flush(); INSERT INTO events SELECT 2, '2026-06-01' FROM generate_series(1, 50)"
        )
        locking.execute("BEGIN; LOCK TABLE taken")
        stack.callback(connection.execute, "ROLLBACK PREPARED 'half done'")
        with connect(access, database, purpose="preparing") as preparing:
            preparing.execute("BEGIN; UPDATE events SET id = 3 WHERE false; PREPARE TRANSACTION 'half done'")
        thread = threading.Thread(target=waiting.execute, args=("SELECT FROM taken",))
        thread.start()
        wait_until(
            lambda: connection.execute("SELECT FROM pg_locks WHERE NOT granted").fetchone() is not None,
            "somebody waits",
        )

        traffic = read_traffic(connection, asked, first=first)
        more = {oid: Counted(reads=10**9, inserted=10**9, changed=10**9) for oid in first.tables}
        begun_anew = read_traffic(connection, asked, first=replace(first, tables=more))

        pid = idle.info.backend_pid
        locking.execute("ROLLBACK")
        thread.join()
    events, index, seen, taken = traffic.relations
    assert traffic.missing == (named("nowhere"),)
    assert events.table == named("events")
    assert index.table == named("events_1")
    per_s = traffic.over.total_seconds()
    assert round((events.writes_per_s or 0) * per_s) == round((index.writes_per_s or 0) * per_s) == 50
    assert all((one.writes_per_s or 0) >= 0 for one in begun_anew.relations)
    assert (seen.reads_per_s, seen.size_bytes) == (None, None)
    # Its size could be had only by waiting for whoever has it locked.
    assert (taken.size_bytes, taken.waiting) == (None, 1)
    assert (events.size_bytes or 0) > 0
    by_pid = {one.pid: one for one in events.holders}
    assert by_pid[pid].mode is LockMode.ROW_EXCLUSIVE
    assert "idle in transaction" in by_pid[pid].what
    assert by_pid[None].who.startswith("prepared transaction half done of ")
    assert index.holders[0].pid == pid
    assert [one.mode for one in taken.holders] == [LockMode.ACCESS_EXCLUSIVE]
    assert traffic.prepared == 1
    assert (traffic.hidden, traffic.is_average) == (0, False)

    forecast = forecast_queue(trace_of("events", "ALTER TABLE events ADD COLUMN x int", HELD), traffic)
    assert forecast.queues[0].waits == timedelta(milliseconds=50)
    assert any("half done" in one for one in forecast.advice)


def test_what_an_account_may_not_see_is_said_and_never_taken_for_nothing(
    access: ServerAccess, database: str, control: Connection, connection: Connection
) -> None:
    connection.execute("CREATE TABLE orders (id int PRIMARY KEY)")
    trace = trace_of("orders", "ALTER TABLE orders ADD COLUMN x int", HELD)
    with new_role(control, sql.SQL("NOLOGIN")) as role, connect(access, database, purpose="hidden one") as hidden:
        hidden.execute("BEGIN; SELECT FROM orders")
        pid = hidden.info.backend_pid
        control.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT 5").format(sql.Identifier(database)))
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        traffic = read_traffic(connection, relations_of(trace), over=timedelta())
        connection.execute("RESET ROLE")
    (orders,) = traffic.relations
    assert [(one.pid, one.transaction_age) for one in orders.holders] == [(pid, None)]
    assert (traffic.clients, traffic.active, traffic.hidden, traffic.is_average) == (1, None, 1, True)
    # Five for this database, of which one is theirs and one ours.
    assert traffic.free == 3
    forecast = forecast_queue(trace, traffic)
    assert forecast.queues[0].waits == timedelta(milliseconds=50)
    assert any("1 of 1 sessions" in one and "pg_read_all_stats" in one for one in forecast.not_seen)
    assert forecast.advice == ()
    assert forecast.verdict is QueueVerdict.NOBODY
