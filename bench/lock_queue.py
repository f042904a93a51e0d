"""What clients feel while a migration adds a column behind a long reader: Squizzle against psql, in one run.

Eight clients read and update one table at a fixed rate. A reader leaves its transaction open for some seconds. A
migration adds a column. Latency is measured from the moment a request was due, so a stall is not hidden by clients
that wait. Rounds are interleaved: no DDL, psql, Squizzle, no DDL …

    python -m bench.lock_queue [--rounds 3] [--seconds 16]
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.operations import apply_versions
from squizzle.postgres.access import ServerAccess, client_environment, connect
from squizzle.postgres.embedded import drill_settings, find_runtime, throwaway_cluster
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import find_programs

ROWS = 100_000
CLIENTS = 8
RATE_PER_CLIENT = 50.0
READER_S = 8.0
DDL_AT_S = 2.0
DATABASE = "bench"


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """What one run of the load felt.

    Attributes:
        name: Who migrated.
        p50_ms: Half of the requests were faster.
        p99_ms: All but one in a hundred were faster.
        max_ms: The slowest.
        over_1s: Requests that took longer than a second.
        requests: How many there were.
        ddl_s: From the start of the migration to its end; 0 without one.
    """

    name: str
    p50_ms: float
    p99_ms: float
    max_ms: float
    over_1s: int
    requests: int
    ddl_s: float


def main() -> None:
    """Run the rounds and print one line each, then medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=16.0)
    arguments = parser.parse_args()
    runtime = find_runtime()
    with throwaway_cluster("bench", settings=drill_settings(runtime.major, throwaway=True), runtime=runtime) as server:
        access = ServerAccess(host=str(server.socket_folder), port=server.port, user=server.user)
        _prepare(access)
        rounds = [
            _round(access, name, migrate, arguments.seconds, number)
            for number in range(arguments.rounds)
            for name, migrate in (("no DDL", _nothing), ("psql -f", _psql), ("squizzle", _squizzle))
        ]
    _print_medians(rounds)


def _prepare(access: ServerAccess) -> None:
    with connect(access, "postgres", purpose="bench") as control:
        control.execute(f"CREATE DATABASE {DATABASE}".encode())
    with connect(access, DATABASE, purpose="bench") as connection:
        connection.execute("CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL, note text)")
        connection.execute("INSERT INTO account SELECT g, 0, repeat('x', 80) FROM generate_series(1, %s) g", (ROWS,))
        connection.execute("VACUUM ANALYZE account")


def _round(
    access: ServerAccess, name: str, migrate: Callable[[ServerAccess, int], None], seconds: float, number: int
) -> Round:
    latencies: list[float] = []
    begin = time.monotonic() + 0.5
    clients = [
        threading.Thread(target=_client, args=(access, begin, seconds, latencies, seed)) for seed in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    time.sleep(max(0.0, begin + DDL_AT_S - time.monotonic()))
    with _long_reader(access):
        started = time.monotonic()
        migrate(access, number)
        ddl_s = 0.0 if migrate is _nothing else time.monotonic() - started
    for client in clients:
        client.join()
    done = _summarise(name, latencies, ddl_s)
    print(_line(done), flush=True)
    return done


def _client(access: ServerAccess, begin: float, seconds: float, latencies: list[float], seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - which rows are read
    with connect(access, DATABASE, purpose="bench client") as connection:
        for turn in range(int(seconds * RATE_PER_CLIENT)):
            due = begin + turn / RATE_PER_CLIENT
            time.sleep(max(0.0, due - time.monotonic()))
            row = chance.randint(1, ROWS)
            connection.execute("SELECT balance FROM account WHERE id = %s", (row,))
            connection.execute("UPDATE account SET balance = balance + 1 WHERE id = %s", (row,))
            latencies.append(time.monotonic() - due)


@contextmanager
def _long_reader(access: ServerAccess) -> Iterator[None]:
    reader = connect(access, DATABASE, purpose="bench long reader")
    reader.autocommit = False
    reader.execute("SELECT count(*) FROM account")
    timer = threading.Timer(READER_S, reader.close)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def _nothing(_access: ServerAccess, _number: int) -> None:
    """No migration: what the load feels anyway."""


def _psql(access: ServerAccess, number: int) -> None:
    with connect(access, "postgres", purpose="bench") as connection:
        programs = find_programs(explicit=None, server_major=connection.info.server_version // 10000)
    with client_environment(access, DATABASE) as environment:
        command = [str(programs.path("psql")), "-X", "-q", "-c", f"ALTER TABLE account ADD COLUMN p{number} int"]
        subprocess.run(command, env=environment, check=True)


def _squizzle(access: ServerAccess, number: int) -> None:
    with tempfile.TemporaryDirectory() as folder, connect(access, DATABASE, purpose="migration") as connection:
        for earlier in range(number + 1):
            version = Path(folder) / f"{earlier + 1}_column"
            version.mkdir()
            (version / "up.sql").write_text(f"ALTER TABLE account ADD COLUMN s{earlier} int;\n", encoding="utf-8")
        apply_versions(connection, Target(database=DATABASE), read_migrations(Path(folder)))


def _summarise(name: str, latencies: list[float], ddl_s: float) -> Round:
    ordered = sorted(latency * 1000 for latency in latencies)
    return Round(
        name=name,
        p50_ms=statistics.median(ordered),
        p99_ms=ordered[int(len(ordered) * 0.99)],
        max_ms=ordered[-1],
        over_1s=sum(latency > 1000 for latency in ordered),  # noqa: PLR2004
        requests=len(ordered),
        ddl_s=ddl_s,
    )


def _line(one: Round) -> str:
    return (
        f"{one.name:10} p50 {one.p50_ms:8.1f} ms  p99 {one.p99_ms:8.1f} ms  max {one.max_ms:8.1f} ms"
        f"  over 1 s {one.over_1s:5} of {one.requests}  DDL {one.ddl_s:5.1f} s"
    )


def _print_medians(rounds: list[Round]) -> None:
    print("\nmedians")
    for name in dict.fromkeys(one.name for one in rounds):
        same = [one for one in rounds if one.name == name]
        print(
            _line(
                Round(
                    name=name,
                    p50_ms=statistics.median(one.p50_ms for one in same),
                    p99_ms=statistics.median(one.p99_ms for one in same),
                    max_ms=statistics.median(one.max_ms for one in same),
                    over_1s=round(statistics.median(one.over_1s for one in same)),
                    requests=same[0].requests,
                    ddl_s=statistics.median(one.ddl_s for one in same),
                )
            )
        )


if __name__ == "__main__":
    main()
