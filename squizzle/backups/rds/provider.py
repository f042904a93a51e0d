"""Snapshots of RDS as the catalogue sees them: is it still there, and away with it. boto3 is loaded when one is met."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from squizzle.backups.proofs import Verdict
from squizzle.backups.provider import Finding
from squizzle.backups.rds.access import RdsAccess
from squizzle.backups.records import ALLOCATED_DETAIL, Backup
from squizzle.errors import BackupDamagedError, CloudError

if TYPE_CHECKING:
    from squizzle.backups.rds.client import RdsClients
    from squizzle.backups.rds.records import SnapshotFacts
    from squizzle.backups.rds.service import Waiting

_AVAILABLE = "available"
# arn:partition:service:region:account:kind:name
_ARN_PARTS = 7
_ARN_REGION = 3


class RdsProvider:
    """A `Provider`.

    Args:
        access: Account and role; the Region is that of each snapshot.
        waiting: Deadline and pace; None as always.
    """

    def __init__(self, access: RdsAccess | None = None, *, waiting: Waiting | None = None) -> None:
        self._access = access or RdsAccess()
        self._waiting = waiting
        self._opened: dict[str, RdsClients] = {}

    def look(self, backup: Backup) -> Finding:
        """See `Provider`: it must be available, under the same ARN, of the same instance and size."""
        try:
            name, found = self._snapshot(backup)
        except CloudError as exc:
            return Finding(verdict=Verdict.COULD_NOT_VERIFY, sentences=(exc.message,))
        except BackupDamagedError as exc:
            return Finding(verdict=Verdict.FAIL, sentences=(exc.message,))
        if found is None:
            return Finding(verdict=Verdict.FAIL, sentences=(f"the snapshot {name} is gone from RDS",))
        wrong = _differences(backup, found)
        return Finding(
            verdict=Verdict.FAIL if wrong else Verdict.PASS,
            sentences=wrong,
            details={"snapshot": found.status, "percent": str(found.percent)},
        )

    def remove(self, backup: Backup) -> None:
        """See `Provider`."""
        from squizzle.backups.rds.service import PATIENT  # noqa: PLC0415 - boto3 costs 200 ms
        from squizzle.backups.rds.snapshots import delete_rds_snapshot  # noqa: PLC0415

        name, found = self._snapshot(backup)
        if found is not None:
            client = self._clients(backup).rds
            resource_id = backup.details.get("resource_id", "")
            delete_rds_snapshot(client, name, resource_id=resource_id, waiting=self._waiting or PATIENT)

    def _snapshot(self, backup: Backup) -> tuple[str, SnapshotFacts | None]:
        from squizzle.backups.rds.service import PATIENT, RdsService  # noqa: PLC0415 - boto3 costs 200 ms

        name = _arn_of(backup)[-1]
        return name, RdsService(self._clients(backup).rds, self._waiting or PATIENT).snapshot(name)

    def _clients(self, backup: Backup) -> RdsClients:
        from squizzle.backups.rds.client import open_rds  # noqa: PLC0415 - boto3 costs 200 ms

        region = _arn_of(backup)[_ARN_REGION]
        if region not in self._opened:
            self._opened[region] = open_rds(replace(self._access, region=region))
        return self._opened[region]


def _arn_of(backup: Backup) -> list[str]:
    parts = backup.details.get("arn", "").split(":")
    if len(parts) != _ARN_PARTS:
        raise BackupDamagedError(
            f"the manifest of {backup.id} does not say which snapshot of RDS it is of", hint="use another backup"
        )
    return parts


def _differences(backup: Backup, found: SnapshotFacts) -> tuple[str, ...]:
    wanted = backup.details
    pairs = (
        ("status", found.status, _AVAILABLE),
        ("ARN", found.arn, wanted.get("arn", "")),
        ("instance", found.resource_id, wanted.get("resource_id", "")),
        ("size of storage in bytes", str(found.allocated_bytes), wanted.get(ALLOCATED_DETAIL, "")),
        ("KMS key", found.kms_key_id, wanted.get("kms_key_id", "")),
    )
    return tuple(
        f"the snapshot {found.identifier} has another {what}: {there or 'none'}, expected {expected or 'none'}"
        for what, there, expected in pairs
        if there != expected
    )
