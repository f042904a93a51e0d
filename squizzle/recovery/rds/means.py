"""What RDS keeps of an instance that a database can be brought back from. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from squizzle.backups.proofs import Verdict
from squizzle.backups.rds.service import PATIENT, Waiting
from squizzle.backups.records import BackupKind
from squizzle.errors import CloudError
from squizzle.recovery.rds.service import InstanceService, RecoveryApi
from squizzle.recovery.ways import BackupMeans, CloudMeans


def find_cloud(
    client: RecoveryApi,
    instance: str,
    backups: Iterable[BackupMeans],
    *,
    struck: datetime | None,
    waiting: Waiting = PATIENT,
) -> tuple[CloudMeans, ...]:
    """The snapshots of a database that have a manifest, and the moment right before a disaster.

    Args:
        client: Of boto3, for RDS (`open_rds`).
        instance: The instance that the database is on.
        backups: Of the database, newest first.
        struck: When the disaster began; None when nobody knows.
        waiting: Deadline and pace.
    """
    snapshots = tuple(_snapshot(one) for one in backups if one.backup and one.backup.kind is BackupKind.RDS)
    return (*snapshots, *_moment(client, instance, struck, waiting))


def _snapshot(one: BackupMeans) -> CloudMeans:
    if one.backup is None:
        raise AssertionError("only backups with a manifest come here")
    problem = "; ".join(one.problems)
    if not problem and one.verified is not None and one.verified.verdict is Verdict.FAIL:
        problem = f"it failed its last check: {one.verified.sentences[0] if one.verified.sentences else 'files'}"
    return CloudMeans(name=f"snapshot {one.id}", at=one.backup.started_at, problem=problem, backup_id=one.id)


def _moment(client: RecoveryApi, instance: str, struck: datetime | None, waiting: Waiting) -> tuple[CloudMeans, ...]:
    """The whole second before the disaster: RDS goes to seconds."""
    if struck is None:
        return ()
    at = (struck - timedelta(microseconds=1)).replace(microsecond=0)
    name = f"{instance} to {at:%Y-%m-%d %H:%M:%S %Z}"
    try:
        found = InstanceService(client, waiting, lambda _progress: None).find(instance)
    except CloudError as exc:
        return (CloudMeans(name=name, at=at, problem=exc.message),)
    problem = ""
    if found is None:
        problem = f"there is no instance {instance}"
    elif not found.document.get("BackupRetentionPeriod"):
        problem = "the instance keeps no automated backups"
    elif (made := found.document.get("InstanceCreateTime")) and at < datetime.fromisoformat(str(made)):
        problem = f"the instance was made only at {made}"
    return (CloudMeans(name=name, at=at, problem=problem, resource_id=found.facts.resource_id if found else ""),)
