"""What a person is told before they decide about a stage: who would wait now, and where more is to be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from squizzle.numbers import number_of
from squizzle.rehearsal.traffic import WATCH
from squizzle.rollout.foresight import TargetForecast, foresee_stage, sample_targets
from squizzle.rollout.records import FleetTarget
from tasks.pages import pages_of
from tasks.reporting import rollout_key
from tasks.rollout_case import Running
from tasks.steps import step


def _foreseen(found: tuple[TargetForecast, ...]) -> str:
    words = Counter(one.forecast.verdict.value if one.forecast else one.why or "nothing to run" for one in found)
    return ", ".join(f"{word} (at {number_of(count, 'target')})" for word, count in words.items())


@step("See who would wait if it ran now", timeout=timedelta(minutes=5), detail=_foreseen)
def foresee(run: Running, targets: Sequence[FleetTarget]) -> tuple[TargetForecast, ...]:
    """Look at some of a stage's targets, for no longer than two looks at watched ones are apart. Nothing is changed."""
    case = run.case
    return foresee_stage(
        run.started.order,
        sample_targets(targets),
        run.started.certificates,
        over=min(WATCH, case.watch_every),
        deadline=case.fleet.deadline,
        environ=case.environ,
    )


def links_of(run: Running, stages: Sequence[str]) -> dict[str, str]:
    """Pages of the UI on what was found so far; none where nobody said where the UI is.

    Args:
        run: The run.
        stages: Those before, by name; the last one's table is linked.
    """
    fleet = run.case.fleet.name
    last = {f"stage {one}": rollout_key(fleet, one) for one in stages[-1:]}
    return pages_of({"checks": rollout_key(fleet, "checks"), **last})
