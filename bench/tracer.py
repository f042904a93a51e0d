"""What the lock tracer costs a migration: the same migrations with it and without, in turn.

Two migrations: one script of 200 small statements, where every question counts most, and what the example shop does to
its rows from version 0007 on (a backfill, a new index, columns that are filled and taken away), which is rolled back in
between.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.replay import scratch_database
from bench.report import Finding
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
        rows = [
            *_rows("200 small statements", lambda traced: _small(access, Path(folder), traced=traced), rounds),
            *_rows("the shop's 0007 to 0012", lambda traced: _shop(access, shop, traced=traced), rounds),
        ]
    return Finding(
        title="The lock tracer",
        method="One script of 200 small statements on an empty database, and the example shop at scale"
        f" {SCALE:g}, whose versions after {_BEFORE} are applied to its rows. Medians of {rounds} interleaved rounds;"
        " the limit is 10 % or 5 ms a statement, whichever is larger.",
        headings=("migration", "median s", "min s", "max s", "ratio", "ms a statement more", "overhead as traced s"),
        rows=tuple(rows),
        command=f"python -m bench tracer --rounds {rounds}",
    )


def _rows(name: str, run: _Round, rounds: int) -> Iterator[tuple[str, ...]]:
    taken: dict[bool, list[float]] = {False: [], True: []}
    overheads = []
    statements = 1
    for _ in range(rounds):
        for traced in (False, True):
            seconds, traces = run(traced)
            taken[traced].append(seconds)
            if traced:
                overheads.append(sum(trace.overhead.total_seconds() for trace in traces))
                statements = sum(len(trace.statements) for trace in traces)
    plain = statistics.median(taken[False])
    for traced, all_taken in taken.items():
        median = statistics.median(all_taken)
        more = 1000 * (median - plain) / statements
        yield (
            f"{name}, {'traced' if traced else 'not traced'}",
            *(f"{value:.3f}" for value in (median, min(all_taken), max(all_taken))),
            f"{median / plain:.2f}",
            f"{more:.2f}" if traced else "",
            f"{statistics.median(overheads):.3f}" if traced else "",
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
