"""The rules about backups: is there a fresh one, and was one proven by a restore? One look at the store for a sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from squizzle.alerts.records import AlertResult, AlertRule
from squizzle.backups.freshness import Freshness, Whose, find_freshness
from squizzle.backups.memory import memory_of
from squizzle.backups.store import BackupStore
from squizzle.durations import words
from squizzle.errors import SquizzleError
from squizzle.settings.health import HealthLimits
from squizzle.severity import Severity
from squizzle.sweep.records import TargetHealth

FRESH_RULE = AlertRule(name="no fresh backup", condition="", severity=Severity.HIGH, place="squizzle")
PROVEN_RULE = AlertRule(name="no proven restore", condition="", severity=Severity.MEDIUM, place="squizzle")

OpensStore = Callable[[], BackupStore]
# A sweep is to be over before the next one begins.
_PATIENCE = timedelta(seconds=60)


def with_backups(
    found: Sequence[TargetHealth],
    opens: OpensStore,
    *,
    now: datetime,
    limits: HealthLimits,
    patience: timedelta = _PATIENCE,
) -> list[TargetHealth]:
    """What was found, with what a store says of every target that answered; one that cannot be read is *not known*.

    Args:
        found: What was found at the targets.
        opens: Opens the store.
        now: The time.
        limits: From where on something is wrong.
        patience: How long the look at the store may take.
    """
    whose = {_whose(one) for one in found if one.is_reached}
    oldest = now - max(limits.backup_age, limits.restore_age)
    try:
        store = opens()
        memory = memory_of(store.address)
        known = find_freshness(store, whose, now=now, oldest=oldest, patience=patience, memory=memory)
    except SquizzleError as exc:
        known = {one: Freshness(why_unknown=f"the store of backups cannot be read: {exc.message}") for one in whose}
    return [_judged(one, known[_whose(one)], now, limits) if one.is_reached else one for one in found]


def _whose(health: TargetHealth) -> Whose:
    return Whose(database=health.target.database, cluster=health.cluster, identity_id=health.identity_id)


def _judged(health: TargetHealth, fresh: Freshness, now: datetime, limits: HealthLimits) -> TargetHealth:
    ages = {"backup_age_s": _age_s(fresh.newest, now), "restore_proof_age_s": _age_s(fresh.proven, now)}
    results = (*health.results, *backup_results(fresh, now, limits))
    return replace(health, metrics={**health.metrics, **ages}, results=results)


def backup_results(fresh: Freshness, now: datetime, limits: HealthLimits) -> Iterator[AlertResult]:
    """What the two rules say. Pure."""
    yield _result(FRESH_RULE, fresh.newest, now, limits.backup_age, "", fresh.why_unknown)
    yield _result(PROVEN_RULE, fresh.proven, now, limits.restore_age, fresh.failed, fresh.why_unknown)


def _result(
    rule: AlertRule, at: datetime | None, now: datetime, limit: timedelta, failed: str, unknown: str
) -> AlertResult:
    if at is None and unknown:
        return AlertResult(rule=rule, is_true=None, why=unknown)
    if failed:
        return AlertResult(rule=rule, is_true=True, why=f"the last restore failed: {failed}")
    if at is None:
        return AlertResult(rule=rule, is_true=True, why="there is none")
    is_true = now - at > limit
    return AlertResult(rule=rule, is_true=is_true, why=f"the newest is {words(now - at)} old" if is_true else "")


def _age_s(at: datetime | None, now: datetime) -> float | None:
    return None if at is None else max(0.0, (now - at).total_seconds())
