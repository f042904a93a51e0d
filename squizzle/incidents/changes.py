"""What a sweep means for incidents. Pure: the same looks always give the same changes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from squizzle.alerts.records import AlertResult
from squizzle.alerts.states import Advance, AlertState
from squizzle.incidents.records import EventKind, IncidentChange
from squizzle.severity import Severity
from squizzle.sweep.records import Sweep, TargetHealth

WELL = "a sweep found it well: it answered, no critical alert holds, and no migration runs"
GONE = "it is no longer part of the fleet"


def changes_of(
    sweep: Sweep, before: Sequence[AlertState], done: Advance, is_open: Collection[str]
) -> tuple[IncidentChange, ...]:
    """What is opened, noted and closed after one sweep.

    Args:
        sweep: What was found.
        before: The alerts before it.
        done: The alerts after it.
        is_open: The targets with an open incident.

    Returns:
        Only of targets for which something changed.
    """
    return tuple(one for one in _changes(sweep, before, done, is_open) if one.opens or one.events or one.closes)


def _changes(
    sweep: Sweep, before: Sequence[AlertState], done: Advance, is_open: Collection[str]
) -> Iterator[IncidentChange]:
    fired = {one.name for one in before if one.fires_since is not None}
    firing = {one.name: one for one in done.states if one.fires_since is not None}
    events: dict[str, list[tuple[EventKind, str]]] = {}
    for state in firing.values():
        if state.name not in fired:
            events.setdefault(state.target, []).append((EventKind.ALERT_BEGINS, _sentence(state)))
    for state in done.over:
        if state.fires_since is not None:
            events.setdefault(state.target, []).append((EventKind.ALERT_OVER, state.rule))
    for health in sweep.targets:
        name = health.target.name
        happened = tuple(events.get(name, ()))
        holding = _holding(health, firing)
        if name in is_open:
            yield IncidentChange(target=name, events=happened, closes="" if _is_bad(health) else WELL)
        elif holding:
            yield IncidentChange(target=name, opens=_cause(holding[0]), events=happened)
    if not sweep.unreachable:
        for name in set(is_open) - {one.target.name for one in sweep.targets}:
            yield IncidentChange(target=name, closes=GONE)


def _sentence(state: AlertState) -> str:
    detail = f" ({state.detail})" if state.detail else ""
    return f"{state.rule}{detail}, {state.severity.value}"


def _cause(result: AlertResult) -> str:
    return f"{result.rule.name} ({result.why})" if result.why else result.rule.name


def _holding(health: TargetHealth, firing: Collection[tuple[str, str]]) -> tuple[AlertResult, ...]:
    """The critical rules that are true now, and have been for as long as they have to."""
    return tuple(
        one
        for one in health.firing
        if one.rule.severity is Severity.CRITICAL and (health.target.name, one.rule.name) in firing
    )


def _is_bad(health: TargetHealth) -> bool:
    """Whether nobody may say that it is well: what could not be found out is no good news."""
    doubtful = (*health.firing, *health.unknown)
    # A run that has not ended may be a recovery that was killed in the middle.
    is_under_way = bool(health.metrics.get("running_migrations"))
    return not health.is_reached or is_under_way or any(one.rule.severity is Severity.CRITICAL for one in doubtful)
