"""Whether a stage's targets are well after their migration. Pure: observations in, a verdict out.

Three verdicts, because a bad sign is not always the migration's fault: what the targets that were not migrated yet
show, too, has another cause, and what could not be looked at proves nothing. Both are for a person to judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from statistics import median

from squizzle.settings.watch import SoakLimits


class SoakVerdict(StrEnum):
    """`pass`: all was looked at and is well. `fail`: the migration did harm. `inconclusive`: a person decides."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class Sign(StrEnum):
    """What an observation is about."""

    REACH = "reach"
    ALERT = "alert"
    CHECK = "check"
    ERRORS = "errors"
    LOCK_WAITS = "lock waits"
    REPLICATION = "replication lag"
    QUERY = "query"
    DEADLOCKS = "deadlocks"
    RESTART = "restart"
    BUDGET = "certificate budget"


@dataclass(frozen=True, kw_only=True, slots=True)
class FiringAlert:
    """An alert rule that fires now, or of which nobody knows.

    Attributes:
        rule: Its name.
        critical: Whether it means harm by itself; others ask for a person.
        since_before: Whether it fired before the migration, so that the migration did not cause it.
        unknown: Why it could not be found out whether it fires; empty when it does.
        hold: How long its condition has to be true before it counts.
    """

    rule: str
    critical: bool = True
    since_before: bool = False
    unknown: str = ""
    hold: timedelta = timedelta()


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckOutcome:
    """A check of the user's own.

    Attributes:
        name: What it is called.
        ok: None when it could not be carried out.
        detail: What it found, or why it found nothing.
    """

    name: str
    ok: bool | None
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryTime:
    """What one query takes.

    Attributes:
        query: The beginning of its normalised text.
        mean_ms: Since the migration.
        calls: So many were measured.
        baseline_ms: The same database's own mean before the migration; None when the query was not known then.
        digest: Of its whole text, which tells it from others; empty where the text is all of it. Not the server's
            number of it: that is computed from the numbers of tables, so the same query has another one in every
            database (PostgreSQL manual, "pg_stat_statements").
    """

    query: str
    mean_ms: float
    calls: int
    baseline_ms: float | None = None
    digest: str = ""

    @property
    def key(self) -> str:
        """The same for the same query of another target."""
        return self.digest or self.query


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetUse:
    """What a rehearsal allows, and what was seen.

    Attributes:
        what: `ACCESS EXCLUSIVE on public.orders`, `duration of 0042`.
        rehearsed: As long as it took in the rehearsal, scaled to this target; None for what was not rehearsed at all.
        observed: As long as it took here.
        is_wait: Whether it is time spent waiting for locks, which no rehearsal has.
        scaled: By how much the rehearsed time was multiplied, because this target has more rows.
    """

    what: str
    rehearsed: timedelta | None
    observed: timedelta
    is_wait: bool = False
    scaled: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """One look at one target.

    Attributes:
        target: Its name.
        unseen: What should have been looked at and could not be, and why, a sentence each.
        alerts: What fires.
        checks: The user's own.
        error_pct: Transactions that were rolled back, in per cent of all since the migration; None when unknown.
        baseline_error_pct: The same before the migration; None when unknown.
        deadlocks: So many since the migration.
        usual_deadlocks: So many there would be in that time if all were as before; None when unknown.
        restarted_at: When the server was started, if that was after the migration.
        lock_waits: Sessions that wait for a lock for longer than is usual.
        replication_lag: Of the standby that is furthest behind; None without standbys.
        queries: What they take.
        no_queries: Why queries could not be compared; empty when they could.
        budget: What the migration took there.
    """

    target: str
    unseen: tuple[str, ...] = ()
    alerts: tuple[FiringAlert, ...] = ()
    checks: tuple[CheckOutcome, ...] = ()
    error_pct: float | None = None
    baseline_error_pct: float | None = None
    deadlocks: int = 0
    usual_deadlocks: float | None = None
    restarted_at: datetime | None = None
    lock_waits: int = 0
    replication_lag: timedelta | None = None
    queries: tuple[QueryTime, ...] = ()
    no_queries: str = ""
    budget: tuple[BudgetUse, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """One thing that is not well.

    Attributes:
        target: Where.
        sign: What it is about.
        verdict: What it means by itself: fail or inconclusive.
        text: For a person.
    """

    target: str
    sign: Sign
    verdict: SoakVerdict
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SoakReport:
    """What the observations add up to.

    Attributes:
        verdict: The worst of the reasons; `pass` without any.
        reasons: Those that fail first.
        remaining: How long the targets are still to be watched; a `pass` counts when nothing remains.
        remarks: What could not be compared, and is no reason by itself.
        no: What came instead of a person's yes where one was asked; empty where none was.
        nobody_decided: Whether that was silence.
    """

    verdict: SoakVerdict
    reasons: tuple[Reason, ...] = ()
    remaining: timedelta = timedelta()
    remarks: tuple[str, ...] = ()
    no: str = ""
    nobody_decided: bool = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more is waited for: the time is up and all is well, or something is not."""
        return self.verdict is not SoakVerdict.PASS or self.remaining <= timedelta()


def soak_began(applied_at: Iterable[datetime | None]) -> datetime | None:
    """When a stage's soak began: when the last of its targets was migrated, as their histories say.

    Args:
        applied_at: Of every target of the stage; None for one that is not migrated yet.

    Returns:
        None while one of them is not migrated, or there is none.
    """
    times = list(applied_at)
    return None if None in times else max((one for one in times if one is not None), default=None)


def remaining_soak(*, started_at: datetime, duration: timedelta, now: datetime) -> timedelta:
    """How long targets are still to be watched; it needs no process that sleeps, so a restart changes nothing.

    Args:
        started_at: As `soak_began` says, by the databases' clocks.
        duration: Of the stage.
        now: By our clock. Where it is behind theirs, no more than `duration` remains.
    """
    return min(duration, max(timedelta(), started_at + duration - now))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rest:
    """What targets show that were not migrated: what they share with the migrated ones has another cause."""

    alerts: frozenset[str] = frozenset()
    checks: frozenset[str] = frozenset()
    signs: frozenset[Sign] = frozenset()
    queries: Mapping[str, float] = field(default_factory=dict)
    drift: Mapping[str, float] = field(default_factory=dict)


def judge_soak(
    migrated: Sequence[Observation],
    rest: Sequence[Observation],
    *,
    limits: SoakLimits = SoakLimits(),  # noqa: B008 - frozen
    remaining: timedelta = timedelta(),
) -> SoakReport:
    """What the newest look at every target means.

    Args:
        migrated: Of the stage's targets.
        rest: Of targets that are still to come, looked at in the same way and at the same time; empty in the last
            stage, where only each target's own time before the migration is left to compare with.
        limits: Up to where all is well.
        remaining: As `remaining_soak` says.
    """
    if not migrated:
        nothing = Reason(
            target="", sign=Sign.REACH, verdict=SoakVerdict.INCONCLUSIVE, text="no target was looked at at all"
        )
        return SoakReport(verdict=SoakVerdict.INCONCLUSIVE, reasons=(nothing,), remaining=remaining)
    others = _rest(rest, limits)
    found = [reason for one in migrated for reason in _reasons(one, others, limits)]
    found.sort(key=lambda reason: reason.verdict is not SoakVerdict.FAIL)
    verdict = found[0].verdict if found else SoakVerdict.PASS
    return SoakReport(verdict=verdict, reasons=tuple(found), remaining=remaining, remarks=_remarks(migrated))


def _remarks(migrated: Sequence[Observation]) -> tuple[str, ...]:
    """Each once, however many targets it is about."""
    return tuple(dict.fromkeys(f"queries were not compared: {one.no_queries}" for one in migrated if one.no_queries))


def _rest(rest: Sequence[Observation], limits: SoakLimits) -> _Rest:
    means: dict[str, list[float]] = {}
    changes: dict[str, list[float]] = {}
    for one in rest:
        for query in one.queries:
            if query.calls >= limits.least_calls:
                means.setdefault(query.key, []).append(query.mean_ms)
                if query.baseline_ms:
                    changes.setdefault(query.key, []).append(query.mean_ms / query.baseline_ms)
    return _Rest(
        alerts=frozenset(
            alert.rule for one in rest for alert in one.alerts if not alert.since_before and not alert.unknown
        ),
        checks=frozenset(check.name for one in rest for check in one.checks if check.ok is False),
        signs=frozenset(sign for one in rest for sign, _ in _signs(one, limits)),
        queries={query: median(times) for query, times in means.items()},
        drift={query: median(times) for query, times in changes.items()},
    )


def _reasons(one: Observation, rest: _Rest, limits: SoakLimits) -> Iterator[Reason]:
    for text in one.unseen:
        yield _reason(one, Sign.REACH, text, harm=False)
    if limits.require_queries and one.no_queries:
        yield _reason(one, Sign.QUERY, f"queries cannot be compared: {one.no_queries}", harm=False)
    if one.restarted_at is not None:
        yield _reason(one, Sign.RESTART, f"its server was started at {one.restarted_at:%Y-%m-%d %H:%M %Z}", harm=False)
    yield from _alerts(one, rest)
    yield from _checks(one, rest)
    for sign, text in _signs(one, limits):
        yield _reason(one, sign, text, harm=True, shared=sign in rest.signs)
    for query in one.queries:
        text, shared = _slow(query, rest, limits)
        if text:
            # What a server that was just started has to read again is slow for a while.
            harm = query.baseline_ms is not None and one.restarted_at is None
            yield _reason(one, Sign.QUERY, f"{text}: {query.query}", harm=harm, shared=shared)
    yield from _budget(one, limits)


def _reason(one: Observation, sign: Sign, text: str, *, harm: bool, shared: bool = False) -> Reason:
    return Reason(
        target=one.target,
        sign=sign,
        verdict=SoakVerdict.FAIL if harm and not shared else SoakVerdict.INCONCLUSIVE,
        text=f"{text}; targets that were not migrated show it, too" if shared else text,
    )


def _alerts(one: Observation, rest: _Rest) -> Iterator[Reason]:
    for alert in one.alerts:
        if alert.unknown:
            text = f"whether {alert.rule} fires could not be found out: {alert.unknown}"
            yield _reason(one, Sign.ALERT, text, harm=False)
        elif not alert.since_before:
            shared = alert.rule in rest.alerts
            yield _reason(one, Sign.ALERT, f"{alert.rule} fires", harm=alert.critical, shared=shared)


def _checks(one: Observation, rest: _Rest) -> Iterator[Reason]:
    for check in one.checks:
        told = f": {check.detail}" if check.detail else ""
        if check.ok is None:
            yield _reason(one, Sign.CHECK, f"{check.name} could not be carried out{told}", harm=False)
        elif not check.ok:
            yield _reason(one, Sign.CHECK, f"{check.name} failed{told}", harm=True, shared=check.name in rest.checks)


def _budget(one: Observation, limits: SoakLimits) -> Iterator[Reason]:
    """More than was rehearsed is no harm by itself: a person decides whether the next stage may bear it."""
    for use in one.budget:
        took = f"{use.what} took {_ms(use.observed)}"
        if use.rehearsed is None:
            yield _reason(one, Sign.BUDGET, f"{took} and was not rehearsed", harm=False)
        elif use.is_wait:
            if use.observed > limits.lock_wait:
                yield _reason(one, Sign.BUDGET, f"{took}, {_ms(limits.lock_wait)} are allowed", harm=False)
        elif use.observed > max(use.rehearsed * limits.budget, limits.budget_floor):
            scaled = f" for {use.scaled:,.1f} times the rows" if use.scaled > 1 else ""
            yield _reason(one, Sign.BUDGET, f"{took}, {_ms(use.rehearsed)} in the rehearsal{scaled}", harm=False)


def _signs(one: Observation, limits: SoakLimits) -> Iterator[tuple[Sign, str]]:
    """What is beyond its limit by a plain number."""
    errors, before = one.error_pct, one.baseline_error_pct
    # Without its time before, a quiet database would be blamed for a session of ours that was killed.
    if errors is not None and before is not None and errors - before > limits.error_points:
        yield Sign.ERRORS, f"{errors:.1f} % of transactions fail, {before:.1f} % before"
    usual = one.usual_deadlocks
    if one.deadlocks > max(limits.deadlocks, (usual or 0.0) * limits.slower):
        was = "" if usual is None else f", {usual:.1f} would be usual"
        yield Sign.DEADLOCKS, f"{one.deadlocks} deadlocks since the migration{was}"
    if one.lock_waits > limits.lock_waits:
        yield Sign.LOCK_WAITS, f"{one.lock_waits} sessions wait for locks, {limits.lock_waits} may"
    lag = one.replication_lag
    if lag is not None and lag > limits.replication_lag:
        yield Sign.REPLICATION, f"a standby is {_ms(lag)} behind, {_ms(limits.replication_lag)} are allowed"


def is_slower_than_before(query: QueryTime, limits: SoakLimits) -> bool:
    """Whether a query takes longer than it did in the same database, and often enough to say so."""
    if query.calls < limits.least_calls or query.mean_ms < limits.least_ms or query.baseline_ms is None:
        return False
    return query.mean_ms > query.baseline_ms * limits.slower


def _slow(query: QueryTime, rest: _Rest, limits: SoakLimits) -> tuple[str, bool]:
    """Why a query is too slow (empty when it is not), and whether the targets that are still to come are so, too.

    What was counted before may be years old, so what counts is how much more it changed than at the others. One that
    was not known before the migration is compared with those alone: it may be new, or it is rare.
    """
    elsewhere = rest.queries.get(query.key)
    if query.baseline_ms is not None and is_slower_than_before(query, limits):
        text = f"{query.mean_ms:.1f} ms on average, {query.baseline_ms:.1f} ms before"
        drift = max(1.0, rest.drift.get(query.key, 1.0))
        is_shared = query.mean_ms <= query.baseline_ms * drift * limits.slower
        return ("", False) if is_shared and drift <= limits.slower else (text, is_shared)
    is_measured = query.calls >= limits.least_calls and query.mean_ms >= limits.least_ms
    is_new = query.baseline_ms is None and elsewhere is not None
    if is_measured and is_new and elsewhere is not None and query.mean_ms > elsewhere * limits.slower:
        return f"{query.mean_ms:.1f} ms on average, {elsewhere:.1f} ms where it was not migrated", False
    return "", False


def _ms(duration: timedelta) -> str:
    return f"{duration.total_seconds() * 1000:,.0f} ms"
