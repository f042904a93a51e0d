"""Looking at a database in trouble, and the remedies that need no backup."""

from __future__ import annotations

import logging
from datetime import timedelta

from blocks import PostgresDatabase
from squizzle.health.ending import Ended, EndState
from squizzle.health.records import LockPicture
from squizzle.health.release import Release, look, release
from squizzle.postgres.access import connect
from squizzle.reports.locks import summary
from tasks.steps import log_line, step

_DONE = {EndState.ENDED, EndState.CANCELLED, EndState.GONE}


@step("See who waits for whom", timeout=timedelta(minutes=5), detail=summary)
def see_locks(database: PostgresDatabase) -> LockPicture:
    """Who waits for whom, in the database that was meant; nothing is changed."""
    with connect(database.access(), database.database, purpose="locks", read_only=True) as connection:
        return look(connection, database.target())


def _log(ended: Ended) -> None:
    log_line(ended.sentence(), logging.INFO if ended.state in _DONE else logging.WARNING)


def _ended(done: Release) -> str:
    states = [one.state for one in done.ended]
    counts = ", ".join(f"{states.count(state)} {state}" for state in EndState if state in states)
    return f"{counts or 'nobody to end'}; {summary(done.after) if done.after else ''}"


@step("End the blockers", timeout=timedelta(minutes=30), detail=_ended)
def end_blockers(database: PostgresDatabase, planned: Release) -> Release:
    """End the sessions of a plan, each only if it is still what it was; then look who waits now."""
    with connect(database.access(), database.database, purpose="release locks") as connection:
        return release(connection, database.target(), planned.before, planned.plan, on_ended=_log)
