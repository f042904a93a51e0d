"""What a rollout's check of disks needs from elsewhere: how big what was rehearsed was, and what a cloud says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from squizzle.backups.rds.access import HostKind, RdsAccess, read_host
from squizzle.backups.records import SIZE_DETAIL
from squizzle.errors import BackupDamagedError, CloudError, InvalidInputError, ToolError
from squizzle.rehearsal.records import Certificate
from squizzle.rollout.disk import FreeSpace, ScriptNeed, script_need
from tasks.rollout_case import RolloutCase

# It is one of many checks; CloudWatch answers within a second.
_DEADLINE, _OUTAGE = timedelta(minutes=1), timedelta(seconds=10)


def needs_of(case: RolloutCase, certificates: Mapping[str, Certificate]) -> dict[str, ScriptNeed]:
    """What versions wrote in their rehearsals, and how big the database was."""
    sizes = {one.backup_id: _size_of(case, one.backup_id) for one in certificates.values()}
    found = {version: script_need(one, sizes[one.backup_id]) for version, one in certificates.items()}
    return {version: need for version, need in found.items() if need is not None}


def _size_of(case: RolloutCase, backup_id: str) -> int | None:
    if case.store is None:
        return None
    try:
        return int(case.store.open().read(backup_id).details.get(SIZE_DETAIL, "0")) or None
    except (InvalidInputError, BackupDamagedError, ToolError, CloudError):
        return None  # removed since, damaged or locked: what was written is taken as it was measured


def ask_rds(host: str) -> FreeSpace | None:
    """What CloudWatch says about an instance of RDS; None where the host's name is none of one."""
    found = read_host(host)
    if found is None or found.kind is not HostKind.INSTANCE:
        return None
    from squizzle.backups.rds.instance import InstanceSnapshots  # noqa: PLC0415 - boto3 costs 200 ms
    from squizzle.backups.rds.service import Waiting  # noqa: PLC0415 - same

    waiting = Waiting(deadline=_DEADLINE, outage=_OUTAGE)
    try:
        space = InstanceSnapshots(RdsAccess(region=found.region), found.name, waiting=waiting).space()
    except (CloudError, InvalidInputError) as exc:
        return FreeSpace(free_bytes=None, told_by=exc.message)
    told = "CloudWatch" if space.measured_at is None else f"CloudWatch at {space.measured_at:%H:%M} UTC"
    return FreeSpace(
        free_bytes=space.free_bytes, told_by=space.missing or told, total_bytes=space.allocated_bytes or None
    )
