"""A look at migrated targets and at some of the others, for `squizzle.rollout.soak` to judge. Nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from squizzle.analysis.records import Statement
from squizzle.errors import SquizzleError
from squizzle.fleet_settings import resolve_server
from squizzle.migrations.history import read_history
from squizzle.migrations.session import work_in_schema
from squizzle.migrations.verification import check_verification
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.translation import server_words, translate_error
from squizzle.rollout.bounded import each_bounded
from squizzle.rollout.deadlines import Deadlines
from squizzle.rollout.orders import RolloutOrder
from squizzle.rollout.records import FleetTarget
from squizzle.rollout.soak import CheckOutcome, Observation

# Waits that are shorter come and go; a migration that hurts makes longer ones.
_WAITING = """
    SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
              AND state_change < clock_timestamp() - interval '1 second')::int,
           (SELECT max(replay_lag) FROM pg_stat_replication)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """One look at one target.

    Attributes:
        observation: What was seen.
        applied_at: When the newest version of the rollout came, by the server's clock; None when a version is missing,
            or nothing could be seen.
    """

    observation: Observation
    applied_at: datetime | None = None


def watch_targets(
    order: RolloutOrder,
    targets: Sequence[FleetTarget],
    *,
    checks: Sequence[Statement],
    deadline: timedelta,
    environ: Mapping[str, str],
) -> tuple[Sighting, ...]:
    """Look at targets, some at the same time; what cannot be looked at is said in its sighting.

    Args:
        order: Which versions.
        targets: Whom to look at.
        checks: Statements of the user's own, each run in a transaction that is read-only and rolled back; it is well
            when it runs and, if it is a query of one boolean column, when every row is true.
        deadline: How long one target may take to answer.
        environ: Where secrets are.

    Returns:
        In the order of `targets`.
    """
    servers = {target.server for target in targets}
    accesses = {name: resolve_server(order.fleet.servers[name], environ=environ)[0] for name in servers}
    seen: dict[str, Sighting] = {}
    with Deadlines() as deadlines:
        look = _Look(order, accesses, checks, deadlines, deadline.total_seconds())
        for target, sighting in each_bounded(
            targets,
            look.at,
            place=lambda one: one.server,
            concurrency=order.concurrency,
            per_place=order.per_server,
        ):
            seen[target.name] = sighting
    return tuple(seen[target.name] for target in targets)


class _Look:
    def __init__(
        self,
        order: RolloutOrder,
        accesses: Mapping[str, ServerAccess],
        checks: Sequence[Statement],
        deadlines: Deadlines,
        deadline_s: float,
    ) -> None:
        self._order = order
        self._accesses = accesses
        self._checks = checks
        self._deadlines = deadlines
        self._deadline_s = deadline_s

    def at(self, target: FleetTarget) -> Sighting:
        try:
            connection = connect(self._accesses[target.server], target.database, purpose="watch", read_only=True)
            try:
                with self._deadlines.limit(connection, self._deadline_s):
                    return self._in_session(connection, target)
            finally:
                connection.close()
        except (SquizzleError, psycopg.Error) as exc:
            error = exc if isinstance(exc, SquizzleError) else translate_error(exc, doing=f"look at {target.name}")
            return Sighting(observation=Observation(target=target.name, unseen=(error.message,)))

    def _in_session(self, connection: Connection, target: FleetTarget) -> Sighting:
        waiting, lag = connection.execute(_WAITING).fetchone() or (0, None)
        history = read_history(connection, target.schema)
        applied = history.applied()
        times = [applied[version].applied_at for version in self._order.versions if version in applied]
        observation = Observation(
            target=target.name,
            lock_waits=waiting,
            replication_lag=lag,
            checks=tuple(self._check(connection, target, one) for one in self._checks),
        )
        is_whole = not self._order.lacking(history)
        return Sighting(observation=observation, applied_at=max(times, default=None) if is_whole else None)

    def _check(self, connection: Connection, target: FleetTarget, statement: Statement) -> CheckOutcome:
        name = f"the check of line {statement.line}"
        try:
            with connection.transaction(force_rollback=True):
                connection.execute("SET TRANSACTION READ ONLY")
                work_in_schema(connection, target.schema)
                problem = check_verification(connection, statement)
        except psycopg.OperationalError:
            raise
        except psycopg.Error as exc:
            problem = server_words(exc)
        return CheckOutcome(name=name, ok=not problem, detail=problem)
