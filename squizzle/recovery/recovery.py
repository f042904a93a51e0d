"""A recovery: what it is called to do, what it calls its things, and when it may say that it succeeded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from squizzle.recovery.evidence import Evidence, Step


class RecoveryOutcome(StrEnum):
    """How a recovery ended."""

    NOTHING_TO_DO = "nothing_to_do"
    PLANNED = "planned"
    RECOVERED = "recovered"
    REFUSED = "refused"
    FAILED = "failed"
    COULD_NOT_VERIFY = "could_not_verify"


@dataclass(frozen=True, kw_only=True, slots=True)
class RecoveryNames:
    """What one recovery calls the databases that it makes or keeps.

    Attributes:
        restored: A backup restored beside the damaged database.
        kept: The damaged one after a switch-over.
    """

    restored: str
    kept: str

    def restored_again(self, number: int) -> str:
        """The name of the n-th backup that is restored: an earlier one may be kept under the name of its own."""
        return self.restored if number <= 1 else _short(self.restored, f"_{number}")


def recovery_names(database: str, started_at: datetime) -> RecoveryNames:
    """Names that tell whose they are and since when; at most 63 bytes (manual, "Identifiers")."""
    moment = f"{started_at.astimezone(UTC):%Y%m%dt%H%M%S}"
    return RecoveryNames(
        restored=_short(database, f"__r_{moment}"),
        kept=_short(database, f"__old_{moment}"),
    )


_NAME_BYTES = 63


def _short(database: str, suffix: str) -> str:
    return database.encode()[: _NAME_BYTES - len(suffix)].decode(errors="ignore") + suffix


@dataclass(frozen=True, kw_only=True, slots=True)
class RecoveryReport:
    """What a recovery did and found.

    Attributes:
        database: Which database.
        environment: Where.
        outcome: How it ended.
        reasons: Why, a sentence each.
        fenced: Whether clients are kept out now: of the database, or because an application of it is shut.
        started_at: When it began.
        steps: What was done, in order.
        evidence: What was found.
        holder: Whose the fences of this recovery are.
    """

    database: str
    environment: str
    outcome: RecoveryOutcome
    reasons: tuple[str, ...]
    fenced: bool
    started_at: datetime
    steps: tuple[Step, ...]
    evidence: Evidence
    holder: str = ""


def judge_recovery(evidence: Evidence, *, dry_run: bool) -> tuple[RecoveryOutcome, tuple[str, ...]]:
    """How a recovery ended, and why. Success needs a comparison that was made and found no difference. Pure."""
    plan = evidence.plan
    if evidence.refused or evidence.error:
        return _judge_break(evidence)
    if plan is None or evidence.assessment is None:
        return RecoveryOutcome.COULD_NOT_VERIFY, ("the damage was not assessed",)
    if plan.is_needed and not dry_run:
        return _judge_result(evidence)
    if plan.is_needed:
        return RecoveryOutcome.PLANNED, (plan.reason, *((plan.approval,) if plan.approval else ()))
    if evidence.verified:
        return RecoveryOutcome.RECOVERED, (f"by an earlier run of this recovery: {evidence.verified}", *evidence.failed)
    return RecoveryOutcome.NOTHING_TO_DO, (plan.reason, *evidence.failed)


def _judge_break(evidence: Evidence) -> tuple[RecoveryOutcome, tuple[str, ...]]:
    if evidence.refused:
        return RecoveryOutcome.REFUSED, (evidence.refused, *evidence.failed)
    done = () if evidence.verified is None else (f"what was recovered: {evidence.verified}",)
    return RecoveryOutcome.FAILED, (evidence.error, *done, *evidence.failed)


def _judge_result(evidence: Evidence) -> tuple[RecoveryOutcome, tuple[str, ...]]:
    differences = () if evidence.final is None else evidence.final.sentences()
    failures = (
        *(() if evidence.decisions else ("no way back was taken",)),
        *(f"differs: {one}" for one in differences if evidence.final and not evidence.final.is_equal),
        *(f"not carried over: {one}" for one in evidence.changed_properties or ()),
        *(() if evidence.recovered_at else ("clients were not let in again",)),
    )
    if failures:
        return RecoveryOutcome.FAILED, (*failures, *evidence.failed)
    if evidence.verified is None:
        return RecoveryOutcome.COULD_NOT_VERIFY, ("what was recovered was compared with nothing", *evidence.failed)
    return RecoveryOutcome.RECOVERED, (f"by {evidence.decisions[-1].way.words}: {evidence.verified}", *evidence.failed)
