"""Switching triggers off for a while, and on again whatever happens in between."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import timedelta

from blocks import PostgresDatabase
from squizzle.health.trigger_plan import LONGEST, Paused, PausePlan, plan_pause
from squizzle.health.triggers import Resumed, find_table, is_superuser, pause, read_paused, read_triggers, resume
from squizzle.postgres.access import connect
from squizzle.postgres.identity import check_identity, read_identity
from tasks.steps import log_line, run_name, step

_LOOK_AGAIN_S = 5.0


def _put_back(done: Resumed) -> str:
    for one in done.problems:
        log_line(one, logging.ERROR)
    return f"{len(done.triggers)} triggers, {len(done.keys)} foreign keys compared; {len(done.problems)} problems"


@step("Put back what is overdue", timeout=timedelta(hours=6), detail=_put_back)
def put_back_overdue(database: PostgresDatabase) -> Resumed:
    """Put back what a run that was killed left off for longer than it should be, and compare."""
    with connect(database.access(), database.database, purpose="triggers") as connection:
        return resume(connection, database.target(), only_overdue=True, on_wait=log_line)


@step("See what is overdue", timeout=timedelta(minutes=5), detail=lambda notes: f"{len(notes)} triggers")
def see_overdue(database: PostgresDatabase) -> tuple[Paused, ...]:
    """What was left off for longer than it should be; nothing is changed."""
    target = database.target()
    with connect(database.access(), target.database, purpose="triggers", read_only=True) as connection:
        check_identity(read_identity(connection), target.expected, database=target.database)
        return tuple(one for one in read_paused(connection) if one.is_overdue)


@step("See the triggers", timeout=timedelta(minutes=5), detail=str)
def plan_triggers(
    database: PostgresDatabase, table: str, names: Sequence[str], *, foreign_keys: bool, minutes: int, why: str
) -> PausePlan:
    """What is to be switched off, of the database that was meant; nothing is changed."""
    target = database.target()
    before, dot, after = table.partition(".")
    with connect(database.access(), target.database, purpose="triggers", read_only=True) as connection:
        check_identity(read_identity(connection), target.expected, database=target.database)
        place = find_table(connection, *((before, after) if dot else (target.schema, table)))
        return plan_pause(
            read_triggers(connection, place[2]),
            place,
            names,
            foreign_keys=foreign_keys,
            duration=timedelta(minutes=minutes),
            why=why,
            is_superuser=is_superuser(connection),
        )


def _paused(notes: tuple[Paused, ...]) -> str:
    return f"{len(notes)} triggers, until {notes[0].until:%Y-%m-%d %H:%M:%S %Z}" if notes else "none"


@step("Switch them off", timeout=timedelta(minutes=30), detail=_paused)
def pause_triggers_of(database: PostgresDatabase, plan: PausePlan) -> tuple[Paused, ...]:
    """Switch off the triggers of a plan and note it, in one transaction."""
    with connect(database.access(), database.database, purpose="triggers") as connection:
        return pause(connection, database.target(), plan, by=run_name(), on_wait=log_line)


@step("Wait", timeout=LONGEST + timedelta(hours=1), detail=str)
def wait_for_end(database: PostgresDatabase, paused: tuple[Paused, ...]) -> str:
    """Wait until the time of these notes has passed by the server's clock, or they are gone.

    Each look is a session of its own: nothing is held open in between.
    """
    ids = {one.id for one in paused}
    while True:
        with connect(database.access(), database.database, purpose="triggers", read_only=True) as connection:
            notes = [one for one in read_paused(connection) if one.id in ids]
        if not notes:
            return "somebody put them back"
        if all(one.is_overdue for one in notes):
            return "the time has passed"
        time.sleep(_LOOK_AGAIN_S)


@step("Put them back, and compare", timeout=timedelta(hours=6), detail=_put_back)
def put_back(database: PostgresDatabase, plan: PausePlan) -> Resumed:
    """Put the triggers of a plan back as they were, then look for rows that break a foreign key that was off."""
    with connect(database.access(), database.database, purpose="triggers") as connection:
        return resume(connection, database.target(), plan=plan, on_wait=log_line)
