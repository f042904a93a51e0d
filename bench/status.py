"""How long one waits for an answer about a long history: whole processes, from start to exit."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from bench import peers
from bench.replay import Projects, scratch_database, write_projects
from bench.report import Finding
from squizzle.postgres.access import ServerAccess

_SQUIZZLE = "squizzle status"


def measure(access: ServerAccess, *, rounds: int, migrations: int) -> Finding:
    """Apply the history once with every tool, then ask each in turn."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ExitStack() as databases:
        projects = write_projects(Path(folder), migrations)
        questions, missing = _questions(access, projects, databases)
        taken: dict[str, list[float]] = {name: [] for name in questions}
        for _ in range(rounds):
            for name, (ask, proof) in questions.items():
                started = time.perf_counter()
                answer = ask()
                taken[name].append(time.perf_counter() - started)
                if proof not in answer:
                    raise RuntimeError(f"{name} does not say {proof!r}: {answer[-500:]}")
    return Finding(
        title=f"Status of {migrations} applied migrations",
        method=f"Whole processes; medians of {rounds} interleaved runs. Only Squizzle compares the files with what was"
        " applied.",
        headings=("contender", "median s", "min s", "max s", "ratio"),
        rows=tuple(_rows(taken)),
        missing=missing,
        command=f"python -m bench status --runs {rounds} --applied {migrations}",
    )


_Question = tuple[Callable[[], str], str]


def _questions(
    access: ServerAccess, projects: Projects, databases: ExitStack
) -> tuple[dict[str, _Question], tuple[str, ...]]:
    squizzle, dbmate, alembic = peers.find_squizzle(), peers.find_dbmate(), peers.find_alembic()
    count = len(projects.scripts)
    ours = databases.enter_context(scratch_database(access, "status_squizzle"))
    peers.run_squizzle(squizzle, access, ours, projects.native, "apply", "--all")
    found: dict[str, _Question] = {
        _SQUIZZLE: (
            lambda: peers.run_squizzle(squizzle, access, ours, projects.native, "status"),
            f"current version {count:04}",
        ),
        "squizzle status --json": (
            lambda: peers.run_squizzle(squizzle, access, ours, projects.native, "status", "--json"),
            '"pending": []',
        ),
    }
    if not dbmate.missing:
        its = databases.enter_context(scratch_database(access, "status_dbmate"))
        peers.run_dbmate(dbmate, access, its, projects.dbmate)
        found["dbmate status"] = (
            lambda: peers.run_dbmate(dbmate, access, its, projects.dbmate, "status"),
            f"Applied: {count}",
        )
    if not alembic.missing:
        theirs = databases.enter_context(scratch_database(access, "status_alembic"))
        peers.run_alembic(alembic, access, theirs, projects.alembic, "upgrade", "head")
        found["alembic current"] = (
            lambda: peers.run_alembic(alembic, access, theirs, projects.alembic, "current"),
            f"{count:04} (head)",
        )
    return found, tuple(peer.sentence() for peer in (dbmate, alembic) if peer.missing)


def _rows(taken: dict[str, list[float]]) -> Iterator[tuple[str, ...]]:
    baseline = statistics.median(taken[_SQUIZZLE])
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        cells = (median, min(seconds), max(seconds))
        yield (name, *(f"{cell:.3f}" for cell in cells), f"{median / baseline:.2f}")
