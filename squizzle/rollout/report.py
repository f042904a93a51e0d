"""What a rollout did, and who is where."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from squizzle.recovery.evidence import Step
from squizzle.rehearsal.records import Certificate
from squizzle.rollout.checks import CheckRow
from squizzle.rollout.orders import TargetResult
from squizzle.rollout.reconciling import Reconciliation
from squizzle.rollout.records import ExcludedTarget, RolloutPlan, TargetReport, TargetState
from squizzle.rollout.soak import SoakReport
from squizzle.rollout.transitions import Transition


class StageOutcome(StrEnum):
    """How a stage ended. Only behind the first two the next one begins."""

    DONE = "done"
    NOTHING_TO_DO = "nothing to do"
    STOPPED = "stopped"
    TAKEN_BACK = "taken back"
    NOT_TAKEN_BACK = "NOT WHOLLY TAKEN BACK"
    NOT_APPROVED = "not approved"


@dataclass(frozen=True, kw_only=True, slots=True)
class StageReport:
    """What became of one stage.

    Attributes:
        name: The stage's.
        outcome: In a word.
        results: What became of each target.
        taken_back: What became of each target that was taken back.
        secured: Backups and restore points that were made before, a clause each.
        approved: Who approved it, in a sentence; empty where nobody had to.
        soak: What watching it came to; None when it was not watched.
        why: Why it did not end well; empty when it did.
    """

    name: str
    outcome: StageOutcome
    results: tuple[TargetResult, ...] = ()
    taken_back: tuple[TargetResult, ...] = ()
    secured: tuple[str, ...] = ()
    approved: str = ""
    soak: SoakReport | None = None
    why: str = ""

    @property
    def is_done(self) -> bool:
        """Whether the next stage may begin."""
        return self.outcome in {StageOutcome.DONE, StageOutcome.NOTHING_TO_DO}


class RolloutOutcome(StrEnum):
    """`done`: every target has every version. `taken back`: none has any of it. `half-migrated`: between the two."""

    DONE = "done"
    NOTHING_TO_DO = "nothing to do"
    TAKEN_BACK = "taken back"
    HALF_MIGRATED = "half-migrated"
    NOT_BEGUN = "not begun"


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutReport:
    """What a run did.

    Attributes:
        fleet: The fleet's name.
        rollout_id: What the histories call it; empty when there was nothing to roll out.
        plan: Who is migrated when; None when there was nothing to roll out.
        started_at: When this run began.
        duration: How long it took.
        certificates: What proves the versions, oldest version first; none where nobody asks for them.
        checks: What was looked at before.
        stages: Those that were begun, in order.
        found: Every target as it was at the end.
        left_out: Targets of the fleet that were not in it, each with its reason.
        steps: What was done, in order.
        transitions: What happened when; only of a run that changed something.
        problem: What ended it; empty when nothing did.
        was_stopped: Whether somebody cancelled it, or its process was told to end.
        standing: Where every target stands, and both ways out; of a run that left the fleet half-migrated.
    """

    fleet: str
    rollout_id: str
    plan: RolloutPlan | None
    started_at: datetime
    duration: timedelta
    certificates: tuple[Certificate, ...] = ()
    checks: tuple[CheckRow, ...] = ()
    stages: tuple[StageReport, ...] = ()
    found: tuple[TargetReport, ...] = ()
    left_out: tuple[ExcludedTarget, ...] = ()
    steps: tuple[Step, ...] = ()
    transitions: tuple[Transition, ...] = ()
    problem: str = ""
    was_stopped: bool = False
    standing: Reconciliation | None = None

    @property
    def versions(self) -> tuple[str, ...]:
        """What is rolled out."""
        return tuple(one.version for one in self.plan.versions) if self.plan else ()

    def has_all(self, report: TargetReport) -> bool:
        """Whether a target has every version of the rollout."""
        return report.state is TargetState.READY and not set(self.versions) & set(report.pending)

    def has_some(self, report: TargetReport) -> bool:
        """Whether a target has a version of the rollout, or cannot say so."""
        if report.state is not TargetState.READY or not set(self.versions) <= set(report.pending):
            return True
        return any(one.version in self.versions for one in report.partly)

    @property
    def outcome(self) -> RolloutOutcome:
        """In a word, from what the targets say."""
        if self.plan is None:
            return RolloutOutcome.NOTHING_TO_DO
        placed = self.plan.stage_of
        mine = [one for one in self.found if one.target.name in placed]
        if mine and all(map(self.has_all, mine)):
            return RolloutOutcome.DONE
        if any(map(self.has_some, mine)):
            return RolloutOutcome.HALF_MIGRATED
        taken_back = any(one.taken_back for one in self.stages)
        return RolloutOutcome.TAKEN_BACK if taken_back else RolloutOutcome.NOT_BEGUN

    @property
    def is_well(self) -> bool:
        """Whether all was done that was asked for."""
        well = {RolloutOutcome.DONE, RolloutOutcome.NOTHING_TO_DO}
        return not self.problem and self.outcome in well and all(one.is_done for one in self.stages)
