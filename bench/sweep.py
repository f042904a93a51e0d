"""What a health sweep costs each target, beside a bare thread pool of psycopg that asks the same questions."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from statistics import median
from typing import LiteralString

import psycopg

from bench.fleet import CONCURRENCY, Pieces
from bench.fleet_databases import SERVER, fleet_of, many_databases
from bench.report import Figure, Finding, Picture
from bench.turns import Taken
from bench.usage import Meter
from squizzle.postgres.access import CONTROL_DATABASE, ServerAccess
from squizzle.postgres.identity import ExpectedIdentity
from squizzle.postgres.sql_files import load_sql
from squizzle.rollout.reaching import Reach
from squizzle.rollout.records import Fleet, FleetTarget
from squizzle.settings.fleets import FleetServer, FleetSettings
from squizzle.sweep.records import Sweep
from squizzle.sweep.sweeping import SweepOrder, sweep_fleet

BARE = "psycopg: a session each, the same questions"
OURS = "squizzle: sweep_fleet"
SWEEP = "a sweep over 1,000"
DEAD = "squizzle, with a server more that never answers"
_DEAD = "dead"
# Everything that a sweep asks of a database in which nothing was ever applied.
_QUESTIONS: tuple[LiteralString, ...] = (
    "SELECT set_config('statement_timeout', '11000ms', false), set_config('lock_timeout', '11000ms', false)",
    "SELECT to_regclass('squizzle.identity') IS NULL",
    load_sql("squizzle.sweep", "database_probe"),
    "SELECT to_regclass('public.squizzle_history') IS NOT NULL",
    "SELECT to_regclass('squizzle.query_baseline') IS NOT NULL",
)


def measure(access: ServerAccess, *, rounds: int, targets: int, deadline_s: float) -> Finding:
    """Look at every database with each contender in turn.

    Args:
        access: The server.
        rounds: How often, each contender.
        targets: How many databases.
        deadline_s: Of a target; so long the server that never answers is waited for.
    """
    deadline = timedelta(seconds=deadline_s)
    taken = {name: Pieces() for name in (BARE, OURS, DEAD)}
    meter = Meter(access)
    with many_databases(access, targets) as names, _silent_port() as port:
        fleet = fleet_of(access, names)
        with_dead = _with_dead(fleet, port)
        # The first session of a new database writes what all later ones read (`pg_internal.init`).
        _bare(access, names, questions=())
        for _ in range(rounds):
            taken[BARE].take(meter, partial(_bare, access, names))
            taken[OURS].take(meter, partial(_swept, access, fleet, deadline, reached=targets))
            taken[DEAD].take(meter, partial(_swept, access, with_dead, deadline, reached=targets))
    return Finding(
        title=f"A health sweep over {targets:,} databases",
        method=f"{CONCURRENCY} at the same time for all, a session each; contenders take turns, {rounds} rounds."
        " Processor time is that of clients and server together; ratios are medians of the ratios round by round."
        " The server that never answers accepts connections and is silent;"
        f" its deadline is {deadline_s:g} s.",
        headings=("contender", "s a sweep", "ms a target", "ratio", "processor ms", "ratio"),
        rows=tuple(_rows(taken, targets)),
        figures=tuple(_figures(taken, targets)),
        picture=Picture(
            title=f"A health sweep over {targets:,} databases",
            unit="s",
            bars=tuple(Taken(values=tuple(one.clock)).bar(name, is_ours=name != BARE) for name, one in taken.items()),
        ),
        shows_not="servers behind a network, and databases with thousands of tables.",
    )


def _figures(taken: dict[str, Pieces], targets: int) -> Iterator[Figure]:
    """Scaled to a thousand, so that small sizes have the same figure."""
    clocks = {name: Taken(values=tuple(1000 * s / targets for s in one.clock)) for name, one in taken.items()}
    why = "every answer is judged, and a session's end has a deadline"
    yield clocks[OURS].figure(SWEEP, "s", peer=clocks[BARE], peer_name=BARE, why=why)
    yield clocks[DEAD].figure("a sweep over 1,000 and a server that never answers", "s")
    yield taken[OURS].figure("a target of a sweep", targets, peer=taken[BARE], peer_name=BARE, why=why)


def _rows(taken: dict[str, Pieces], targets: int) -> Iterator[tuple[str, ...]]:
    bare = taken[BARE]
    for name, one in taken.items():
        cells = [f"{median(one.clock):.1f}"]
        for mine, theirs in ((one.clock, bare.clock), (one.processor, bare.processor)):
            ratio = median(a / b for a, b in zip(mine, theirs, strict=True))
            cells += [f"{1000 * median(mine) / targets:.1f}", f"{ratio:.2f}"]
        yield (name, *cells)


def _bare(access: ServerAccess, names: Sequence[str], *, questions: Sequence[LiteralString] = _QUESTIONS) -> None:
    def look(name: str) -> None:
        to = f"host={access.host} port={access.port} user={access.user}"
        with psycopg.connect(to, dbname=name, autocommit=True, prepare_threshold=None) as session:
            for question in questions:
                session.execute(question).fetchone()

    with ThreadPoolExecutor(CONCURRENCY) as pool:
        for _ in pool.map(look, names):
            """What it raised is raised here."""


def _swept(access: ServerAccess, fleet: Fleet, deadline: timedelta, *, reached: int) -> None:
    settings = FleetSettings(name="bench", concurrency=CONCURRENCY, per_server=CONCURRENCY, deadline=deadline)
    order = SweepOrder(fleet=fleet, expected=ExpectedIdentity(), settings=settings)
    accesses = {SERVER: (access, CONTROL_DATABASE)}
    if _DEAD in fleet.servers:
        port = int((fleet.servers[_DEAD].url or "").rpartition(":")[2].partition("/")[0])
        accesses[_DEAD] = (replace(access, host="127.0.0.1", port=port), CONTROL_DATABASE)
    sweep: Sweep = sweep_fleet(order, Reach(accesses, deadline=deadline, purpose="health"))
    if sum(one.is_reached for one in sweep.targets) != reached:
        raise AssertionError(f"not everybody was reached: {sweep.targets[0].detail}")


def _with_dead(fleet: Fleet, port: int) -> Fleet:
    server = FleetServer(name=_DEAD, url=f"postgresql://nobody@127.0.0.1:{port}/postgres")
    target = FleetTarget(name=f"{_DEAD}/postgres", server=_DEAD, database=CONTROL_DATABASE)
    return replace(fleet, servers={**fleet.servers, _DEAD: server}, targets=(target, *fleet.targets))


@contextmanager
def _silent_port() -> Iterator[int]:
    """Takes connections and says nothing; the time is the clients'."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]
