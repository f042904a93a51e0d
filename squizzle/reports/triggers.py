"""Triggers that are switched off for a while, as Markdown, as lines and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from squizzle.durations import words
from squizzle.health.trigger_plan import Paused, PausePlan, Trigger
from squizzle.health.triggers import Resumed
from squizzle.postgres.decisions import Question


@dataclass(frozen=True, kw_only=True, slots=True)
class PauseReport:
    """One run that switches triggers off and on again.

    Attributes:
        database: Of which database.
        plan: What was to be switched off.
        overdue: What earlier runs had left off, and was put back first.
        left: What earlier runs had left off, and a dry run leaves so.
        paused: The notes; empty for a dry run.
        resumed: What was put back at the end; None for a dry run.
    """

    database: str
    plan: PausePlan
    overdue: Resumed = field(default_factory=Resumed)
    left: tuple[Paused, ...] = ()
    paused: tuple[Paused, ...] = ()
    resumed: Resumed | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """Rows that break a key, and triggers that are gone."""
        return (*self.overdue.problems, *(self.resumed.problems if self.resumed else ()))


def pause_markdown(report: PauseReport) -> str:
    """The whole report."""
    state = "dry run" if report.resumed is None else "done"
    parts = [f"# Triggers of {report.plan.schema}.{report.plan.table} in {report.database}: {state}"]
    if report.overdue.triggers:
        parts += ["## Left off by an earlier run, put back first", _list(resumed_lines(report.overdue))]
    if report.left:
        parts += ["## Left off by an earlier run, put back first without *Dry run*"]
        parts.append(_list([one.sentence() for one in report.left]))
    parts.append(plan_markdown(report.plan))
    if report.paused:
        parts += ["## Switched off", _list([one.sentence() for one in report.paused])]
    if report.resumed is not None:
        lines = resumed_lines(report.resumed) or ["nothing was left to put back: somebody did before"]
        parts += ["## Put back, and compared", _list(lines)]
    if report.problems:
        parts += ["## What has to be done", REPAIR]
    return "\n\n".join(parts) + "\n"


REPAIR = (
    "Mend the rows that break a key (insert what they refer to, or change or delete them), then"
    " `squizzle triggers resume` compares again. PostgreSQL never looks at them by itself, and calls the key valid."
)


def pause_question(database: str, plan: PausePlan) -> Question:
    """What somebody has to approve before anything is switched off."""
    title = f"{plan} in {database}"
    return Question(
        gate="pause-triggers",
        title=f"{title[:1].upper()}{title[1:]}",
        plan=plan_markdown(plan),
        facts=plan.key(database),
    )


def plan_markdown(plan: PausePlan) -> str:
    """What is to be switched off, with its consequences."""
    return "\n\n".join([f"## To switch off for {words(plan.duration)}", _list(plan_lines(plan)), f"Why: {plan.why}"])


def plan_lines(plan: PausePlan) -> list[str]:
    """What is to be switched off and what that means, a line each."""
    lines = [f"{one} ({one.mode.words}): {'; '.join(one.consequences())}" for one in plan.triggers]
    lines += [f"{one}: is off already; if Squizzle did that, the time is set anew" for one in plan.already_off]
    return lines


def resumed_lines(done: Resumed) -> list[str]:
    """What was put back and what got in, a line each."""
    return [*(one.sentence() for one in done.triggers), *(one.sentence() for one in done.keys)]


def trigger_document(trigger: Trigger) -> dict[str, object]:
    """One trigger as JSON."""
    return {
        "table": f"{trigger.schema}.{trigger.table}",
        "name": trigger.name,
        "mode": trigger.mode.words,
        "kind": trigger.kind.value,
        "function": trigger.function,
        "foreign_key": str(trigger.key) if trigger.key else None,
        "consequences": list(trigger.consequences()),
    }


def paused_document(paused: Paused) -> dict[str, object]:
    """One note as JSON."""
    return {
        "name": paused.name,
        "mode": paused.trigger.mode.words if paused.trigger else None,
        "former_mode": paused.former_mode.words,
        "paused_at": paused.paused_at.isoformat(),
        "paused_by": paused.paused_by,
        "why": paused.why,
        "until": paused.until.isoformat(),
        "overdue": paused.is_overdue,
    }


def resumed_document(done: Resumed) -> dict[str, object]:
    """What was put back and compared, as JSON."""
    return {
        "resumed": [
            {
                "name": one.paused.name,
                "mode": one.paused.former_mode.words if one.found else None,
                "found": one.found.words if one.found else None,
            }
            for one in done.triggers
        ],
        "foreign_keys": [
            {
                "key": str(one.key),
                "valid": one.key.is_valid,
                "rows": one.rows,
                "examples": [list(e) for e in one.examples],
            }
            for one in done.keys
        ],
        "problems": list(done.problems),
    }


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {one}" for one in lines)
