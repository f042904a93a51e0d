"""What travels about recoveries on their own: what was found, what was done, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from squizzle.incidents.failure import Failure
from squizzle.incidents.records import Incident
from squizzle.recovery.evidence import Step


class AttemptOutcome(StrEnum):
    """How it ended.

    `taken back`: and compared. `not now`: somebody is at work, or said hands off; the next run looks again. `left to a
    person`: nothing was done. `failed`: something was tried and did not help. `tried before`: there is one try for an
    incident. `well`: nothing has failed any more.
    """

    TAKEN_BACK = "taken back"
    NOT_NOW = "not now"
    LEFT = "left to a person"
    FAILED = "failed"
    TRIED_BEFORE = "tried before"
    WELL = "well"


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """What became of one target at which a migration failed.

    Attributes:
        incident: Its incident.
        outcome: How it ended.
        why: What shows that it is well, or why nothing was done, or what failed.
        failure: What had failed; None where that was not looked at.
        notes: What else a person should know, a sentence each.
        steps: What was done, in order.
        is_heard: Whether somebody was told of it, where people are.
    """

    incident: Incident
    outcome: AttemptOutcome
    why: str
    failure: Failure | None = None
    notes: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    is_heard: bool = True

    @property
    def needs_a_person(self) -> bool:
        """Whether somebody has to look now."""
        return self.outcome in {AttemptOutcome.LEFT, AttemptOutcome.FAILED}

    @property
    def is_told(self) -> bool:
        """Whether people are told of it: of what was done, or that a person has to look."""
        return self.needs_a_person or self.outcome is AttemptOutcome.TAKEN_BACK
