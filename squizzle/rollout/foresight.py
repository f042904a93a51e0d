"""Who would wait if a stage ran now, at some of its targets. Nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import psycopg

from squizzle.errors import SquizzleError
from squizzle.migrations.operations import preview_plan
from squizzle.migrations.planned_statements import planned_statements
from squizzle.postgres.access import Connection, connect
from squizzle.postgres.kinship.reading import read_surroundings
from squizzle.postgres.translation import translate_error
from squizzle.rehearsal.lock_forecast_records import QueueForecast
from squizzle.rehearsal.plan_forecast import RehearsedScript, RehearsedScripts, forecast_plan
from squizzle.rehearsal.records import Certificate
from squizzle.rollout.bounded import each_bounded
from squizzle.rollout.deadlines import Deadlines
from squizzle.rollout.orders import RolloutOrder
from squizzle.rollout.records import FleetTarget
from squizzle.settings.fleets import resolve_server

# A person waits for it, and each is watched for a moment.
MOST_TARGETS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetForecast:
    """What would happen at one target.

    Attributes:
        target: Which.
        forecast: Who would wait; None when it could not be told, or there is nothing to run.
        why: Why it could not be told; empty when it could.
    """

    target: FleetTarget
    forecast: QueueForecast | None = None
    why: str = ""


def sample_targets(targets: Sequence[FleetTarget], most: int = MOST_TARGETS) -> tuple[FleetTarget, ...]:
    """Some of a stage's targets, spread over their order, the last one among them: it is the one with most to lose."""
    if len(targets) <= most:
        return tuple(targets)
    step = (len(targets) - 1) / (most - 1)
    return tuple(targets[round(number * step)] for number in range(most))


def foresee_stage(
    order: RolloutOrder,
    targets: Sequence[FleetTarget],
    certificates: Mapping[str, Certificate],
    *,
    over: timedelta,
    deadline: timedelta,
    environ: Mapping[str, str],
) -> tuple[TargetForecast, ...]:
    """Who would wait if what targets lack ran there now: by rehearsed times, else by the locks of the scripts' text.

    Args:
        order: What would be applied.
        targets: Where; see `sample_targets`.
        certificates: What was rehearsed, by version.
        over: How long to watch who uses the tables.
        deadline: How long one target may take besides.
        environ: Where secrets are.

    Returns:
        One for each target, in their order; what could not be told says so.

    Raises:
        InvalidInputError: A variable is not set.
    """
    accesses = {one.server: resolve_server(order.fleet.servers[one.server], environ=environ)[0] for one in targets}
    with Deadlines() as deadlines:

        def look(target: FleetTarget) -> TargetForecast:
            access = accesses[target.server]
            access = replace(access, connect_timeout=min(access.connect_timeout, deadline))
            try:
                with (
                    connect(access, target.database, purpose="forecast", read_only=True) as connection,
                    deadlines.limit(connection, (over + deadline).total_seconds()),
                ):
                    forecast = _forecast(connection, order, target, certificates, over)
                    return TargetForecast(target=target, forecast=forecast)
            except (SquizzleError, psycopg.Error) as exc:
                error = exc if isinstance(exc, SquizzleError) else translate_error(exc, doing=f"look at {target.name}")
                return TargetForecast(target=target, why=error.message)

        found = dict(
            each_bounded(
                targets, look, place=lambda one: one.server, concurrency=len(targets) or 1, per_place=order.per_server
            )
        )
    return tuple(found[one] for one in targets)


def _forecast(
    connection: Connection,
    order: RolloutOrder,
    target: FleetTarget,
    certificates: Mapping[str, Certificate],
    over: timedelta,
) -> QueueForecast | None:
    wanted = set(order.versions)
    plan = preview_plan(connection, order.target(target), order.migrations, policy=order.policy, books=order.books)
    plan = replace(plan, steps=tuple(one for one in plan.steps if one.migration.version in wanted))
    # A script that an earlier run began goes on where that ended.
    fresh = {one.migration.version for one in plan.steps if not one.is_begun}
    rehearsed = {
        version: RehearsedScript(trace=one.up, at=one.issued_at)
        for version, one in certificates.items()
        if version in fresh and one.up is not None
    }
    statements = planned_statements(plan, read_surroundings(connection, target.schema))
    return forecast_plan(connection, plan, statements, rehearsed=RehearsedScripts(found=rehearsed), over=over)
