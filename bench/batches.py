"""How long a client waits for a row while a backfill of a whole table runs: in batches and as one statement.

Clients update one random row after the other. A migration sets a column of every row. Rounds are interleaved.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from bench.replay import scratch_database
from bench.report import Finding, Picture
from bench.turns import Taken
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.operations import apply_versions
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.identity import Target

CLIENTS = 2
# A request each 10 ms: enough to meet a batch often, not enough to be the load itself.
PAUSE_S = 0.01
MARK = "-- squizzle: batch key=id\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """What one backfill took, and what clients felt.

    Attributes:
        name: How it ran.
        seconds: From the start of the migration to its end.
        p50_ms: Half of the clients' updates were faster.
        p99_ms: All but one in a hundred were faster.
        longest_ms: The slowest of them.
    """

    name: str
    seconds: float
    p50_ms: float
    p99_ms: float
    longest_ms: float


def measure(access: ServerAccess, *, rounds: int, rows: int) -> Finding:
    """Backfill a new table as one statement and in batches, in turn."""
    done: dict[str, list[Round]] = {WHOLE: [], IN_BATCHES: []}
    for number in range(rounds):
        for name in done if number % 2 == 0 else reversed(list(done)):
            done[name].append(_round(access, name, MARK if name == IN_BATCHES else "", rows))
    taken = {
        name: {what: Taken(values=tuple(float(getattr(one, what)) for one in same)) for what in _UNITS}
        for name, same in done.items()
    }
    return Finding(
        title=f"A backfill of {rows:,} rows",
        method=f"{CLIENTS} clients that update random rows, 10 ms apart; medians of {rounds} interleaved rounds.",
        headings=("squizzle apply", "s", "p50 ms", "p99 ms", "longest ms"),
        rows=tuple((name, *(f"{one.median:.1f}" for one in columns.values())) for name, columns in taken.items()),
        figures=tuple(
            taken[IN_BATCHES][what].figure(
                f"{words}, {IN_BATCHES}", _UNITS[what], peer=taken[WHOLE][what], peer_name=WHOLE, why=_WHY
            )
            for what, words in _WHAT.items()
        ),
        picture=Picture(
            title="The longest that a client waits for a row during a backfill",
            unit="ms",
            bars=tuple(one["longest_ms"].bar(name, is_ours=name == IN_BATCHES) for name, one in taken.items()),
            is_logarithmic=True,
        ),
        shows_not="what a backfill does to standbys, to vacuum and to the log: batches commit often, so all three keep"
        " up, which is not measured here.",
    )


WHOLE, IN_BATCHES = "one statement", "in batches"
_UNITS = {"seconds": "s", "p50_ms": "ms", "p99_ms": "ms", "longest_ms": "ms"}
_WHAT = {"seconds": "time", "p99_ms": "p99 of clients", "longest_ms": "longest wait of a client"}
_WHY = "a transaction for each batch, and pauses while somebody waits"


def _round(access: ServerAccess, name: str, mark: str, rows: int) -> Round:
    with scratch_database(access, "batches") as database:
        _prepare(access, database, rows)
        return _fill(access, name, mark, rows, database)


def _fill(access: ServerAccess, name: str, mark: str, rows: int, database: str) -> Round:
    with tempfile.TemporaryDirectory() as folder, connect(access, database, purpose="migration") as connection:
        version = Path(folder) / "1_backfill"
        version.mkdir()
        statement = f"{mark}UPDATE account SET total = balance * 2 + 1;\n"  # noqa: S608 - ours
        (version / "up.sql").write_text(statement, encoding="utf-8")
        stop = threading.Event()
        latencies: list[float] = []
        clients = [
            threading.Thread(target=_client, args=(access, database, rows, stop, latencies, seed))
            for seed in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        started = time.monotonic()
        apply_versions(connection, Target(database=database), read_migrations(Path(folder)))
        seconds = time.monotonic() - started
        stop.set()
        for client in clients:
            client.join()
    return _summarise(name, seconds, latencies)


def _prepare(access: ServerAccess, database: str, rows: int) -> None:
    with connect(access, database, purpose="bench") as connection:
        connection.execute(
            "CREATE TABLE account (id bigint PRIMARY KEY, balance int NOT NULL, total bigint, note text)"
        )
        connection.execute(
            "INSERT INTO account SELECT g, 0, NULL, repeat('x', 80) FROM generate_series(1, %s) g", (rows,)
        )
        connection.execute("VACUUM ANALYZE account")
        connection.execute("CHECKPOINT")


def _client(
    access: ServerAccess, database: str, rows: int, stop: threading.Event, latencies: list[float], seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - which rows are written
    with connect(access, database, purpose="bench client") as connection:
        while not stop.is_set():
            began = time.monotonic()
            connection.execute("UPDATE account SET balance = balance + 1 WHERE id = %s", (chance.randint(1, rows),))
            latencies.append(time.monotonic() - began)
            stop.wait(PAUSE_S)


def _summarise(name: str, seconds: float, latencies: list[float]) -> Round:
    ordered = sorted(1000 * one for one in latencies)
    return Round(
        name=name,
        seconds=seconds,
        p50_ms=ordered[len(ordered) // 2],
        p99_ms=ordered[len(ordered) * 99 // 100],
        longest_ms=ordered[-1],
    )
