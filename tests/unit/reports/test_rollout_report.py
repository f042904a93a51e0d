"""The report of a rollout is read at a glance: what failed first, what went well counted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from squizzle.reports.markdown import seconds
from squizzle.reports.rollout import rollout_markdown, rollout_summary
from squizzle.rollout.checks import CheckFinding, CheckResult, CheckRow
from squizzle.rollout.orders import ApplyVerdict, TargetResult
from squizzle.rollout.records import FleetTarget, PlannedVersion, RolloutKind, RolloutPlan, Stage, StagePlan
from squizzle.rollout.report import RolloutReport, StageOutcome, StageReport

TARGETS = tuple(FleetTarget(name=f"one/t{number:02}", server="one", database="t") for number in range(30))
STAGES = (
    StagePlan(stage=Stage(name="canary", percentage=50), targets=TARGETS[:15]),
    StagePlan(stage=Stage(name="full", percentage=100, approval_required=True), targets=TARGETS[15:]),
)
PLAN = RolloutPlan(
    fleet="shops",
    kind=RolloutKind.TARGETS,
    seed="",
    versions=(PlannedVersion(version="0001", checksum=""),),
    stages=STAGES,
    digest="",
)
DRY = RolloutReport(
    fleet="shops", rollout_id="r", plan=PLAN, started_at=datetime(2027, 1, 1, tzinfo=UTC), duration=timedelta(minutes=3)
)


def result(target: FleetTarget, error: str = "") -> TargetResult:
    verdict = ApplyVerdict.FAILED if error else ApplyVerdict.APPLIED
    return TargetResult(target=target, verdict=verdict, error=error)


def test_a_dry_run_says_so_and_which_stages_ask() -> None:
    text = rollout_markdown(DRY)

    assert rollout_summary(DRY) == "Rollout of 0001 to shops: a dry run, no target was changed"
    assert "| canary | 50 % | 15 | one look | stops | asks nobody |" in text
    assert "| full | 100 % | 15 | one look | stops | asks first |" in text
    assert "## What was done (3 min)" in text


def test_of_a_stage_all_that_failed_are_shown_first_and_the_others_are_counted() -> None:
    one_failed = (*map(result, TARGETS[:14]), result(TARGETS[14], "no room"))
    all_failed = tuple(result(one, "no room") for one in TARGETS[:15])
    stage = StageReport(name="canary", outcome=StageOutcome.STOPPED, results=one_failed, why="1 target failed")

    first = rollout_markdown(replace(DRY, stages=(stage,)))
    assert first.index("| one/t14 |") < first.index("| one/t00 |")
    assert "| one/t08 |" in first
    assert "| one/t09 |" not in first
    assert "… and 5 more: 5 applied" in first
    second = rollout_markdown(replace(DRY, stages=(replace(stage, results=all_failed),)))
    assert all(f"| {one.name} |" in second for one in TARGETS[:15])


def test_checks_that_found_nothing_are_counted() -> None:
    found = CheckFinding(place="one/t01", check="free disk", result=CheckResult.WARNING, detail="full")
    rows = (CheckRow(check="size", ok=30), CheckRow(check="free disk", ok=29, findings=(found,)))

    text = rollout_markdown(replace(DRY, checks=rows))
    assert "| free disk | warning | 29 | 1 | one/t01: full |" in text
    assert "| size |" not in text
    assert "1 of 2 checks found nothing." in text


def test_times_are_words_above_a_minute() -> None:
    assert seconds(timedelta(seconds=59.994)) == "59.99 s"
    assert seconds(timedelta(seconds=176.92)) == "2 min 57 s"
    assert seconds(None) == "not measured"
