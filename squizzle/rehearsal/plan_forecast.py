"""Who would wait if a plan ran now: rehearsed times where there is a rehearsal of these very scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from squizzle.analysis.locks.records import RelationName
from squizzle.migrations.planned_statements import PlannedStatement
from squizzle.migrations.records import Plan
from squizzle.postgres.access import Connection
from squizzle.rehearsal.lock_forecast import (
    combine,
    rehearsed_queues,
    relations_of,
    relations_of_plan,
    unrehearsed_queues,
)
from squizzle.rehearsal.lock_forecast_records import QueueForecast, RelationQueue
from squizzle.rehearsal.records import ScriptTrace
from squizzle.rehearsal.traffic import read_traffic


@dataclass(frozen=True, kw_only=True, slots=True)
class RehearsedScript:
    """What is known of one script from its rehearsal.

    Attributes:
        trace: What it did.
        at: When it was rehearsed; None where that does not matter.
        rows: Rows of the tables then; none where nobody knows.
    """

    trace: ScriptTrace
    at: datetime | None = None
    rows: Mapping[RelationName, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class RehearsedScripts:
    """What the certificates of a store say of the scripts of a plan.

    Attributes:
        found: By version.
        problem: Why they could not be read; empty otherwise.
    """

    found: Mapping[str, RehearsedScript] = field(default_factory=dict)
    problem: str = ""


def forecast_plan(
    connection: Connection,
    plan: Plan,
    statements: Sequence[PlannedStatement],
    *,
    rehearsed: RehearsedScripts | None = None,
    over: timedelta = timedelta(),
) -> QueueForecast | None:
    """Who would wait if a plan ran now. Nothing is changed.

    Args:
        connection: A session in the plan's database, outside a transaction.
        plan: What would run.
        statements: The same as statements (`planned_statements`), for what was not rehearsed.
        rehearsed: What is known from rehearsals.
        over: How long to watch; zero takes averages since the server counts.

    Returns:
        The forecast; None for a plan with nothing to run.

    Raises:
        DatabaseError: The session was lost.
    """
    if not statements:
        return None
    known = rehearsed or RehearsedScripts()
    traces = {version: one.trace for version, one in known.found.items()}
    others = [one for one in statements if one.version not in traces]
    relations = [*relations_of_plan(others), *(name for trace in traces.values() for name in relations_of(trace))]
    traffic = read_traffic(connection, relations, over=over, schema=plan.schema)
    queues: list[RelationQueue] = [*unrehearsed_queues(others, traffic)]
    for one in known.found.values():
        queues += rehearsed_queues(one.trace, traffic, timeouts=plan.timeouts, rehearsed_rows=one.rows)
    said = [
        f"version {version} was rehearsed on {one.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        for version, one in known.found.items()
        if one.at is not None
    ]
    return combine(queues, traffic, rehearsed=said, not_seen=[known.problem] if known.problem else [])
