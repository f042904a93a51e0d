"""Taking back what chosen transactions did: shown first, and then exactly that."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from functools import partial

from blocks import PostgresDatabase
from squizzle.backups.change_log.names import table_names
from squizzle.errors import InvalidInputError, RefusedError
from squizzle.numbers import number_of
from squizzle.postgres.access import connect
from squizzle.recovery.fence import session_through_fence
from squizzle.recovery.undo.records import UndoReport, UndoRequest
from squizzle.recovery.undo.undo import plan_undo, since_version, undo_changes
from tasks.sources import DatabaseSource
from tasks.steps import log_line, step


@step(
    "Find the point to go back to", timeout=timedelta(minutes=1), detail=lambda point: f"{point:%Y-%m-%d %H:%M:%S %Z}"
)
def find_point(database: PostgresDatabase, *, since: datetime | None, version: str) -> datetime:
    """A time as it was given, or when a version began to be applied.

    Raises:
        InvalidInputError: Neither or both were given, or that version is not applied.
    """
    if (since is None) != bool(version):
        raise InvalidInputError("one thing must say since when", hint="give either a time or a version")
    if since is not None:
        return since
    target = database.target()
    with connect(database.access(), target.database, purpose="undo", read_only=True) as connection:
        return since_version(connection, target.schema, version)


def _undoing(report: UndoReport) -> str:
    changed = f"{number_of(report.changes, 'row')} in {number_of(len(report.tables), 'table')}"
    said = f"{changed}, {report.conflict_count:,} stay in conflict"
    return f"would change {said}; plan {report.digest}" if report.dry_run else f"changed {said}"


@step("Find out what would be undone", timeout=timedelta(hours=2), detail=_undoing)
def plan_rows(database: PostgresDatabase, request: UndoRequest) -> UndoReport:
    """What undoing would do; nothing is changed, and nobody is held up."""
    with connect(database.access(), database.database, purpose="undo") as connection:
        return plan_undo(connection, database.target(), request)


@step("Undo", timeout=timedelta(hours=2), detail=_undoing)
def undo_rows(database: PostgresDatabase, request: UndoRequest, *, plan: str) -> UndoReport:
    """Undo exactly what a dry run showed, in one transaction that is verified before it ends.

    A second try after a lost connection is safe: when the first one went through, the plan is no longer the same.

    Raises:
        RefusedError: No plan was given, or it is not what would be done now.
    """
    if not plan:
        raise RefusedError("no plan was given", hint="start it with Dry run on, and copy the plan from its report")
    on_wait = partial(log_line, level=logging.WARNING)
    with connect(database.access(), database.database, purpose="undo") as connection:
        return undo_changes(connection, database.target(), request, on_wait=on_wait, digest=plan)


@step("Find out what an undo would bring back", timeout=timedelta(hours=2), detail=_undoing)
def plan_undo_behind_fence(database: DatabaseSource, request: UndoRequest) -> UndoReport:
    """The same in a database that may be fenced."""
    with session_through_fence(database.access(), database.database, purpose="undo") as connection:
        return plan_undo(connection, database.target(), request)


@step("Undo behind the fence", timeout=timedelta(hours=2), detail=_undoing)
def undo_behind_fence(database: DatabaseSource, request: UndoRequest, *, plan: str) -> UndoReport:
    """Undo exactly what was planned, in a database that may be fenced.

    Raises:
        RefusedError: It is not what would be done now; nothing was changed.
    """
    on_wait = partial(log_line, level=logging.WARNING)
    with session_through_fence(database.access(), database.database, purpose="undo") as connection:
        return undo_changes(connection, database.target(), request, on_wait=on_wait, digest=plan)


def undo_request(
    database: PostgresDatabase,
    tables: list[str],
    since: datetime,
    *,
    transactions: list[int],
    roles: list[str],
    applications: list[str],
) -> UndoRequest:
    """What a form asks to be undone.

    Raises:
        InvalidInputError: No table, or no name of one.
    """
    if not tables:
        raise InvalidInputError("no table was named", hint="name every table that belongs together")
    return UndoRequest(
        tables=table_names(tuple(tables), database.schema_name),
        since=since,
        transactions=tuple(transactions),
        roles=tuple(roles),
        applications=tuple(applications),
    )
