"""What writing clients feel when a restored database takes the place of the damaged one.

The ways: Squizzle's, the two renames of a runbook behind one `pg_terminate_backend` (repeated until they work), and
Squizzle's behind PgBouncer. Every acknowledged write is looked for afterwards. Rounds are interleaved.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from bench.debian import find_program
from bench.report import Figure, Finding, Picture
from bench.turns import Taken, take_turns
from bench.writers import Written, writing
from squizzle.postgres.access import CONTROL_DATABASE, Connection, ServerAccess, connect
from squizzle.postgres.database_properties import read_properties
from squizzle.recovery.fence import control_session, session_through_fence, unfence
from squizzle.recovery.fences.order import make_fences, put_up_all, take_down_all
from squizzle.recovery.fences.records import Hold
from squizzle.recovery.switch_over import switch_over
from squizzle.settings.fences import PgBouncerSettings
from tests.support.pgbouncer import pgbouncer

NOBODY = "no switch-over"
OURS, POOLED = "squizzle", "squizzle behind PgBouncer"
LOST = "writes lost, or written into the old database"
RUNBOOK = "terminate, then two renames"
_DATABASE, _RESTORED, _KEPT = "switch_over", "switch_over__r", "switch_over__old"


_Load = Callable[[ServerAccess], AbstractContextManager[Written]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """One switch-over under load.

    Attributes:
        way: How.
        gap_ms: The longest time in which no write was acknowledged.
        slowest_ms: The longest that a single write of a client took.
        took_ms: From the first statement to the last.
        tries: How often it had to be begun.
        errors: What clients were told, and how often.
        writes: Acknowledged ones.
        lost: Acknowledged ones that neither database has.
        misdirected: Those that the old database got after the new one had the name.
    """

    way: str
    gap_ms: float
    slowest_ms: float
    took_ms: float
    tries: int
    errors: dict[str, int]
    writes: int
    lost: int
    misdirected: int


def measure(access: ServerAccess, *, rounds: int, seconds: float, writers: int) -> Finding:
    """Switch over under load, each way in turn.

    Args:
        access: The server.
        rounds: How often, each way.
        seconds: Of load before, and of load afterwards.
        writers: How many clients write.
    """
    load = partial(writing, database=_DATABASE, clients=writers)
    pooler = find_program("pgbouncer", "pgbouncer")
    ways: dict[str, Callable[[ServerAccess], Round]] = {
        name: partial(_round, name, switch=switch, seconds=seconds, load=load) for name, switch in _SWITCHES.items()
    }
    if pooler is not None:
        ways[POOLED] = partial(_behind_pgbouncer, program=pooler, seconds=seconds, load=load)
    done: dict[str, list[Round]] = {name: [] for name in ways}

    def once(name: str) -> float:
        done[name].append(ways[name](access))
        return done[name][-1].gap_ms

    gaps = take_turns({name: partial(once, name) for name in ways}, rounds, form=".1f")
    return Finding(
        title=f"A switch-over under {writers} clients",
        method=f"{writers} clients write one row after the other and come back at once; medians of {rounds} interleaved"
        " rounds. The gap is the longest time in which nobody's write was acknowledged. Errors, lost and misdirected"
        " writes are those of all rounds: every acknowledged write is looked for afterwards, in both databases.",
        headings=("way", "gap ms", "slowest write ms", "took ms", "tries", "errors", "lost", "misdirected"),
        rows=tuple(_rows(done)),
        figures=tuple(_figures(done, gaps)),
        picture=Picture(
            title="The longest time without a write",
            unit="ms",
            bars=tuple(one.bar(name, is_ours=name in {OURS, POOLED}) for name, one in gaps.items()),
        ),
        missing=() if pooler is not None else ("PgBouncer: missing on this machine",),
        shows_not="clients elsewhere in a network, and pools that wait for seconds before they come back.",
    )


def _figures(done: Mapping[str, Sequence[Round]], gaps: Mapping[str, Taken]) -> Iterator[Figure]:
    yield gaps[OURS].figure("gap", "ms", peer=gaps[RUNBOOK], peer_name=RUNBOOK, why="one round is one chance")
    if POOLED in gaps:
        yield gaps[POOLED].figure("gap behind PgBouncer", "ms", peer=gaps[RUNBOOK], peer_name=RUNBOOK)
    took = {name: Taken(values=tuple(one.took_ms for one in rounds)) for name, rounds in done.items()}
    yield took[OURS].figure("a switch-over", "ms", peer=took[RUNBOOK], peer_name=RUNBOOK)
    for name, rounds in done.items():
        told = Taken(values=tuple(float(sum(one.errors.values())) for one in rounds))
        yield told.figure(f"failed queries of clients, {name}", "queries")
    mine = [one for name in (OURS, POOLED) for one in done.get(name, ())]
    lost = Taken(values=tuple(float(one.lost + one.misdirected) for one in mine))
    yield lost.figure(LOST, "writes")


def _behind_pgbouncer(access: ServerAccess, *, program: Path, seconds: float, load: _Load) -> Round:
    with pgbouncer(access, "transaction", servers=20, auth_type="trust", program=str(program)) as pool:
        settings = PgBouncerSettings(access=pool, database=_DATABASE)
        return _round(
            POOLED, access, switch=partial(_squizzle, settings=settings), seconds=seconds, load=load, clients=pool
        )


def _round(
    way: str,
    access: ServerAccess,
    *,
    switch: Callable[[ServerAccess], int],
    seconds: float,
    load: _Load,
    clients: ServerAccess | None = None,
) -> Round:
    with _two_databases(access):
        with load(clients or access) as written:
            time.sleep(seconds)
            begun = time.monotonic()
            tries = switch(access)
            ended = time.monotonic()
            in_old = _count(access, _KEPT) if tries else 0
            time.sleep(seconds)
        done = Round(
            way=way,
            gap_ms=round(written.gap_ms(begun), 1),
            slowest_ms=round(written.slowest_s * 1000, 1),
            took_ms=round((ended - begun) * 1000, 1),
            tries=tries,
            errors=dict(written.errors),
            writes=len(written.committed_at),
            lost=_lost(access, written, (_DATABASE, _KEPT) if tries else (_DATABASE,)),
            misdirected=_count(access, _KEPT) - in_old if tries else 0,
        )
    print(f"  {json.dumps(asdict(done))}", flush=True)
    return done


@contextmanager
def _two_databases(access: ServerAccess) -> Iterator[None]:
    """The damaged one and the restored one; whatever is called like them goes afterwards."""
    with connect(access, CONTROL_DATABASE, purpose="bench") as control:
        _run(control, "CREATE DATABASE {}", _DATABASE)
        with connect(access, _DATABASE, purpose="bench") as session:
            session.execute("CREATE TABLE written (client int, n int)")
        _run(control, "CREATE DATABASE {} TEMPLATE {}", _RESTORED, _DATABASE)
        control.execute("CHECKPOINT")
        try:
            yield
        finally:
            for name in (_DATABASE, _RESTORED, _KEPT):
                _run(control, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def _run(control: Connection, command: LiteralString, *names: str) -> None:
    control.execute(sql.SQL(command).format(*(sql.Identifier(name) for name in names)))


def _squizzle(access: ServerAccess, settings: PgBouncerSettings | None = None) -> int:
    hold = Hold(holder="bench", by="bench", reason="bench", run="", at=datetime.now(UTC))
    with control_session(access, purpose="switch-over") as control:
        fences = make_fences(control, _DATABASE, [settings] if settings else [])
        properties = read_properties(control, _DATABASE)
        if settings is not None:
            put_up_all(fences, hold)
        switch_over(control, database=_DATABASE, restored=_RESTORED, keep_as=_KEPT, properties=properties)
        if settings is None:
            unfence(control, _DATABASE)
        else:
            take_down_all(fences, "bench")
    return 1


_TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"


def _runbook(access: ServerAccess) -> int:
    """As runbooks have it: end the sessions, rename one, rename the other; again, when a client was faster."""
    tries = 0
    with connect(access, CONTROL_DATABASE, purpose="runbook") as control:
        for old, new in ((_DATABASE, _KEPT), (_RESTORED, _DATABASE)):
            while True:
                tries += 1
                control.execute(_TERMINATE, (old,))
                try:
                    _run(control, "ALTER DATABASE {} RENAME TO {}", old, new)
                    break
                except psycopg.errors.ObjectInUse:
                    continue
    return tries - 1


# Without a switch-over is what clients feel anyway on a machine that is busy with them.
_SWITCHES: Mapping[str, Callable[[ServerAccess], int]] = {NOBODY: lambda _access: 0, OURS: _squizzle, RUNBOOK: _runbook}


def _count(access: ServerAccess, database: str) -> int:
    with session_through_fence(access, database, purpose="bench look") as session:
        row = session.execute("SELECT count(*) FROM written").fetchone()
    return int(row[0]) if row else 0


def _lost(access: ServerAccess, written: Written, databases: tuple[str, ...]) -> int:
    """Acknowledged writes that are nowhere; one that was not acknowledged may be there all the same."""
    found: set[tuple[int, int]] = set()
    for database in databases:
        with session_through_fence(access, database, purpose="bench look") as session:
            found.update(session.execute("SELECT client, n FROM written").fetchall())
    return len({(client, n) for client, count in written.acknowledged.items() for n in range(count)} - found)


def _rows(done: Mapping[str, Sequence[Round]]) -> Iterator[tuple[str, ...]]:
    for way, same in done.items():
        times = zip(*((one.gap_ms, one.slowest_ms, one.took_ms, one.tries) for one in same), strict=True)
        counts = (
            sum(sum(one.errors.values()) for one in same),
            sum(one.lost for one in same),
            sum(one.misdirected for one in same),
        )
        yield (way, *(f"{statistics.median(column):.1f}" for column in times), *(str(one) for one in counts))
