"""How long a client waits for a row while a backfill of a whole table runs: in batches and as one statement.

Clients update one random row after the other. A migration sets a column of every row. Rounds are interleaved.

    python -m bench.batches [--rounds 1] [--rows 1000000]
"""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.operations import apply_versions
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.embedded import drill_settings, find_runtime, throwaway_cluster
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
        updates: How many there were.
    """

    name: str
    seconds: float
    p50_ms: float
    p99_ms: float
    longest_ms: float
    updates: int

    def line(self) -> str:
        """One line of the table."""
        return (
            f"{self.name:<10} {self.seconds:7.1f} s   p50 {self.p50_ms:7.1f} ms   p99 {self.p99_ms:8.1f} ms"
            f"   longest {self.longest_ms:8.1f} ms   {self.updates} updates"
        )


def main() -> None:
    """Run the rounds and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    runtime = find_runtime()
    settings = drill_settings(runtime.major) | {"archive_mode": "off", "max_wal_size": "4GB"}
    with throwaway_cluster("bench", settings=settings, runtime=runtime) as server:
        access = ServerAccess(host=str(server.socket_folder), port=server.port, user=server.user)
        for number in range(arguments.rounds):
            for name, mark in (("whole", ""), ("batches", MARK)):
                print(_round(access, name, mark, arguments.rows, f"{name}_{number}").line(), flush=True)


def _round(access: ServerAccess, name: str, mark: str, rows: int, database: str) -> Round:
    _prepare(access, database, rows)
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
    with connect(access, "postgres", purpose="bench") as control:
        control.execute(f"CREATE DATABASE {database}".encode())
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
        updates=len(ordered),
    )


if __name__ == "__main__":
    main()
