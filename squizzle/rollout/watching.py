"""A look at migrated targets and at some of the others, for `squizzle.rollout.soak` to judge. Nothing is changed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

import psycopg

from squizzle.alerts.evaluation import evaluate_rules, looking_only
from squizzle.alerts.records import AlertResult, AlertRule
from squizzle.analysis.records import Statement
from squizzle.errors import SquizzleError
from squizzle.migrations.history import read_history
from squizzle.migrations.verification import check_verification
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.translation import is_connection_loss, server_words, translate_error
from squizzle.rollout.baselines import NO_BASELINE, Baseline, Noted
from squizzle.rollout.bounded import each_bounded
from squizzle.rollout.budget import RehearsedVersion, read_budget
from squizzle.rollout.counters import Counters, compare_counters, read_counters
from squizzle.rollout.deadlines import Deadlines
from squizzle.rollout.orders import RolloutOrder
from squizzle.rollout.records import FleetTarget
from squizzle.rollout.soak import CheckOutcome, FiringAlert, Observation
from squizzle.settings.fleets import resolve_server
from squizzle.settings.watch import SoakLimits

# Waits that are shorter come and go; a migration that hurts makes longer ones.
_WAITING = """
    SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
              AND state_change < clock_timestamp() - interval '1 second')::int,
           (SELECT max(replay_lag) FROM pg_stat_replication)
"""
Seen = TypeVar("Seen")


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """What targets are looked at for.

    Attributes:
        order: Which versions.
        checks: Statements of the user's own, each run in a transaction that is read-only and taken back; it is well
            when it runs and, if it is a query of one boolean column, when every row is true.
        rules: Alert rules.
        limits: Up to where all is well.
        rehearsed: What a rehearsal measured, by version; what is not there is not compared.
        deadline: How long one target may take to answer.
    """

    order: RolloutOrder
    checks: tuple[Statement, ...] = ()
    rules: tuple[AlertRule, ...] = ()
    limits: SoakLimits = field(default_factory=SoakLimits)
    rehearsed: Mapping[str, RehearsedVersion] = field(default_factory=dict)
    deadline: timedelta = timedelta(seconds=10)


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
    watch: Watch,
    targets: Sequence[FleetTarget],
    *,
    baselines: Mapping[str, Baseline],
    are_migrated: bool,
    environ: Mapping[str, str],
) -> tuple[Sighting, ...]:
    """Look at targets, some at the same time; what cannot be looked at is said in its sighting.

    Args:
        watch: What for.
        targets: Whom to look at.
        baselines: What was kept of their time before, by name.
        are_migrated: Whether they are judged; others are looked at to be compared with.
        environ: Where secrets are.

    Returns:
        In the order of `targets`.
    """
    counted = _Counted()

    def look(connection: Connection, target: FleetTarget) -> Sighting:
        baseline = baselines.get(target.name, NO_BASELINE)
        return _watch(watch, connection, target, baseline, counted, are_migrated=are_migrated)

    def unseen(target: FleetTarget, why: str) -> Sighting:
        return Sighting(observation=Observation(target=target.name, unseen=(why,)))

    return _each(watch, targets, look, unseen, environ)


def note_targets(
    watch: Watch, targets: Sequence[FleetTarget], *, untouched: bool, environ: Mapping[str, str]
) -> dict[str, Noted]:
    """What targets have counted by now, and which alerts fire there, by name. Nothing is changed.

    Args:
        watch: Whose alert rules.
        targets: Whom to look at; those that cannot be reached are left out.
        untouched: Leave out those to which this rollout has brought something already, whole or in part; what earlier
            shares of the rows brought does not count.
        environ: Where secrets are.
    """
    counted = _Counted()

    def look(connection: Connection, target: FleetTarget) -> Noted | None:
        if untouched and watch.order.is_begun(read_history(connection, target.schema)):
            return None
        results = evaluate_rules(connection, watch.rules, schema=target.schema)
        firing = frozenset(one.rule.name for one in results if one.is_true)
        return Noted(counters=counted.of(connection, target), firing=firing)

    found = _each(watch, targets, look, lambda _target, _why: None, environ)
    return {target.name: one for target, one in zip(targets, found, strict=True) if one is not None}


def _each(
    watch: Watch,
    targets: Sequence[FleetTarget],
    look: Callable[[Connection, FleetTarget], Seen],
    unseen: Callable[[FleetTarget, str], Seen],
    environ: Mapping[str, str],
) -> tuple[Seen, ...]:
    """One look at each target, each in a session of its own."""
    order = watch.order
    servers = {target.server for target in targets}
    accesses = {name: resolve_server(order.fleet.servers[name], environ=environ)[0] for name in servers}
    seen: dict[str, Seen] = {}
    with Deadlines() as deadlines:

        def at(target: FleetTarget) -> Seen:
            return _in_session(accesses[target.server], target, deadlines, watch.deadline, look, unseen)

        for target, one in each_bounded(
            targets, at, place=lambda one: one.server, concurrency=order.concurrency, per_place=order.per_server
        ):
            seen[target.name] = one
    return tuple(seen[target.name] for target in targets)


def _in_session(
    access: ServerAccess,
    target: FleetTarget,
    deadlines: Deadlines,
    deadline: timedelta,
    look: Callable[[Connection, FleetTarget], Seen],
    unseen: Callable[[FleetTarget, str], Seen],
) -> Seen:
    try:
        connection = connect(access, target.database, purpose="watch", read_only=True)
        try:
            with deadlines.limit(connection, deadline.total_seconds()):
                return look(connection, target)
        finally:
            connection.close()
    except (SquizzleError, psycopg.Error) as exc:
        error = exc if isinstance(exc, SquizzleError) else translate_error(exc, doing=f"look at {target.name}")
        return unseen(target, error.message)


class _Counted:
    """What is counted is counted for a database, which may have ten thousand targets: each is asked once a look."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str], Counters] = {}

    def of(self, connection: Connection, target: FleetTarget) -> Counters:
        place = target.server, target.database
        with self._lock:
            known = self._found.get(place)
        if known is None:
            known = read_counters(connection)
            with self._lock:
                self._found[place] = known
        return known


def _watch(
    watch: Watch,
    connection: Connection,
    target: FleetTarget,
    baseline: Baseline,
    counted: _Counted,
    *,
    are_migrated: bool,
) -> Sighting:
    order = watch.order
    waiting, lag = connection.execute(_WAITING).fetchone() or (0, None)
    history = read_history(connection, target.schema)
    results = evaluate_rules(connection, watch.rules, schema=target.schema)
    observation = Observation(
        target=target.name,
        lock_waits=waiting,
        replication_lag=lag,
        alerts=tuple(_alert(one, baseline) for one in results if one.is_true is not False),
        checks=tuple(_check(connection, target, one, watch.deadline) for one in watch.checks),
    )
    if are_migrated:
        budget = read_budget(connection, target.schema, order.rollout_id, watch.rehearsed)
        observation = replace(observation, budget=budget)
    observation = compare_counters(
        observation,
        counted.of(connection, target),
        before=baseline.counters,
        recent=baseline.recent,
        begin=baseline.begin,
        limits=watch.limits,
        all_queries=not are_migrated,
    )
    return Sighting(observation=observation, applied_at=order.finished_at(history))


def _alert(result: AlertResult, baseline: Baseline) -> FiringAlert:
    rule = result.rule
    return FiringAlert(
        rule=rule.name,
        critical=rule.severity.is_harm,
        since_before=rule.name in baseline.firing,
        unknown="" if result.is_true else result.why,
        hold=rule.hold,
    )


def _check(connection: Connection, target: FleetTarget, statement: Statement, deadline: timedelta) -> CheckOutcome:
    name = f"the check of line {statement.line}"
    try:
        with looking_only(connection, schema=target.schema, timeout=deadline):
            problem = check_verification(connection, statement)
    except psycopg.Error as exc:
        if is_connection_loss(exc):
            raise
        problem = server_words(exc)
    return CheckOutcome(name=name, ok=not problem, detail=problem)
