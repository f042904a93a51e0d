"""Watching what was migrated, beside what was not."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from functools import partial

from squizzle.analysis.records import Statement
from squizzle.analysis.statements import split_statements
from squizzle.errors import InvalidInputError
from squizzle.rollout.orders import RolloutOrder
from squizzle.rollout.records import FleetTarget, Stage
from squizzle.rollout.soak import SoakReport, SoakVerdict, judge_soak, remaining_soak, soak_began
from squizzle.rollout.watching import watch_targets
from tasks.rollout_case import RolloutCase
from tasks.steps import now, step

# Of those that are still to come, so many show what has another cause.
_COMPARED = 20
# What was seen twice in a row is no hiccup; a failure is acted on at once.
_DOUBTS = 2


def _watched(report: SoakReport) -> str:
    return f"{report.verdict.value}: {report.reasons[0].text}" if report.reasons else report.verdict.value


# What a person has said is no reason to stop: the target, and what the sign is about.
Accepted = frozenset[tuple[str, str]]


@step("Watch what was migrated", timeout=timedelta(days=30), detail=_watched)
def soak(
    case: RolloutCase,
    order: RolloutOrder,
    stage: Stage,
    migrated: tuple[FleetTarget, ...],
    rest: tuple[FleetTarget, ...],
    *,
    accepted: Accepted,
) -> SoakReport:
    """Look until the time is up, by the histories of the targets, or something is not well."""
    look = partial(watch_targets, order, checks=read_checks(case), deadline=case.fleet.deadline, environ=case.environ)
    doubts = 0
    while True:
        seen, others = look(migrated), look(rest[:_COMPARED])
        began = soak_began(one.applied_at for one in seen)
        left = remaining_soak(started_at=began, duration=stage.duration, now=now()) if began else stage.duration
        found = judge_soak([one.observation for one in seen], [one.observation for one in others], remaining=left)
        report = _without(found, accepted)
        doubts = doubts + 1 if report.verdict is SoakVerdict.INCONCLUSIVE else 0
        if report.is_over and doubts in {0, _DOUBTS}:
            return report
        pause = min(case.watch_every, timedelta(seconds=2)) if doubts else min(case.watch_every, left)
        time.sleep(pause.total_seconds())


def _without(report: SoakReport, accepted: Accepted) -> SoakReport:
    reasons = tuple(one for one in report.reasons if (one.target, one.sign.value) not in accepted)
    verdict = reasons[0].verdict if reasons else SoakVerdict.PASS
    return replace(report, reasons=reasons, verdict=verdict)


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
