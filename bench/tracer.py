"""What the lock tracer costs a migration: the same migrations with it and without, in turn.

Two migrations: one script of 200 small statements, where every question counts most, and what the example shop does to
its rows from version 0007 on (a backfill, a new index, columns that are filled and taken away), which is rolled back in
between.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.replay import scratch_database
from bench.report import Bar, Figure, Finding, Picture
from bench.turns import Taken, take_turns
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.listener import Listener
from squizzle.migrations.operations import apply_versions, roll_back_versions
from squizzle.migrations.records import Migration
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.identity import Target
from squizzle.rehearsal.records import ScriptTrace
from squizzle.rehearsal.tracing import tracing
from tests.support.shop import SHOP, load_shop

SCALE = 1.0
_BEFORE = "0006"
_SMALL = (
    "CREATE TABLE small_{0} (id int PRIMARY KEY, name text)",
    "INSERT INTO small_{0} SELECT g, 'name ' || g FROM generate_series(1, 10) g",
    "ALTER TABLE small_{0} ADD COLUMN note text NOT NULL DEFAULT ''",
    "CREATE INDEX small_{0}_name ON small_{0} (name)",
    "COMMENT ON TABLE small_{0} IS 'one of fifty'",
)

_Round = Callable[[bool], tuple[float, tuple[ScriptTrace, ...]]]


def measure(access: ServerAccess, *, rounds: int) -> Finding:
    """Run both migrations with and without the tracer, in turn."""
    with scratch_database(access, "tracer") as shop, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        load_shop(access, shop, scale=SCALE)
        found = {
            SMALL: _in_turn(lambda traced: _small(access, Path(folder), traced=traced), rounds),
            SHOP_PART: _in_turn(lambda traced: _shop(access, shop, traced=traced), rounds),
        }
    return Finding(
        title="The lock tracer",
        method="One script of 200 small statements on an empty database, and the example shop at scale"
        f" {SCALE:g}, whose versions after {_BEFORE} are applied to its rows. Medians of {rounds} interleaved rounds;"
        " the limit is 10 % or 5 ms a statement, whichever is larger.",
        headings=("migration", "median s", "min s", "max s", "ratio", "ms a statement more", "overhead as traced s"),
        rows=tuple(row for name, one in found.items() for row in one.rows(name)),
        figures=tuple(figure for name, one in found.items() for figure in one.figures(name)),
        picture=Picture(
            title="The same migrations, traced and not",
            unit="s",
            bars=tuple(bar for name, one in found.items() for bar in one.bars(name)),
        ),
        shows_not="clients: none is there, and the tracer asks the same session, so nobody else waits for it.",
    )


SMALL, SHOP_PART = "200 small statements", "the shop's 0007 to 0012"
_WHY = "after each statement the session is asked what it locks"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Both:
    """The same migrations with the tracer and without.

    Attributes:
        plain: Seconds of each round without it.
        traced: The same with it.
        more_ms: What a statement took longer, round by round.
        overheads: Seconds that the tracer itself says that it took.
    """

    plain: Taken
    traced: Taken
    more_ms: Taken
    overheads: Taken

    def rows(self, name: str) -> Iterator[tuple[str, ...]]:
        yield (f"{name}, not traced", *self.plain.cells(".3f"), "1.00", "", "")
        ratio = f"{self.traced.ratio_to(self.plain):.2f}"
        more = (f"{self.more_ms.median:.2f}", f"{self.overheads.median:.3f}")
        yield (f"{name}, traced", *self.traced.cells(".3f"), ratio, *more)

    def figures(self, name: str) -> Iterator[Figure]:
        yield self.traced.figure(f"{name}, traced", "s", peer=self.plain, peer_name="not traced", why=_WHY)
        yield self.more_ms.figure(f"{name}, a statement more", "ms")

    def bars(self, name: str) -> Iterator[Bar]:
        yield self.plain.bar(f"{name}, not traced")
        yield self.traced.bar(f"{name}, traced", is_ours=True)


def _in_turn(run: _Round, rounds: int) -> _Both:
    overheads, statements = [], 1

    def one(*, traced: bool) -> float:
        nonlocal statements
        seconds, traces = run(traced)
        if traced:
            overheads.append(sum(trace.overhead.total_seconds() for trace in traces))
            statements = sum(len(trace.statements) for trace in traces)
        return seconds

    taken = take_turns({"not traced": lambda: one(traced=False), "traced": lambda: one(traced=True)}, rounds)
    plain, traced = taken["not traced"], taken["traced"]
    more = (1000 * (slow - fast) / statements for slow, fast in zip(traced.values, plain.values, strict=True))
    return _Both(
        plain=plain, traced=traced, more_ms=Taken(values=tuple(more)), overheads=Taken(values=tuple(overheads))
    )


def _small(access: ServerAccess, folder: Path, *, traced: bool) -> tuple[float, tuple[ScriptTrace, ...]]:
    script = folder / "0001_small" / "up.sql"
    script.parent.mkdir(exist_ok=True)
    script.write_text(";\n".join(one.format(number) for number in range(40) for one in _SMALL), encoding="utf-8")
    with scratch_database(access, "tracer_small") as database:
        return _apply(access, database, read_migrations(folder), traced=traced)


def _shop(access: ServerAccess, database: str, *, traced: bool) -> tuple[float, tuple[ScriptTrace, ...]]:
    migrations = read_migrations(SHOP / "migrations")
    with connect(access, database, purpose="bench") as connection:
        roll_back_versions(connection, Target(database=database), migrations, to=_BEFORE)
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
    return _apply(access, database, migrations, traced=traced)


def _apply(
    access: ServerAccess, database: str, migrations: tuple[Migration, ...], *, traced: bool
) -> tuple[float, tuple[ScriptTrace, ...]]:
    target = Target(database=database)
    with connect(access, database, purpose="migration") as connection:
        started = time.perf_counter()
        if not traced:
            apply_versions(connection, target, migrations)
            return time.perf_counter() - started, ()
        with tracing(connection) as tracer:
            apply_versions(connection, target, migrations, listener=Listener(observer=tracer))
            return time.perf_counter() - started, tracer.take()
