"""What clients feel while a migration adds a column behind a long reader: Squizzle against what people use instead.

Eight clients read and update one table at a fixed rate. A reader leaves its transaction open for some seconds. A
migration adds a column. Latency is measured from the moment a request was due, so a stall is not hidden by clients
that wait. Rounds are interleaved: no DDL, psql, dbmate, Alembic, Squizzle, no DDL …
"""

from __future__ import annotations

import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench import histories, peers
from bench.replay import scratch_database
from bench.report import Finding
from squizzle.postgres.access import ServerAccess, connect

ROWS = 100_000
CLIENTS = 8
RATE_PER_CLIENT = 50.0
READER_S = 8.0
DDL_AT_S = 2.0
DATABASE = "lock_queue"
NOBODY = "no DDL"

_Migrate = Callable[[ServerAccess, int], None]


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


def measure(access: ServerAccess, *, rounds: int, seconds: float) -> Finding:
    """Run the load with nobody migrating, and then with each of them, in turn."""
    migrators, missing = _migrators(access)
    with scratch_database(access, DATABASE):
        _prepare(access)
        done = [
            _round(access, name, migrate, seconds, number)
            for number in range(rounds)
            for name, migrate in migrators.items()
        ]
    return Finding(
        title="A column behind a long reader",
        method=f"{CLIENTS} clients, {CLIENTS * RATE_PER_CLIENT:.0f} requests a second, {ROWS:,} rows; a reader holds"
        f" the table for {READER_S:.0f} s. Medians of {rounds} interleaved rounds of {seconds:.0f} s; the ratio is that"
        " of the p99 to the p99 without DDL.",
        headings=("who migrates", "p50 ms", "p99 ms", "max ms", "over 1 s", "DDL s", "ratio"),
        rows=tuple(_rows(done)),
        missing=missing,
        command=f"python -m bench lock-queue --rounds {rounds} --seconds {seconds:.0f}",
    )


def _migrators(access: ServerAccess) -> tuple[dict[str, _Migrate], tuple[str, ...]]:
    psql, dbmate = peers.find_psql(access), peers.find_dbmate()
    alembic, squizzle = peers.find_alembic(), peers.find_squizzle()
    found: dict[str, _Migrate] = {NOBODY: _nothing, "psql -f": partial(_psql, psql)}
    if not dbmate.missing:
        found["dbmate"] = partial(_dbmate, dbmate)
    if not alembic.missing:
        found["Alembic"] = partial(_alembic, alembic)
    found["squizzle"] = partial(_squizzle, squizzle)
    return found, tuple(peer.sentence() for peer in (dbmate, alembic) if peer.missing)


def _prepare(access: ServerAccess) -> None:
    with connect(access, DATABASE, purpose="bench") as connection:
        connection.execute("CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL, note text)")
        connection.execute("INSERT INTO account SELECT g, 0, repeat('x', 80) FROM generate_series(1, %s) g", (ROWS,))
        connection.execute("VACUUM ANALYZE account")


def _round(access: ServerAccess, name: str, migrate: _Migrate, seconds: float, number: int) -> Round:
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


def _columns(prefix: str, count: int) -> tuple[histories.Step, ...]:
    """So many migrations that add a column each; all but the last one are applied already."""
    return tuple(
        histories.Step(
            number=number,
            name="column",
            up=(f"ALTER TABLE account ADD COLUMN {prefix}{number} int",),
            down=(f"ALTER TABLE account DROP COLUMN {prefix}{number}",),
        )
        for number in range(1, count + 1)
    )


def _psql(peer: peers.Peer, access: ServerAccess, number: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        script = histories.write_native(_columns("p", number + 1), Path(folder))[-1]
        peers.run_psql(peer, access, DATABASE, ["-1", "-f", str(script)])


def _dbmate(peer: peers.Peer, access: ServerAccess, number: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        migrations = Path(folder) / "migrations"
        histories.write_dbmate(_columns("d", number + 1), migrations)
        peers.run_dbmate(peer, access, DATABASE, migrations)


def _alembic(peer: peers.Peer, access: ServerAccess, number: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ini = histories.write_alembic(_columns("a", number + 1), Path(folder))
        peers.run_alembic(peer, access, DATABASE, ini, "upgrade", "head")


def _squizzle(peer: peers.Peer, access: ServerAccess, number: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        histories.write_native(_columns("s", number + 1), Path(folder))
        peers.run_squizzle(peer, access, DATABASE, Path(folder), "apply", "--all")


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
        f"  {one.name:10} p50 {one.p50_ms:8.1f} ms  p99 {one.p99_ms:8.1f} ms  max {one.max_ms:8.1f} ms"
        f"  over 1 s {one.over_1s:5} of {one.requests}  DDL {one.ddl_s:5.1f} s"
    )


def _rows(rounds: Sequence[Round]) -> Iterator[tuple[str, ...]]:
    medians = {name: _median([one for one in rounds if one.name == name]) for name in dict.fromkeys(_names(rounds))}
    for name, one in medians.items():
        ddl = "" if name == NOBODY else f"{one.ddl_s:.1f}"
        over = f"{one.over_1s} of {one.requests}"
        ratio = f"{one.p99_ms / medians[NOBODY].p99_ms:.1f}"
        yield (name, f"{one.p50_ms:.1f}", f"{one.p99_ms:.1f}", f"{one.max_ms:.1f}", over, ddl, ratio)


def _names(rounds: Sequence[Round]) -> Iterator[str]:
    return (one.name for one in rounds)


def _median(same: Sequence[Round]) -> Round:
    return replace(
        same[0],
        p50_ms=statistics.median(one.p50_ms for one in same),
        p99_ms=statistics.median(one.p99_ms for one in same),
        max_ms=statistics.median(one.max_ms for one in same),
        over_1s=round(statistics.median(one.over_1s for one in same)),
        ddl_s=statistics.median(one.ddl_s for one in same),
    )
