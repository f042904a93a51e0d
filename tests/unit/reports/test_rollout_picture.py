"""What the picture of a rollout is made of, and that docs name every event."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from squizzle.reports.rollout_picture import Scale, rollout_picture
from squizzle.rollout.orders import ApplyVerdict, TargetResult
from squizzle.rollout.records import FleetTarget, PlannedVersion, RolloutKind, RolloutPlan, Stage, StagePlan
from squizzle.rollout.report import RolloutReport, StageOutcome, StageReport
from squizzle.rollout.transitions import Doing, Happening, Transition, spans_of

BEGIN = datetime(2026, 11, 27, 9, tzinfo=UTC)


def at(second: float) -> datetime:
    return BEGIN + timedelta(seconds=second)


def told(*happened: tuple[float, str]) -> tuple[Transition, ...]:
    return tuple(Transition(at=at(second), what=Happening(what), stage="canary") for second, what in happened)


def test_what_was_begun_and_not_ended_lasts_until_the_run_ended() -> None:
    happened = told((0, "stage-begun"), (0, "applying"), (1, "targets-done"), (2, "applied"), (2, "approval-awaited"))
    found = spans_of(happened, until=at(60))

    assert [(one.doing, one.end, one.ended) for one in found] == [
        (Doing.APPLYING, at(2), True),
        (Doing.APPROVAL, at(60), False),
    ]


def test_long_times_are_drawn_shorter_and_nothing_changes_places() -> None:
    scale = Scale.of([at(36000), at(0), at(4), at(36000)])

    assert (scale.at(at(-5)), scale.at(at(0)), scale.at(at(40000))) == (0.0, 0.0, 1.0)
    assert 4 / 36000 < scale.at(at(4)) < scale.at(at(5)) < scale.at(at(30000)) < 1.0


def test_a_run_that_did_something_is_drawn_and_a_dry_run_is_not() -> None:
    targets = tuple(FleetTarget(name=name, server="one", database=name) for name in "ab")
    stage = StagePlan(stage=Stage(name="canary", percentage=100), targets=targets)
    versions = (PlannedVersion(version="0001", checksum=""),)
    plan = RolloutPlan(fleet="shops", kind=RolloutKind.TARGETS, seed="", versions=versions, stages=(stage,), digest="")
    verdicts = (ApplyVerdict.APPLIED, ApplyVerdict.FAILED)
    results = tuple(
        TargetResult(target=one, verdict=verdict, ended_at=at(1))
        for one, verdict in zip(targets, verdicts, strict=True)
    )
    dry = RolloutReport(fleet="shops", rollout_id="r", plan=plan, started_at=BEGIN, duration=timedelta(seconds=9))
    assert rollout_picture(dry) == b""

    done = RolloutReport(
        fleet="shops",
        rollout_id="r",
        plan=plan,
        started_at=BEGIN,
        duration=timedelta(seconds=9),
        stages=(StageReport(name="canary", outcome=StageOutcome.TAKEN_BACK, results=results, taken_back=results),),
        transitions=told((0, "applying"), (1, "applied"), (1, "taking-back"), (3, "taken-back")),
    )
    assert rollout_picture(done).startswith(b"\x89PNG")


def test_every_event_is_in_the_docs(project_root: Path) -> None:
    page = (project_root / "docs" / "rollout.md").read_text(encoding="utf-8")

    assert [one.value for one in Happening if f"`{one.value}`" not in page] == []
