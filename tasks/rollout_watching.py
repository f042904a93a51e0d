"""Watching what was migrated, beside what was not and beside its own time before."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from squizzle.alerts.records import AlertRule
from squizzle.alerts.rules import read_alert_rules
from squizzle.analysis.records import Statement
from squizzle.analysis.statements import split_statements
from squizzle.errors import InvalidInputError
from squizzle.numbers import number_of
from squizzle.postgres.access import connect
from squizzle.rehearsal.records import Certificate
from squizzle.rehearsal.rehearsed_scripts import rehearsed_rows
from squizzle.rollout.baselines import Moment, baselines_there, read_baselines, save_baselines
from squizzle.rollout.budget import RehearsedVersion
from squizzle.rollout.holding import HeldAlerts
from squizzle.rollout.orders import RolloutOrder
from squizzle.rollout.records import FleetTarget, Stage
from squizzle.rollout.soak import SoakReport, SoakVerdict, judge_soak, remaining_soak, soak_began
from squizzle.rollout.watching import Sighting, Watch, note_targets, watch_targets
from tasks.rollout_case import RolloutCase, Running
from tasks.sources import DatabaseSource
from tasks.steps import log_line, now, step

# Of those that are still to come, so many show what has another cause.
_COMPARED = 20
# So many are looked at before what was seen is put together: what is kept of each is not all in memory at once.
_TOGETHER = 200
# What was seen twice in a row is no hiccup; a failure is acted on at once.
_DOUBTS = 2


def read_watched(case: RolloutCase) -> tuple[tuple[Statement, ...], tuple[AlertRule, ...]]:
    """The checks of the user's own, and the alert rules; read before anything is begun.

    Raises:
        InvalidInputError: A file cannot be read, or is wrong.
    """
    return read_checks(case), read_alert_rules(case.alerts)


def read_checks(case: RolloutCase) -> tuple[Statement, ...]:
    """The checks of the user's own.

    Raises:
        InvalidInputError: The file cannot be read, or is no SQL.
    """
    if case.checks is None:
        return ()
    try:
        text = case.checks.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidInputError(
            f"{case.checks} cannot be read: {exc}", hint="name a file of SQL that the worker can read"
        ) from exc
    return tuple(split_statements(text, source=str(case.checks)))


def _watch(case: RolloutCase, order: RolloutOrder, rehearsed: Mapping[str, RehearsedVersion] | None = None) -> Watch:
    checks, rules = read_watched(case)
    return Watch(
        order=order,
        checks=checks,
        rules=rules,
        limits=case.fleet.watch.limits,
        rehearsed=rehearsed or {},
        deadline=case.fleet.deadline,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """Targets whose counters are kept.

    Attributes:
        stage: For which stage; empty for the beginning of the rollout.
        targets: Which.
        renew: Whether they are about to be migrated, or were just now; what is kept of others stays.
    """

    stage: str
    targets: tuple[FleetTarget, ...]
    renew: bool


def note_before(
    run: Running, order: RolloutOrder, position: int, batch: tuple[FleetTarget, ...], *, is_first: bool
) -> None:
    """Keep what targets have counted before they are migrated, where their stage is watched for a while.

    With the first batch of a stage those are noted, too, with which it is compared, and those of later stages that will
    be watched: what they count from then until they are migrated is the newest that is known of their time before.

    Args:
        run: What the stages have in common.
        order: Which versions.
        position: Of the stage.
        batch: Those that are about to be migrated; those to which something was brought already are left as they are.
        is_first: Whether it is the first one of the stage.
    """
    plan = run.started.plan.stages
    stage = plan[position].stage
    # One look has no time to compare with; alerts have.
    if not stage.duration and not run.case.alerts:
        return
    groups = [_Group(stage=stage.name, targets=batch, renew=True)]
    if is_first:
        groups.append(_Group(stage=stage.name, targets=run.targets_after(position)[:_COMPARED], renew=False))
        later = (one for other in plan[position + 1 :] if other.stage.duration for one in other.targets)
        groups.append(_Group(stage="", targets=tuple(later) if stage.duration else (), renew=False))
    _note(run.case, run.control, order, tuple(groups), moment=Moment.BEFORE)


def note_after(
    run: Running, order: RolloutOrder, position: int, batch: tuple[FleetTarget, ...], *, is_first: bool
) -> None:
    """Keep what targets have counted when they have been migrated: who waited for that is no harm of it. As above."""
    stage = run.started.plan.stages[position].stage
    groups = [_Group(stage=stage.name, targets=batch, renew=True)]
    if is_first:
        groups.append(_Group(stage=stage.name, targets=run.targets_after(position)[:_COMPARED], renew=False))
    if stage.duration and any(one.targets for one in groups):
        _note(run.case, run.control, order, tuple(groups), moment=Moment.AFTER)


@step("Note what is counted", timeout=timedelta(hours=2), detail=lambda count: f"{number_of(count, 'target')}")
def _note(
    case: RolloutCase, control: DatabaseSource, order: RolloutOrder, groups: tuple[_Group, ...], *, moment: Moment
) -> int:
    watch, count = _watch(case, order), 0
    for group in groups:
        untouched = moment is Moment.BEFORE and group.renew
        for begin in range(0, len(group.targets), _TOGETHER):
            some = group.targets[begin : begin + _TOGETHER]
            if not group.stage:
                some = _never_noted(control, order, some)
            noted = note_targets(watch, some, untouched=untouched, environ=case.environ)
            count += len(noted)
            if noted:
                with connect(control.access(), control.database, purpose="rollout") as connection:
                    save_baselines(connection, order.rollout_id, group.stage, noted, moment=moment, renew=group.renew)
    return count


def _never_noted(
    control: DatabaseSource, order: RolloutOrder, targets: tuple[FleetTarget, ...]
) -> tuple[FleetTarget, ...]:
    with connect(control.access(), control.database, purpose="rollout", read_only=True) as connection:
        there = baselines_there(connection, order.rollout_id, [one.name for one in targets])
    return tuple(one for one in targets if one.name not in there)


def _watched(report: SoakReport) -> str:
    return f"{report.verdict.value}: {report.reasons[0].text}" if report.reasons else report.verdict.value


# What a person has said is no reason to stop: the target, and what the sign is about.
Accepted = frozenset[tuple[str, str]]


def soak(
    run: Running,
    order: RolloutOrder,
    stage: Stage,
    migrated: tuple[FleetTarget, ...],
    rest: tuple[FleetTarget, ...],
    *,
    accepted: Accepted,
) -> SoakReport:
    """Look until the time is up, by the histories of the targets, or something is not well."""
    certificates = run.started.certificates
    wanted = tuple(certificates[version] for version in order.versions if version in certificates)
    report = _soak(run.case, run.control, order, stage, migrated, rest[:_COMPARED], wanted, accepted=accepted)
    if stage.name == run.started.plan.stages[0].stage.name:
        for remark in report.remarks:
            log_line(remark, logging.WARNING)
    return report


@step("Watch what was migrated", timeout=timedelta(days=30), detail=_watched)
def _soak(
    case: RolloutCase,
    control: DatabaseSource,
    order: RolloutOrder,
    stage: Stage,
    migrated: tuple[FleetTarget, ...],
    rest: tuple[FleetTarget, ...],
    certificates: tuple[Certificate, ...],
    *,
    accepted: Accepted,
) -> SoakReport:
    watch = _watch(case, order, _rehearsed(case, certificates))
    look = partial(_look, case, control, watch, stage)
    held, held_elsewhere = HeldAlerts(), HeldAlerts()
    doubts = 0
    while True:
        seen, others = look(migrated, are_migrated=True), look(rest, are_migrated=False)
        began = soak_began(one.applied_at for one in seen)
        left = remaining_soak(started_at=began, duration=stage.duration, now=now()) if began else stage.duration
        observed, pending = held.of([one.observation for one in seen], now())
        compared, _ = held_elsewhere.of([one.observation for one in others], now())
        left = max(left, pending)
        report = _without(judge_soak(observed, compared, limits=watch.limits, remaining=left), accepted)
        doubts = doubts + 1 if report.verdict is SoakVerdict.INCONCLUSIVE else 0
        if report.is_over and doubts in {0, _DOUBTS}:
            return report
        pause = min(case.watch_every, timedelta(seconds=2)) if doubts else min(case.watch_every, left)
        time.sleep(pause.total_seconds())


def _look(
    case: RolloutCase,
    control: DatabaseSource,
    watch: Watch,
    stage: Stage,
    targets: tuple[FleetTarget, ...],
    *,
    are_migrated: bool,
) -> tuple[Sighting, ...]:
    seen: tuple[Sighting, ...] = ()
    for begin in range(0, len(targets), _TOGETHER):
        some = targets[begin : begin + _TOGETHER]
        names = [one.name for one in some]
        with connect(control.access(), control.database, purpose="watch", read_only=True) as connection:
            baselines = read_baselines(connection, watch.order.rollout_id, stage.name, names)
        seen += watch_targets(watch, some, baselines=baselines, are_migrated=are_migrated, environ=case.environ)
    return seen


def _rehearsed(case: RolloutCase, certificates: tuple[Certificate, ...]) -> dict[str, RehearsedVersion]:
    """What was measured of the versions that have a certificate."""
    if not certificates or case.store is None:
        return {}
    store = case.store.open()
    return {
        one.version: RehearsedVersion(trace=one.up, schema=one.schema, rows=rehearsed_rows(store, one))
        for one in certificates
        if one.up is not None
    }


def _without(report: SoakReport, accepted: Accepted) -> SoakReport:
    reasons = tuple(one for one in report.reasons if (one.target, one.sign.value) not in accepted)
    verdict = reasons[0].verdict if reasons else SoakVerdict.PASS
    return replace(report, reasons=reasons, verdict=verdict)
