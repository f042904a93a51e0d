"""How long one waits for an answer about a long history: whole processes, from start to exit."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench import peers
from bench.replay import Projects, scratch_database, write_projects
from bench.report import Finding, Picture
from bench.turns import take_turns
from squizzle.postgres.access import ServerAccess

OURS = "squizzle status"


def measure(access: ServerAccess, *, rounds: int, migrations: int) -> Finding:
    """Apply the history once with every tool, then ask each in turn."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ExitStack() as databases:
        projects = write_projects(Path(folder), migrations)
        questions, missing = _questions(access, projects, databases)
        taken = take_turns({name: partial(_ask, name, *one) for name, one in questions.items()}, rounds, form=".3f")
    return Finding(
        title=f"Status of {migrations} applied migrations",
        method=f"Whole processes; medians of {rounds} interleaved runs. Only Squizzle compares the files with what was"
        " applied.",
        headings=("contender", "median s", "min s", "max s", "ratio"),
        rows=tuple((name, *one.cells(".3f"), f"{one.ratio_to(taken[OURS]):.2f}") for name, one in taken.items()),
        missing=missing,
        figures=(
            taken[OURS].figure(OURS, "s"),
            *(
                taken[OURS].figure(OURS, "s", peer=one, peer_name=name, why=_WHY)
                for name, one in taken.items()
                if not name.startswith(OURS)
            ),
        ),
        picture=Picture(
            title=f"Status of {migrations} applied migrations",
            unit="s",
            bars=tuple(one.bar(name, is_ours=name.startswith(OURS)) for name, one in taken.items()),
        ),
        shows_not="a server that is far away: each question to it costs its distance, and all three ask a few.",
    )


_WHY = "starts Python and loads psycopg, before which dbmate is done; compares every file with what was applied"


def _ask(name: str, ask: Callable[[], str], proof: str) -> float:
    started = time.perf_counter()
    answer = ask()
    taken = time.perf_counter() - started
    if proof not in answer:
        raise RuntimeError(f"{name} does not say {proof!r}: {answer[-500:]}")
    return taken


_Question = tuple[Callable[[], str], str]


def _questions(
    access: ServerAccess, projects: Projects, databases: ExitStack
) -> tuple[dict[str, _Question], tuple[str, ...]]:
    squizzle, dbmate, alembic = peers.find_squizzle(), peers.find_dbmate(), peers.find_alembic()
    count = len(projects.scripts)
    ours = databases.enter_context(scratch_database(access, "status_squizzle"))
    peers.run_squizzle(squizzle, access, ours, projects.native, "apply", "--all")
    found: dict[str, _Question] = {
        OURS: (
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
