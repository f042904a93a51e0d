"""What clients feel while a table that all of them use is changed: Squizzle against what people use instead.

Eight clients read and update one table at a fixed rate. A reader leaves its transaction open for some seconds, as
reports do. A migration changes the table. Latency is measured from the moment a request was due, so a stall is not
hidden by clients that wait. Each run has a new copy of the database; contenders take turns.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from psycopg import sql

from bench import histories, peers
from bench.histories import Step
from bench.report import Figure, Finding, Picture, Table
from bench.stall_changes import CAREFUL, CHANGES, PLAIN, TABLES, Change
from bench.stall_load import CLIENTS, RATE_PER_CLIENT, TIMEOUT_S, Felt, clients, long_reader
from bench.turns import Taken
from squizzle.postgres.access import CONTROL_DATABASE, ServerAccess, connect

_MODEL = "stall_model"
_DATABASE = "stall"
NOBODY = "nobody"
OURS = "squizzle"
FAILED = "failed requests a migration, careful"
LONGEST = "longest wait of all changes, careful"
_AFTERWARDS_S = 0.5

# Given a database and a folder, runs the steps.
_Migrate = Callable[[str, Path, Sequence[Step]], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One migration under load: what, written how, by whom."""

    change: Change | None
    manner: str
    who: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """What is the same in all runs.

    Attributes:
        access: The server.
        rows: Of the table.
        reader_s: How long the reader stays.
        seconds: The least that the load lasts.
    """

    access: ServerAccess
    rows: int
    reader_s: float
    seconds: float


def measure(access: ServerAccess, *, rounds: int, seconds: float, rows: int, changes: int, reader_s: float) -> Finding:
    """Run the load with nobody migrating, and then with each of them, in turn."""
    migrators, missing = _migrators(access)
    scene = Scene(access=access, rows=rows, reader_s=reader_s, seconds=seconds)
    chosen = CHANGES[:changes]
    felt: dict[tuple[str, str, str], list[Felt]] = {}
    with _model(scene):
        for number in range(rounds):
            runs = list(_runs(chosen, migrators))
            for run in runs if number % 2 == 0 else reversed(runs):
                one = _felt(scene, run, migrators)
                felt.setdefault(_key(run), []).append(one)
                print(f"  {' '.join(_key(run))}: longest {one.longest_ms:.0f} ms", file=sys.stderr, flush=True)
    return Finding(
        title="What clients feel of a migration",
        method=f"{CLIENTS} clients, {CLIENTS * RATE_PER_CLIENT:.0f} requests a second, each given up after"
        f" {TIMEOUT_S:g} s; a table of {rows:,} rows, which a reader has just read and whose transaction"
        f" stays open for {reader_s:g} s more when the migration has connected. Medians of {rounds} interleaved rounds,"
        " failures of all rounds added up. *Plain*: one statement, as most people write it. *Careful*: in the steps"
        " that `squizzle lint` recommends, the same for all; the backfill by hand is a block that commits every 10,000"
        " rows, Squizzle's the plain UPDATE with its mark. dbmate and Alembic run what is careful.",
        headings=("change", "written", "who migrates", "p50 ms", "p99 ms", "longest ms", "failed", "takes s"),
        rows=tuple(_rows(felt)),
        missing=missing,
        figures=tuple(_figures(felt)),
        picture=_picture(felt),
        shows_not="a pooler between clients and server, standbys, a table larger than memory, or a reader that stays"
        " for an hour: whoever waits for a lock is felt for as long as the reader stays, so the longest waits of the"
        " others are what the reader's seconds make them.",
        more=(_worst(felt),),
    )


def _runs(chosen: Sequence[Change], migrators: Mapping[str, _Migrate]) -> Iterator[Run]:
    yield Run(change=None, manner="", who=NOBODY)
    for change in chosen:
        for who in migrators:
            if who in {"psql", OURS} and not change.is_one_way:
                yield Run(change=change, manner=PLAIN, who=who)
            yield Run(change=change, manner=CAREFUL, who=who)


def _key(run: Run) -> tuple[str, str, str]:
    if run.change is None:
        return ("none", "", NOBODY)
    return (run.change.name, "" if run.change.is_one_way else run.manner, run.who)


def _migrators(access: ServerAccess) -> tuple[dict[str, _Migrate], tuple[str, ...]]:
    psql, dbmate = peers.find_psql(access), peers.find_dbmate()
    alembic, squizzle = peers.find_alembic(), peers.find_squizzle()
    found: dict[str, _Migrate] = {"psql": partial(_psql, psql, access)}
    if not dbmate.missing:
        found["dbmate"] = partial(_dbmate, dbmate, access)
    if not alembic.missing:
        found["Alembic"] = partial(_alembic, alembic, access)
    found[OURS] = partial(_squizzle, squizzle, access)
    absent = [peer for peer in (dbmate, alembic, peers.find_on_path("pgroll", "pgroll")) if peer.missing]
    return found, tuple(peer.sentence() for peer in absent)


@contextmanager
def _model(scene: Scene) -> Iterator[None]:
    """A database that each run gets a copy of."""
    name = sql.Identifier(_MODEL)
    with connect(scene.access, CONTROL_DATABASE, purpose="bench") as control:
        control.execute(sql.SQL("CREATE DATABASE {}").format(name))
        try:
            with connect(scene.access, _MODEL, purpose="bench") as connection:
                for statement in TABLES:
                    connection.execute(statement.format(rows=scene.rows).encode())
                connection.execute("VACUUM (FREEZE, ANALYZE)")
            yield
        finally:
            control.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@contextmanager
def _copy(access: ServerAccess) -> Iterator[None]:
    names = [sql.Identifier(name) for name in (_DATABASE, _MODEL)]
    with connect(access, CONTROL_DATABASE, purpose="bench") as control:
        control.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(*names))
        try:
            yield
        finally:
            control.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(names[0]))


def _felt(scene: Scene, run: Run, migrators: Mapping[str, _Migrate]) -> Felt:
    with _copy(scene.access), tempfile.TemporaryDirectory(prefix="bench-") as folder:
        with clients(scene.access, _DATABASE, scene.rows) as load:
            began = time.monotonic()
            # A quarter of the time without anybody, so that caches are warm.
            time.sleep(scene.seconds / 4)
            with long_reader(scene.access, _DATABASE, scene.reader_s):
                started = time.monotonic()
                if run.change is not None:
                    steps = run.change.steps(run.manner, for_squizzle=run.who == OURS)
                    migrators[run.who](_DATABASE, Path(folder), steps)
                took = time.monotonic() - started
            time.sleep(max(_AFTERWARDS_S, began + scene.seconds - time.monotonic()))
        return load.felt(took if run.change else 0.0)


def _psql(peer: peers.Peer, access: ServerAccess, database: str, folder: Path, steps: Sequence[Step]) -> None:
    for step, script in zip(steps, histories.write_native(steps, folder), strict=True):
        options = [] if step.alone else ["-1"]
        peers.run_psql(peer, access, database, [*options, "-f", str(script)])


def _dbmate(peer: peers.Peer, access: ServerAccess, database: str, folder: Path, steps: Sequence[Step]) -> None:
    histories.write_dbmate(steps, folder / "migrations")
    peers.run_dbmate(peer, access, database, folder / "migrations")


def _alembic(peer: peers.Peer, access: ServerAccess, database: str, folder: Path, steps: Sequence[Step]) -> None:
    ini = histories.write_alembic(steps, folder / "project")
    peers.run_alembic(peer, access, database, ini, "upgrade", "head")


def _squizzle(peer: peers.Peer, access: ServerAccess, database: str, folder: Path, steps: Sequence[Step]) -> None:
    histories.write_native(steps, folder / "migrations")
    peers.run_squizzle(peer, access, database, folder / "migrations", "apply", "--all")


_AllFelt = Mapping[tuple[str, str, str], Sequence[Felt]]


def _taken(runs: Sequence[Felt], what: str) -> Taken:
    return Taken(values=tuple(float(getattr(one, what)) for one in runs))


def _in_order(felt: _AllFelt) -> list[tuple[str, str, str]]:
    """As they are shown: by change, then plain before careful."""
    changes = ["none", *(change.name for change in CHANGES)]
    return sorted(felt, key=lambda key: (changes.index(key[0]), key[1] == CAREFUL))


def _rows(felt: _AllFelt) -> Iterator[tuple[str, ...]]:
    for key in _in_order(felt):
        runs = felt[key]
        cells = (f"{_taken(runs, what).median:.1f}" for what in ("p50_ms", "p99_ms", "longest_ms"))
        failed = f"{sum(one.failed for one in runs)} of {sum(one.requests for one in runs)}"
        yield (*key, *cells, failed, f"{_taken(runs, 'ddl_s').median:.1f}" if key[2] != NOBODY else "")


def _worst(felt: _AllFelt) -> Table:
    """Each contender over all changes that it was given in the same manner."""
    rows = []
    for who in dict.fromkeys(key[2] for key in felt):
        for manner in (PLAIN, CAREFUL):
            runs = [one for key, found in felt.items() if key[2] == who and key[1] in {"", manner} for one in found]
            plain_too = any(key[1:] == (PLAIN, who) for key in felt)
            if not runs or (manner == PLAIN and not plain_too):
                continue
            longest = max(one.longest_ms for one in runs)
            failed = sum(one.failed for one in runs)
            rows.append((who, "" if who == NOBODY else manner, f"{longest:.0f}", str(failed)))
    title = "The longest that anybody waited in all rounds of all changes (those without a better way count as both):"
    return Table(headings=("who migrates", "written", "longest ms", "failed"), rows=tuple(rows), title=title)


_WHY = {
    "ddl_s": "starts Python; steps back from the lock after 50 ms, comes again when the reader has gone; batches pause",
    "longest_ms": "the lock, once granted, is held for as long, whoever asked for it",
    "p99_ms": "the same work beside the clients, and a second session that watches",
}
_UNITS = {"p99_ms": "ms", "longest_ms": "ms", "ddl_s": "s"}
_WHAT = {"p99_ms": "p99", "longest_ms": "longest wait", "ddl_s": "time of the migration"}


def _figures(felt: _AllFelt) -> Iterator[Figure]:
    for (change, manner, who), runs in felt.items():
        if who != OURS:
            continue
        same = [key for key in felt if key[:2] == (change, manner) and key[2] != OURS]
        for what, words in _WHAT.items():
            for key in same:
                yield _taken(runs, what).figure(
                    f"{words}, {_title(change, manner)}",
                    _UNITS[what],
                    peer=_taken(felt[key], what),
                    peer_name=key[2],
                    why=_WHY[what],
                )
    ours = [one for key, runs in felt.items() if key[2] == OURS and key[1] != PLAIN for one in runs]
    # The most of all, which is what an aim is about.
    yield Taken(values=(float(max(one.failed for one in ours)),)).figure(FAILED, "requests")
    yield Taken(values=(max(one.longest_ms for one in ours),)).figure(LONGEST, "ms")


def _title(change: str, manner: str) -> str:
    return f"{change}, {manner}" if manner else change


def _picture(felt: _AllFelt) -> Picture:
    bars = [
        _taken(felt[key], "longest_ms").bar(f"{_title(*key[:2])}: {key[2]}", is_ours=key[2] == OURS)
        for key in _in_order(felt)
    ]
    title = "The longest that a client waits during a migration"
    return Picture(title=title, unit="ms", bars=tuple(bars), is_logarithmic=True)
