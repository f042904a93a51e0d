"""A migration in the wrong database: looking at both, taking it back, applying it where it belongs."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from pathlib import Path

from blocks import PostgresDatabase
from squizzle.migrations.listener import Listener
from squizzle.migrations.reversal.requests import Live
from squizzle.numbers import number_of
from squizzle.postgres.access import connect
from squizzle.project import read_project
from squizzle.recovery.wrong_environment import (
    Forward,
    Mishap,
    TakenBack,
    WayBack,
    apply_to_right,
    find_ways_back,
    preview_right,
    see_mishap,
    take_back,
)
from tasks.steps import log_line, step

_LISTENER = Listener(on_wait=partial(log_line, level=logging.WARNING), on_progress=log_line)


def _mishap(found: Mishap) -> str:
    versions = ", ".join(found.versions) or "nobody said which"
    return f"{len(found.only_in_wrong)} versions are only in the wrong one; to take back: {versions}"


@step("See what was applied where", timeout=timedelta(minutes=10), detail=_mishap)
def document_mishap(
    wrong: PostgresDatabase, right: PostgresDatabase, project: Path, versions: tuple[str, ...]
) -> Mishap:
    """The histories and identities of both databases; nothing is changed."""
    found = read_project(project)
    with (
        connect(wrong.access(), wrong.database, purpose="status", read_only=True) as there,
        connect(right.access(), right.database, purpose="status", read_only=True) as here,
    ):
        return see_mishap(there, wrong.target(), here, right.target(), found, versions)


@step("Find the way back", timeout=timedelta(hours=1), detail=lambda ways: ", ".join(way.source for way in ways))
def generate_ways_back(
    wrong: PostgresDatabase, project: Path, versions: tuple[str, ...], *, accept_loss: bool
) -> tuple[WayBack, ...]:
    """Down scripts, or generated ones that were executed on a scratch copy; the database is only read."""
    access, target = wrong.access(), wrong.target()
    with connect(access, target.database, purpose="reverse", read_only=True) as connection:
        live = Live(connection=connection, access=access, target=target)
        return find_ways_back(live, read_project(project), versions, accept_loss=accept_loss, say=log_line)


def _taken(done: TakenBack) -> str:
    same = {True: "schema as before", False: "SCHEMA NOT AS BEFORE", None: "schema not compared"}
    return f"{', '.join(done.versions) or 'nothing was left to do'}; {same[done.schema_is_as_before]}"


@step("Take it back", timeout=timedelta(hours=12), detail=_taken)
def run_ways_back(wrong: PostgresDatabase, project: Path, ways: tuple[WayBack, ...]) -> TakenBack:
    """Run exactly what was approved, newest version first."""
    with connect(wrong.access(), wrong.database, purpose="rollback") as connection:
        return take_back(connection, wrong.target(), read_project(project), ways, listener=_LISTENER)


@step(
    "See what the right one lacks", timeout=timedelta(minutes=30), detail=lambda found: number_of(len(found), "version")
)
def see_forward(right: PostgresDatabase, project: Path, *, to: str) -> tuple[Forward, ...]:
    """What would be applied to the right database; nothing is changed."""
    with connect(right.access(), right.database, purpose="plan", read_only=True) as connection:
        return preview_right(connection, right.target(), read_project(project), to=to)


@step("Apply it to the right one", timeout=timedelta(hours=12), detail=", ".join)
def apply_forward(right: PostgresDatabase, project: Path, forward: tuple[Forward, ...]) -> tuple[str, ...]:
    """Apply exactly what was approved; returns the versions."""
    with connect(right.access(), right.database, purpose="migration") as connection:
        report = apply_to_right(connection, right.target(), read_project(project), forward, listener=_LISTENER)
        return tuple(outcome.version for outcome in report.outcomes)
