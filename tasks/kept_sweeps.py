"""Keeping what sweeps found in the store, and showing what moved."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from squizzle.errors import SquizzleError
from squizzle.reports.moves import moves_markdown, moves_picture, moves_summary
from squizzle.sweep.records import Sweep
from tasks.markdown_artifact import create_markdown_artifact, create_picture_artifact
from tasks.outage import publish
from tasks.reporting import artifact_key
from tasks.steps import log_line, now, step
from tasks.sweep_case import SweepCase

if TYPE_CHECKING:
    from squizzle.frames.moves import Move

# What is usual is told by so much of the past: some dozens of sweeps, six files of hours and those of the last one.
PAST = timedelta(hours=6)


@dataclass(frozen=True, kw_only=True, slots=True)
class Keeping:
    """What became of a sweep.

    Attributes:
        is_kept: Whether it is in the store.
        moves: What moved, the farthest first; None where that was not looked at.
        since: From when on sweeps were compared.
        sweeps: How many they were.
        problems: Why it is not kept, and what is damaged of what was kept, a sentence each.
    """

    is_kept: bool = False
    moves: tuple[Move, ...] | None = None
    since: datetime = datetime.min  # noqa: DTZ901 - nothing was compared
    sweeps: int = 0
    problems: tuple[str, ...] = ()


def _kept_words(kept: Keeping) -> str:
    if not kept.is_kept:
        return kept.problems[0] if kept.problems else "there is no store"
    return "kept" if kept.moves is None else f"kept; {len(kept.moves)} metrics moved"


@step("Keep what was found", timeout=timedelta(minutes=10), detail=_kept_words)
def keep_what_was_found(case: SweepCase, sweep: Sweep, *, has_news: bool) -> Keeping:
    """Keep a sweep in the store, where there is one, and see what moved once an hour, or when there is news.

    A store that cannot be written is told, and is no reason for a sweep to fail.
    """
    if case.store is None:
        return Keeping()
    # The first that waits for pandas, which a sweep without a store need not.
    from squizzle.frames.moves import find_moves, sweeps_in  # noqa: PLC0415
    from squizzle.frames.sweeps import forget_fleets, keep_sweep, read_sweeps  # noqa: PLC0415

    done = Keeping()
    try:
        store = case.store()
        keep = case.settings.health.keep_sweeps
        kept = keep_sweep(store, sweep, now(), keep=keep)
        done = Keeping(is_kept=True, problems=kept.problems)
        if kept.is_first_of_hour and (gone := forget_fleets(store, case.fleets, now(), keep=keep)):
            log_line(f"removed what was kept of sweeps of {', '.join(gone)}: there are no such fleets any more")
        if kept.is_first_of_hour or has_news:
            since = sweep.at - PAST
            found = read_sweeps(store, sweep.fleet, since)
            moves = find_moves(found.frame)
            done = replace(
                done,
                moves=moves,
                since=since,
                sweeps=sweeps_in(found.frame),
                problems=tuple(dict.fromkeys([*done.problems, *found.problems])),
            )
    except SquizzleError as exc:
        what = "what moved could not be seen" if done.is_kept else "this sweep is not kept"
        done = replace(done, problems=(*done.problems, f"{what}: {exc.message}"))
    for problem in done.problems:
        log_line(problem, logging.WARNING)
    return done


@step("Write what moved", timeout=timedelta(minutes=5))
def publish_moves(fleet: str, kept: Keeping) -> None:
    """Publish what moved as a table and, where anything did, as a picture."""
    moves = kept.moves or ()
    key, title = f"health-{artifact_key(fleet)}-moved", moves_summary(fleet, moves)
    text = moves_markdown(fleet, moves, since=kept.since, sweeps=kept.sweeps, problems=kept.problems)
    publish(create_markdown_artifact, text, key=key, description=title)
    picture = moves_picture(moves)
    if picture:
        publish(create_picture_artifact, picture, key=f"{key}-picture", description=title)
