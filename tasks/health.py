"""Looking at a database in trouble, and the remedies that need no backup."""

from __future__ import annotations

import logging
from datetime import timedelta

from blocks import PostgresDatabase
from squizzle.health.ending import Ended, EndState
from squizzle.health.queries import QueryStats, read_query_stats, save_baseline
from squizzle.health.records import LockPicture
from squizzle.health.release import Release, look, release
from squizzle.health.relief import Load, Relief, relieve, see_load
from squizzle.postgres.access import connect
from squizzle.postgres.identity import check_identity, read_identity
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


def _load(load: Load) -> str:
    if load.regressions is None:
        return f"queries not compared: {load.not_compared}"
    return f"{len(load.regressions)} queries are slower than when all was well"


@step("See what weighs on it", timeout=timedelta(minutes=10), detail=_load)
def see_what_weighs(database: PostgresDatabase) -> Load:
    """Sessions, tables, and queries that have become slower, in the database that was meant; nothing is changed."""
    with connect(database.access(), database.database, purpose="load", read_only=True) as connection:
        return see_load(connection, database.target())


def _relieved(done: Relief) -> str:
    return f"{len(done.cancelled)} queries, {len(done.cleaned)} tables; {len(done.problems)} problems"


@step("Relieve it", timeout=timedelta(hours=12), detail=_relieved)
def relieve_database(database: PostgresDatabase, planned: Relief) -> Relief:
    """Cancel the long queries of a plan and clean its tables one after the other; the run's log has the progress."""
    with connect(database.access(), database.database, purpose="relief") as connection:
        return relieve(connection, database.target(), planned.load, planned.plan, say=log_line)


def _noted(stats: QueryStats) -> str:
    hidden = f"; {stats.hidden} may not be seen, GRANT pg_read_all_stats" if stats.hidden else ""
    return f"{len(stats.queries)} queries{hidden}"


@step("Note what queries cost", timeout=timedelta(minutes=10), detail=_noted)
def note_query_costs(database: PostgresDatabase, *, label: str) -> QueryStats:
    """Keep what queries cost now as what they cost when all is well, in the database itself."""
    target = database.target()
    with connect(database.access(), target.database, purpose="queries") as connection:
        check_identity(read_identity(connection), target.expected, database=target.database)
        stats = read_query_stats(connection)
        save_baseline(connection, stats, label=label)
        return stats
