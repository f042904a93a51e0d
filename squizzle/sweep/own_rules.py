"""The rules that come with every sweep: what the numbers of a target mean. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from squizzle.alerts.records import AlertResult, AlertRule
from squizzle.alerts.states import UNREACHABLE
from squizzle.durations import words
from squizzle.settings.health import HealthLimits
from squizzle.severity import Severity
from squizzle.sweep.records import Metrics

_MINUTE = timedelta(minutes=1)


def _rule(name: str, severity: Severity, *, hold: timedelta = timedelta()) -> AlertRule:
    return AlertRule(name=name, condition="", severity=severity, hold=hold, place="squizzle")


REACH_RULE = _rule(UNREACHABLE, Severity.CRITICAL)
FAILED_RULE = _rule("a migration failed", Severity.CRITICAL)
_RUNNING = _rule("a migration runs for long", Severity.MEDIUM)
_CHECKSUMS = _rule("damaged pages", Severity.CRITICAL)
_ARCHIVER = _rule("the log is not archived", Severity.HIGH)
_CONNECTIONS = _rule("connections nearly used up", Severity.HIGH, hold=2 * _MINUTE)
_FULL = _rule("connections used up", Severity.CRITICAL)
_LAG = _rule("replication is behind", Severity.HIGH, hold=2 * _MINUTE)
_SLOT = _rule("a slot holds back the log", Severity.HIGH)
_SLOT_LOST = _rule("a slot has lost the log", Severity.HIGH)
_WRAPAROUND = _rule("transaction ids run out", Severity.CRITICAL)
_OLD_IDS = _rule("transaction ids are old", Severity.MEDIUM)
_LOCKS = _rule("sessions wait for locks", Severity.HIGH, hold=2 * _MINUTE)
_LONG = _rule("a transaction is open for long", Severity.MEDIUM)
_IDLE = _rule("a session is idle in its transaction", Severity.MEDIUM)
_PREPARED = _rule("a prepared transaction was forgotten", Severity.MEDIUM)
_INVALID = _rule("an index is invalid", Severity.LOW)
_DEAD = _rule("many dead rows", Severity.LOW, hold=30 * _MINUTE)
_DISK = _rule("disk nearly full", Severity.HIGH)
_DISK_FULL = _rule("disk full", Severity.CRITICAL)
_BLIND = _rule("sessions of others cannot be seen", Severity.LOW)


def own_results(metrics: Metrics, failed: Sequence[str], limits: HealthLimits) -> Iterator[AlertResult]:
    """What every rule says about a target that answered.

    Args:
        metrics: As the probes found them.
        failed: Versions whose newest run failed.
        limits: From where on something is wrong.
    """
    yield AlertResult(rule=REACH_RULE, is_true=False)
    yield _found(FAILED_RULE, is_true=bool(failed), why=f"failed: {', '.join(failed[:5])}" if failed else "")
    yield _seconds(_RUNNING, metrics, "running_s", limits.running)
    yield _most(_CHECKSUMS, metrics, "checksum_failures", 0)
    yield _found(_ARCHIVER, is_true=metrics.get("archiver_fails") is True)
    taken = _share(metrics, "connections", "connections_most")
    told = f"{metrics.get('connections')} of {metrics.get('connections_most')}"
    yield _found(_CONNECTIONS, is_true=None if taken is None else taken >= limits.connections_pct, why=told)
    yield _found(_FULL, is_true=None if taken is None else taken >= limits.connections_critical_pct, why=told)
    yield _seconds(_LAG, metrics, "replication_lag_s", limits.replication_lag)
    yield _most(_SLOT, metrics, "slots_retain_bytes", limits.slot_bytes)
    yield _most(_SLOT_LOST, metrics, "slots_lost", 0)
    yield _most(_WRAPAROUND, metrics, "xid_age", limits.xid_age_critical)
    yield _most(_OLD_IDS, metrics, "xid_age", limits.xid_age)
    yield _most(_LOCKS, metrics, "lock_waits", limits.lock_waits - 1)
    yield _seconds(_LONG, metrics, "longest_transaction_s", limits.long_transaction)
    yield _seconds(_IDLE, metrics, "idle_in_transaction_s", limits.idle_in_transaction)
    yield _seconds(_PREPARED, metrics, "oldest_prepared_s", limits.prepared)
    yield _most(_INVALID, metrics, "invalid_indexes", 0)
    dead, live = metrics.get("dead_rows") or 0, metrics.get("live_rows") or 0
    is_much = dead >= limits.dead_rows and 100.0 * dead >= limits.dead_pct * (dead + live)
    yield _found(_DEAD, is_true=is_much, why=f"{dead:,} dead, {live:,} live")
    if (free := metrics.get("disk_free_pct")) is not None:
        told = f"{free:.1f} % are free"
        yield _found(_DISK, is_true=free < limits.disk_free_pct, why=told)
        yield _found(_DISK_FULL, is_true=free < limits.disk_free_critical_pct, why=told)
    yield _found(_BLIND, is_true=metrics.get("sees_all") is False, why="grant the account pg_read_all_stats")


def disk_unknown(why: str) -> tuple[AlertResult, ...]:
    """What the rules about disks say where somebody should know, and does not."""
    return tuple(AlertResult(rule=one, is_true=None, why=why) for one in (_DISK, _DISK_FULL))


def _found(rule: AlertRule, *, is_true: bool | None, why: str = "") -> AlertResult:
    return AlertResult(rule=rule, is_true=is_true, why=why if is_true is not False else "")


def _share(metrics: Metrics, part: str, whole: str) -> float | None:
    some, most = metrics.get(part), metrics.get(whole)
    return None if some is None or not most else 100.0 * some / most


def _seconds(rule: AlertRule, metrics: Metrics, name: str, limit: timedelta) -> AlertResult:
    """Of a time that is None where there is no such thing."""
    value = metrics.get(name) or 0.0
    told = words(timedelta(seconds=round(value)))
    return _found(rule, is_true=value > limit.total_seconds(), why=told)


def _most(rule: AlertRule, metrics: Metrics, name: str, limit: float) -> AlertResult:
    value = metrics.get(name) or 0
    return _found(rule, is_true=value > limit, why=f"{value:,.0f}")
