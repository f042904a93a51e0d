"""What a person reads who is asked whether a stage may begin."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from squizzle.backups.records import Backup
from squizzle.recovery.ways import Way
from squizzle.rehearsal.lock_forecast_records import QueueForecast, QueueVerdict
from squizzle.rehearsal.records import ProvenWay
from squizzle.reports.stage_question import StageFacts, stage_question
from squizzle.rollout.foresight import TargetForecast, sample_targets
from squizzle.rollout.records import FleetTarget, PlannedVersion, RolloutKind, RolloutPlan, Stage, StagePlan
from tests.support.certificates import certificate_of

TARGETS = tuple(FleetTarget(name=f"t{number}", server="one", database=f"t{number}") for number in range(9))


def test_a_question_says_what_ways_back_take_and_lose_and_who_would_wait_where(backup: Backup) -> None:
    stage = StagePlan(stage=Stage(name="full", percentage=100), targets=TARGETS)
    versions = (PlannedVersion(version="0002", checksum=""), PlannedVersion(version="0003", checksum=""))
    plan = RolloutPlan(fleet="shops", kind=RolloutKind.TARGETS, seed="", versions=versions, stages=(stage,), digest="d")
    certificate = replace(
        certificate_of(backup),
        ways=(
            ProvenWay(way=Way.ROLL_BACK, executed=True, complete=True, duration=timedelta(seconds=2), detail=""),
            ProvenWay(way=Way.RESTORE_BESIDE, executed=True, complete=True, duration=timedelta(seconds=50), detail=""),
            ProvenWay(way=Way.SWAP, executed=False, complete=False, duration=None, detail="no room for a copy"),
        ),
    )
    forecast = QueueForecast(
        database="t4",
        at=datetime(2026, 11, 27, tzinfo=UTC),
        sentence="80 sessions wait for orders",
        verdict=QueueVerdict.QUEUE,
        sessions=80,
        at_most=80,
        clients=90,
        limit=100,
        used=95,
        basis="",
        queues=(),
        advice=("end session 7 first",),
        not_seen=(),
    )
    forecasts = (
        TargetForecast(target=TARGETS[0], why="no answer"),
        TargetForecast(target=TARGETS[4], forecast=forecast),
        TargetForecast(target=TARGETS[8]),
    )
    facts = StageFacts(certificates={"0002": certificate}, forecasts=forecasts, links={"checks": "http://ui/c"})
    question = stage_question(stage, plan, "r", facts, name_to_type="")

    for line in (
        "| 0002 | roll back | 2.00 s | nothing |",
        "| 0002 | restore beside | 50.00 s | what was written since the backup |",
        "| 0002 | swap | not measured | not known: no room for a copy |",
        "- 0003: no certificate, so no way back was measured",
        "## If it ran now, at 3 of 9 targets",
        "| t0 | could not be told | no answer |",
        "| t4 | would queue | 80 sessions wait for orders |",
        "| t8 | nothing to run |  |",
        "- t4: end session 7 first",
        "More: [checks](http://ui/c)",
    ):
        assert line in question.plan
    # Nobody is asked anew because others wait now.
    assert question.digest == stage_question(stage, plan, "r", StageFacts(), name_to_type="").digest


def test_targets_that_are_looked_at_are_spread_and_the_last_one_is_among_them() -> None:
    assert [one.name for one in sample_targets(TARGETS, 3)] == ["t0", "t4", "t8"]
    assert sample_targets(TARGETS[:2], 3) == TARGETS[:2]
