"""What a state of RDS means for a snapshot: go on, wait, or give up. Pure."""

from __future__ import annotations

from enum import StrEnum


class Judgement(StrEnum):
    """What to do about a state."""

    READY = "ready"
    WAIT = "wait"
    FAILED = "failed"
    GONE = "gone"


# CreateDBSnapshot: the instance must be in one of these two.
_READY = frozenset({"available", "storage-optimization"})
# Amazon RDS User Guide, "Viewing Amazon RDS DB instance status": these pass by themselves.
_PASSING = frozenset(
    {
        "backing-up",
        "configuring-enhanced-monitoring",
        "configuring-iam-database-auth",
        "configuring-log-exports",
        "converting-to-vpc",
        "creating",
        "maintenance",
        "modifying",
        "moving-to-vpc",
        "rebooting",
        "renaming",
        "resetting-master-credentials",
        "starting",
        "storage-config-upgrade",
        "storage-initialization",
        "upgrading",
    }
)
_GONE = frozenset({"deleted", "deleting"})
_BROKEN_SNAPSHOT = frozenset({"failed", "incompatible-parameters", "incompatible-restore"})


def judge_instance(status: str) -> Judgement:
    """Whether a snapshot can be taken now. A state that nobody knows is no reason to wait for hours: it is refused."""
    if status in _READY:
        return Judgement.READY
    return Judgement.WAIT if status in _PASSING else Judgement.FAILED


def judge_snapshot(status: str) -> Judgement:
    """How a snapshot is doing. A state that nobody knows may pass; the deadline ends the wait."""
    if status == "available":
        return Judgement.READY
    if status in _GONE:
        return Judgement.GONE
    return Judgement.FAILED if status in _BROKEN_SNAPSHOT else Judgement.WAIT
