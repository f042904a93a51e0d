"""What a rollout costs each target, beside a bare thread pool of psycopg that runs the same migration.

Every contender works on the same databases, each time with a version of its own, in pieces that take turns.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median

from bench.fleet_databases import each, fleet_of, many_databases, write_versions
from bench.fleet_replay import Recorded, record, replay
from bench.report import Bar, Figure, Finding, Picture
from bench.turns import Taken
from bench.usage import Meter
from squizzle.migrations.layouts import read_migrations
from squizzle.postgres.access import ServerAccess, connect
from squizzle.rollout.applying import apply_to_targets
from squizzle.rollout.orders import ApplyVerdict, RolloutOrder, TargetResult
from squizzle.settings.fleets import FleetSettings
from tasks.folders import MigrationsFolder
from tasks.rollout_case import RolloutCase
from tasks.temporary_api import temporary_api

# So many targets at the same time, for all: what a fleet has by default for one server.
CONCURRENCY = 4
# Contenders take turns after so many targets.
PIECE = 100

BARE = "psycopg: BEGIN, DDL, history row, COMMIT"
REPLAYED = "psycopg: the statements of Squizzle"
OURS = "squizzle"
IN_TASKS = "squizzle, in a task of Prefect"
ANEW = "squizzle, first rollout of a database"


@dataclass(kw_only=True, slots=True)
class Pieces:
    """What one contender has taken so far: seconds of each piece, by the clock and of processor."""

    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def take(self, meter: Meter, work: Callable[[], None]) -> None:
        """Measure one piece of work more."""
        meter.start()
        began = time.perf_counter()
        work()
        self.clock.append(time.perf_counter() - began)
        self.processor.append(meter.seconds())

    def figure(self, name: str, targets: int, *, peer: Pieces, peer_name: str, why: str) -> Figure:
        """Milliseconds of processor that a target takes, beside a peer's."""
        mine, theirs = (Taken(values=tuple(1000 * s / targets for s in one.processor)) for one in (self, peer))
        return mine.figure(name, "ms of processor", peer=theirs, peer_name=peer_name, why=why)


def measure(access: ServerAccess, *, rounds: int, targets: int) -> Finding:
    """Migrate every database with each contender in turn."""
    taken = {name: Pieces() for name in (BARE, REPLAYED, OURS, IN_TASKS, ANEW)}
    with ExitStack() as stack:
        # One more: what Squizzle sends to it is recorded.
        names = stack.enter_context(many_databases(access, targets + 1))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        fleet = Works(access, names, folder, versions=1 + 3 * rounds)
        in_a_flow(partial(_take_turns, access, fleet, names, taken, rounds))
    return Finding(
        title=f"A column for each of {targets:,} databases",
        method=f"{CONCURRENCY} at the same time for all, a session each; contenders take turns after {PIECE} databases,"
        f" {rounds} rounds. Processor time is that of clients and server together; ratios are medians of the ratios"
        " piece by piece.",
        headings=("contender", "ms a target", "ratio", "processor ms", "ratio"),
        rows=tuple(_rows(taken, min(PIECE, targets))),
        figures=tuple(_figures(taken, min(PIECE, targets))),
        picture=Picture(
            title=f"A column for each of {targets:,} databases",
            unit="ms of processor a database",
            bars=tuple(_bar(name, one, min(PIECE, targets)) for name, one in taken.items()),
        ),
        shows_not="servers behind a network, where waiting is most of the time, and scripts that work for more than a"
        " moment: what is asked and written to be safe takes the same for both.",
    )


_WHY = (
    "what is asked and written to be safe: identity, lock, history, digest, who blocks; the same statements sent by a"
    " bare psycopg take nearly as much"
)


def _figures(taken: dict[str, Pieces], size: int) -> Iterator[Figure]:
    """Scaled to a thousand, so that small sizes have the same figure."""
    clocks = {name: Taken(values=tuple(1000 * s / size for s in taken[name].clock)) for name in (OURS, BARE)}
    yield clocks[OURS].figure("a column for 1,000 databases", "s", peer=clocks[BARE], peer_name=BARE, why=_WHY)
    yield taken[OURS].figure("a target", size, peer=taken[BARE], peer_name=BARE, why=_WHY)
    yield taken[IN_TASKS].figure("a target", size, peer=taken[REPLAYED], peer_name=REPLAYED, why="what Squizzle does")


def _bar(name: str, taken: Pieces, size: int) -> Bar:
    one = Taken(values=tuple(1000 * seconds / size for seconds in taken.processor))
    return one.bar(name, is_ours=name in {OURS, IN_TASKS, ANEW})


def _take_turns(
    access: ServerAccess, fleet: Works, names: Sequence[str], taken: dict[str, Pieces], rounds: int
) -> None:
    """Inside a flow, so that a task is a task."""
    meter = Meter(access)
    model, *others = names
    fleet.apply((model,), 1)
    for piece in _pieces(others):
        _bare(access, piece, 0)
        taken[ANEW].take(meter, partial(fleet.apply, piece, 1))
    for round_ in range(rounds):
        version = 2 + 3 * round_
        recorded = fleet.record(model, version)
        fleet.apply((model,), version + 2)
        for piece in _pieces(others):
            taken[BARE].take(meter, partial(_bare, access, piece, version))
            taken[REPLAYED].take(meter, partial(_replayed, access, piece, recorded))
            taken[OURS].take(meter, partial(fleet.apply, piece, version + 1))
            taken[IN_TASKS].take(meter, partial(fleet.apply_in_task, piece, version + 2))


def _pieces(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for begin in range(0, len(names), PIECE):
        yield names[begin : begin + PIECE]


def _rows(taken: dict[str, Pieces], size: int) -> Iterator[tuple[str, ...]]:
    bare = taken[BARE]
    for name, one in taken.items():
        cells: list[str] = []
        for mine, theirs in ((one.clock, bare.clock), (one.processor, bare.processor)):
            ratio = median(a / b for a, b in zip(mine, theirs, strict=False))
            cells += [f"{1000 * median(mine) / size:.1f}", f"{ratio:.2f}"]
        yield (name, *cells)


class Works:
    """Squizzle's side: an order for each version.

    Attributes:
        case: As the flow has it.
        targets: By the database's name.
    """

    def __init__(self, access: ServerAccess, names: Sequence[str], folder: Path, *, versions: int) -> None:
        write_versions(folder, range(1, versions + 1))
        self._migrations = read_migrations(folder)
        fleet = fleet_of(access, names)
        self._order = RolloutOrder(
            rollout_id="bench",
            fleet=fleet,
            migrations=self._migrations,
            versions=(),
            concurrency=CONCURRENCY,
            per_server=CONCURRENCY,
        )
        self.case = RolloutCase(
            fleet=FleetSettings(name="bench"),
            stages=(),
            folder=MigrationsFolder(path=folder, layout="native"),
            environ={},
        )
        self.targets = {target.database: target for target in fleet.targets}

    def order(self, version: int) -> RolloutOrder:
        """Everything up to a version; the ones before it are there, or are brought, too."""
        upto = self._migrations[:version]
        return replace(self._order, migrations=upto, versions=tuple(one.version for one in upto))

    def apply(self, names: Sequence[str], version: int) -> None:
        """Bring targets up to a version, and refuse to be fast by failing."""
        targets = [self.targets[name] for name in names]
        refuse_failures(apply_to_targets(self.order(version), targets, max_failures=0, environ={}))

    def apply_in_task(self, names: Sequence[str], version: int) -> None:
        """The same, as the flow does it."""
        from tasks.rollout import apply_batch  # noqa: PLC0415 - Prefect reads its settings when it is imported

        targets = tuple(self.targets[name] for name in names)
        refuse_failures(apply_batch(self.case, self.order(version), targets, max_failures=0))

    def record(self, name: str, version: int) -> Recorded:
        """The same for one target, with every statement that is sent."""
        recorded = Recorded()
        with record(recorded):
            self.apply((name,), version)
        return recorded


def refuse_failures(results: Sequence[TargetResult]) -> None:
    """A benchmark of work that failed would be fast."""
    wrong = [one for one in results if one.verdict is not ApplyVerdict.APPLIED]
    if wrong:
        raise RuntimeError(f"{wrong[0].target.name}: {wrong[0].verdict}, {wrong[0].error}")


def _bare(access: ServerAccess, names: Sequence[str], version: int) -> None:
    def work(name: str) -> None:
        connection = connect(access, name, purpose="bench")
        try:
            with connection.transaction():
                connection.execute(f"ALTER TABLE goods ADD COLUMN bare_{version} int".encode())
                connection.execute(
                    "INSERT INTO bare_history (version, name, direction, success) VALUES (%s, %s, %s, true)",
                    (str(version), "column", "apply"),
                )
        finally:
            connection.close()

    each(names, work, at_a_time=CONCURRENCY)


def _replayed(access: ServerAccess, names: Sequence[str], recorded: Recorded) -> None:
    each(names, lambda name: replay(access, name, recorded), at_a_time=CONCURRENCY)


def in_a_flow(work: Callable[[], None]) -> None:
    """Do it inside a flow of Prefect, with a temporary API."""
    with temporary_api() as wait_for_api:
        from prefect import flow  # noqa: PLC0415 - Prefect reads its settings when it is imported

        wait_for_api()

        @flow(name="bench", persist_result=False)
        def here() -> None:
            work()

        here()
