"""Eight clients that ask at a fixed rate, as those of a busy page do, and what they feel."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from squizzle.postgres.access import CONTROL_DATABASE, Connection, ServerAccess, connect

CLIENTS = 8
RATE_PER_CLIENT = 50.0
# What an application waits for an answer before it shows an error.
TIMEOUT_S = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Felt:
    """What clients felt of one migration.

    Attributes:
        p50_ms: Half of the requests were faster.
        p99_ms: All but one in a hundred were faster.
        longest_ms: The slowest.
        failed: Requests that the server ended with an error.
        requests: How many there were.
        ddl_s: From the start of the migration to its end.
    """

    p50_ms: float
    p99_ms: float
    longest_ms: float
    failed: int
    requests: int
    ddl_s: float


@dataclass(slots=True)
class Load:
    """What the clients have felt so far.

    Attributes:
        latencies: Seconds from the moment when a request was due to its answer, so that a client that waits hides none.
        errors: How often each SQLSTATE came.
    """

    latencies: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def felt(self, ddl_s: float) -> Felt:
        """Sum it up.

        Args:
            ddl_s: How long the migration took.
        """
        ordered = sorted(1000 * one for one in self.latencies)
        return Felt(
            p50_ms=statistics.median(ordered),
            p99_ms=ordered[len(ordered) * 99 // 100],
            longest_ms=ordered[-1],
            failed=self.errors.total(),
            requests=len(ordered),
            ddl_s=ddl_s,
        )


@contextmanager
def clients(access: ServerAccess, database: str, rows: int) -> Iterator[Load]:
    """Clients for the length of the block.

    Args:
        access: The server.
        database: Where the table `account` is.
        rows: How many it has, numbered from 1.
    """
    load, stop = Load(), threading.Event()
    begin = time.monotonic() + 0.2
    threads = [
        threading.Thread(target=_ask, args=(access, database, rows, begin, stop, load, seed), daemon=True)
        for seed in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _ask(
    access: ServerAccess, database: str, rows: int, begin: float, stop: threading.Event, load: Load, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - which rows are read
    with connect(access, database, purpose="bench client") as connection:
        connection.execute("SELECT set_config('statement_timeout', %s, false)", (f"{TIMEOUT_S * 1000:.0f}",))
        # Clients spread over the time between two of one client's requests.
        due = begin + seed / CLIENTS / RATE_PER_CLIENT
        while not stop.wait(max(0.0, due - time.monotonic())):
            row = chance.randint(1, rows)
            try:
                connection.execute("SELECT balance FROM account WHERE id = %s", (row,))
                connection.execute("UPDATE account SET balance = balance + 1 WHERE id = %s", (row,))
            except psycopg.Error as error:
                load.errors[error.sqlstate or "unknown"] += 1
            load.latencies.append(time.monotonic() - due)
            due += 1 / RATE_PER_CLIENT


@contextmanager
def long_reader(access: ServerAccess, database: str, seconds: float) -> Iterator[None]:
    """A report that has read the table and leaves its transaction open; the block ends after it.

    It stays for so long after the migration has connected: a tool that starts slowly does not meet it for less time.

    Args:
        access: The server.
        database: Where the table is.
        seconds: How long.
    """
    with connect(access, database, purpose="bench long reader") as reader:
        reader.autocommit = False
        reader.execute("SELECT balance FROM account LIMIT 1")
        done = threading.Event()
        leaving = threading.Thread(target=_leave, args=(access, database, seconds, done, reader), daemon=True)
        leaving.start()
        try:
            yield
        finally:
            done.set()
            leaving.join()


_OTHERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = %s AND backend_type = 'client backend' AND application_name NOT LIKE 'squizzle bench%%'
"""
_LOOK_S = 0.02


def _leave(access: ServerAccess, database: str, seconds: float, done: threading.Event, reader: Connection) -> None:
    with connect(access, CONTROL_DATABASE, purpose="bench") as control:
        # A migration that is over before anybody saw it does not keep the reader.
        while control.execute(_OTHERS, (database,)).fetchone() == (0,) and not done.wait(_LOOK_S):
            pass
    time.sleep(seconds)
    reader.close()
