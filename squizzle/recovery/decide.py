"""Which way back to take. Pure: the same facts always give the same decision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from squizzle.backups.records import Backup
from squizzle.recovery.assess import Assessment


class Way(StrEnum):
    """A way back."""

    NOTHING_TO_DO = "nothing_to_do"
    ROLL_BACK = "roll_back"
    RESTORE_BESIDE = "restore_beside"
    NONE_LEFT = "none_left"


@dataclass(frozen=True, kw_only=True, slots=True)
class RollbackAttempt:
    """What became of running the down scripts.

    Attributes:
        versions: What was to be rolled back, newest first.
        error: Why it failed; empty when every script ran.
        remaining: Damage that is still there afterwards.
    """

    versions: tuple[str, ...]
    error: str
    remaining: tuple[str, ...]

    @property
    def brought_back(self) -> bool:
        """Whether schema and rows are back."""
        return not self.error and not self.remaining


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """The way to take, and why this one."""

    way: Way
    reason: str


def decide_recovery(
    assessment: Assessment, *, rollback: RollbackAttempt | None, has_down_scripts: bool, backup: Backup | None
) -> Decision:
    """Choose the cheapest way back that is left: down scripts first, then a restore beside.

    Args:
        assessment: What is damaged.
        rollback: What came of the down scripts; None when they were not tried.
        has_down_scripts: Whether every version applied since the backup has one.
        backup: The backup to restore; None when there is none.
    """
    if not assessment.damage and not assessment.applied_since:
        return Decision(way=Way.NOTHING_TO_DO, reason="the database is as the backup says")
    if rollback is None and assessment.applied_since and has_down_scripts:
        versions = ", ".join(assessment.applied_since)
        return Decision(way=Way.ROLL_BACK, reason=f"{versions} came after the backup and can be rolled back in place")
    if rollback is not None and rollback.brought_back:
        return Decision(way=Way.NOTHING_TO_DO, reason="the down scripts brought everything back")
    if backup is None:
        return Decision(way=Way.NONE_LEFT, reason="no way back is left: there is no backup")
    return Decision(way=Way.RESTORE_BESIDE, reason=_why_restore(rollback))


def _why_restore(rollback: RollbackAttempt | None) -> str:
    if rollback is None:
        return "no down script can be run, so the backup is the way back"
    if rollback.error:
        return f"the down script failed ({rollback.error}), so the backup is the way back"
    return (
        f"the down script ran and did not bring the data back ({rollback.remaining[0]}), so the backup is the way back"
    )
