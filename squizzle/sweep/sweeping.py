"""A sweep: one session for each target, so many at the same time, each with a deadline. Nothing is changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from squizzle.alerts.evaluation import evaluate_rules
from squizzle.alerts.records import AlertResult, AlertRule
from squizzle.errors import ConnectionFailedError, IdentityMismatchError, SquizzleError
from squizzle.migrations.history import find_history, read_history
from squizzle.migrations.records import Migration
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import ExpectedIdentity, check_identity, read_identity
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error
from squizzle.proof.digests import digest_schema
from squizzle.rollout.bounded import each_bounded
from squizzle.rollout.deadlines import Deadlines
from squizzle.rollout.disk import AskCloud
from squizzle.rollout.reaching import Reach
from squizzle.rollout.records import Fleet, FleetTarget
from squizzle.settings.fleets import FleetSettings
from squizzle.settings.health import HealthLimits
from squizzle.severity import Severity
from squizzle.sweep.backup_rules import OpensStore, with_backups
from squizzle.sweep.disks import look_at_disks, no_cloud, with_disks
from squizzle.sweep.own_rules import REACH_RULE, own_results
from squizzle.sweep.records import Sweep, TargetHealth, badness
from squizzle.sweep.slower_queries import slower_queries

# One condition may take so long, and all of them no longer than the target's deadline.
_CONDITION = timedelta(seconds=5)
_DRIFT = AlertRule(name="the schema was changed by somebody else", condition="", severity=Severity.MEDIUM)
# Of the history's probe, what is no number.
_WORDS = frozenset({"failed", "applied"})


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepOrder:
    """What is looked at.

    Attributes:
        fleet: The targets, as they were found.
        expected: Who every target should be.
        settings: How many at the same time, how long each may take, and from where on something is wrong.
        rules: Rules of the user's, besides Squizzle's own.
        migrations: What is on disk, to count what a target lacks; empty where that is not asked.
        drift: Whether schemas are compared with what the last run left; costs each target a digest.
        store: Opens the store of their backups; None where backups are not looked at.
        ask_cloud: Asks a cloud how much is free at one of its hosts.
    """

    fleet: Fleet
    expected: ExpectedIdentity
    settings: FleetSettings
    rules: tuple[AlertRule, ...] = ()
    migrations: tuple[Migration, ...] = ()
    drift: bool = False
    store: OpensStore | None = None
    ask_cloud: AskCloud = no_cloud


def expected_of(fleet: Fleet) -> ExpectedIdentity:
    """Who every target of a fleet should be."""
    return ExpectedIdentity(environment=fleet.environment, fleet=fleet.name)


def sweep_fleet(order: SweepOrder, reach: Reach) -> Sweep:
    """Look at every target; whatever goes wrong at one is in its result, and the others go on.

    Args:
        order: What is looked at.
        reach: How servers are reached.
    """
    at, began = datetime.now(UTC), time.monotonic()
    settings = order.settings
    targets = order.fleet.targets
    with Deadlines() as deadlines:
        look = _Look(order, reach, deadlines)
        found = [
            health
            for _, health in each_bounded(
                targets,
                look.at,
                place=lambda target: target.server,
                concurrency=settings.concurrency,
                per_place=settings.per_server,
            )
        ]
        disks = look_at_disks(order.fleet, settings, reach, deadlines, order.ask_cloud, tuple(look.clusters))
    # A server is asked once; what it said holds for all that are on it.
    found = with_disks([_with_server(one, look) for one in found], disks)
    found = [_judged(one, settings.health) for one in found]
    if order.store is not None:
        found = with_backups(found, order.store, now=at, limits=settings.health)
    return Sweep(
        fleet=order.fleet.name,
        at=at,
        duration=timedelta(seconds=time.monotonic() - began),
        targets=tuple(sorted(found, key=badness)),
        unreachable=order.fleet.unreachable,
    )


def _with_server(health: TargetHealth, look: _Look) -> TargetHealth:
    if not health.is_reached:
        return health
    server = health.target.server
    metrics = {**look.servers.get(server, {}), **health.metrics}
    return replace(health, metrics=metrics, cluster=look.clusters.get(server, ""))


def _judged(health: TargetHealth, limits: HealthLimits) -> TargetHealth:
    """With what the rules of our own say."""
    if not health.is_reached:
        return health
    return replace(health, results=(*own_results(health.metrics, health.failed, limits), *health.results))


class _Look:
    """What every look has in common."""

    def __init__(self, order: SweepOrder, reach: Reach, deadlines: Deadlines) -> None:
        self.servers: dict[str, Mapping[str, Any]] = {}
        self.clusters: dict[str, str] = {}
        self._order = order
        self._reach = reach
        self._deadlines = deadlines
        self._deadline_s = order.settings.deadline.total_seconds()
        self._expected = order.expected
        self._versions = [one.version for one in order.migrations]
        self._lock = threading.Lock()

    def at(self, target: FleetTarget) -> TargetHealth:
        """A look at one target; whatever goes wrong is in it."""
        began = time.monotonic()
        if why := self._reach.why_down(target.server):
            return _not_reached(target, f"not tried: {why}", began)
        health, was_lost = self._try(target, began)
        # Its server may have been restarted: that is no reason to wake anybody.
        return self._try(target, began, was_there=True)[0] if was_lost else health

    def _try(self, target: FleetTarget, began: float, *, was_there: bool = False) -> tuple[TargetHealth, bool]:
        """A look, and whether its session was lost by nothing of ours."""

        def left_s() -> float:
            return self._deadline_s - (time.monotonic() - began)

        try:
            connection = self._reach.connect(target.server, target.database, was_there=was_there, within_s=left_s())
        except ConnectionFailedError as exc:
            return _not_reached(target, exc.message, began), False
        try:
            with self._deadlines.limit(connection, left_s()) as limit:
                try:
                    return self._in_session(connection, target, began), False
                except IdentityMismatchError as exc:
                    return _not_reached(target, exc.message, began), False
                except (SquizzleError, psycopg.Error) as exc:
                    if limit.passed:
                        return _not_reached(target, f"no answer within {self._deadline_s:g} s", began), False
                    error = exc if isinstance(exc, SquizzleError) else translate_error(exc, doing="look at it")
                    return _not_reached(target, error.message, began), connection.broken
        finally:
            connection.close()

    def _in_session(self, connection: Connection, target: FleetTarget, began: float) -> TargetHealth:
        own = f"{round((self._deadline_s + 1) * 1000)}ms"
        connection.execute(
            "SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false)", (own, own)
        )
        identity = read_identity(connection)
        check_identity(identity, self._expected, database=target.database)
        if self._is_first(target.server):
            self._look_at_server(connection, target.server)
        metrics = _row(connection, load_sql("squizzle.sweep", "database_probe"))
        history = self._history(connection, target.schema)
        metrics |= {name: value for name, value in history.items() if name not in _WORDS}
        if self._versions:
            applied = set(history.get("applied", ()))
            metrics["pending_migrations"] = sum(one not in applied for one in self._versions)
        results: list[AlertResult] = []
        if self._order.drift:
            results.append(self._drift(connection, target))
        results += slower_queries(connection)
        results += evaluate_rules(connection, self._order.rules, schema=target.schema, timeout=_CONDITION)
        return TargetHealth(
            target=target,
            is_reached=True,
            failed=tuple(history.get("failed", ())),
            metrics=metrics,
            results=tuple(results),
            took=timedelta(seconds=time.monotonic() - began),
            identity_id=str(identity.id) if identity else "",
        )

    def _is_first(self, server: str) -> bool:
        with self._lock:
            is_first = server not in self.servers
            self.servers.setdefault(server, {})
        return is_first

    def _look_at_server(self, connection: Connection, server: str) -> None:
        """Asked by one target for all; where that fails, the next one asks."""
        try:
            row, cluster = _server_row(connection), system_identifier(connection)
        except BaseException:
            with self._lock:
                del self.servers[server]
            raise
        self.servers[server], self.clusters[server] = row, cluster

    def _history(self, connection: Connection, schema: str) -> dict[str, Any]:
        history = find_history(connection, schema)
        if history is None:
            return {}
        query = sql.SQL(load_sql("squizzle.sweep", "history_probe")).format(history=history)
        return _row(connection, query)

    def _drift(self, connection: Connection, target: FleetTarget) -> AlertResult:
        was = read_history(connection, target.schema).schema_digest
        found = digest_schema(connection, schema=target.schema).logical if was is not None else None
        if was is None or found is None or found == was:
            return AlertResult(rule=_DRIFT, is_true=False)
        return AlertResult(rule=_DRIFT, is_true=True, why=f"it was {was[:12]} after the last run, and is {found[:12]}")


def system_identifier(connection: Connection) -> str:
    """Of the cluster; empty where the account may not ask."""
    may = connection.execute("SELECT has_function_privilege('pg_control_system()', 'EXECUTE')").fetchone()
    if may != (True,):
        return ""
    row = connection.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone()
    return str(row[0]) if row else ""


# PostgreSQL 17 gave the checkpointer a view of its own.
_CHECKPOINTS: dict[bool, LiteralString] = {
    True: "SELECT num_timed AS checkpoints_timed, num_requested AS checkpoints_requested FROM pg_stat_checkpointer",
    False: "SELECT checkpoints_timed, checkpoints_req AS checkpoints_requested FROM pg_stat_bgwriter",
}
_OWN_CHECKPOINTER = 170000


def _server_row(connection: Connection) -> dict[str, Any]:
    checkpoints = _CHECKPOINTS[connection.info.server_version >= _OWN_CHECKPOINTER]
    return _row(connection, load_sql("squizzle.sweep", "server_probe")) | _row(connection, checkpoints)


def _row(connection: Connection, query: LiteralString | sql.Composed) -> dict[str, Any]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return dict(cursor.execute(query).fetchone() or {})


def _not_reached(target: FleetTarget, why: str, began: float) -> TargetHealth:
    return TargetHealth(
        target=target,
        is_reached=False,
        detail=why,
        results=(AlertResult(rule=REACH_RULE, is_true=True, why=why),),
        took=timedelta(seconds=time.monotonic() - began),
    )
