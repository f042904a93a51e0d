"""The snapshots that Squizzle made: listing and deleting them. Automated ones and other people's are never touched."""

from __future__ import annotations

from squizzle.backups.rds.naming import ID_TAG, is_ours
from squizzle.backups.rds.records import SnapshotFacts
from squizzle.backups.rds.service import PATIENT, RdsApi, RdsService, Waiting
from squizzle.errors import InvalidInputError, RefusedError


def list_rds_snapshots(
    client: RdsApi, *, instance: str | None = None, waiting: Waiting = PATIENT
) -> tuple[SnapshotFacts, ...]:
    """The manual snapshots with our tag, newest first. Nothing is changed.

    Args:
        client: Of boto3, for RDS (`open_rds`).
        instance: Only of the instance of this name; None for all of the account in this Region.
        waiting: Deadline and pace.

    Raises:
        CloudError, CloudUnavailableError: AWS did not say.
    """
    ours = [one for one in RdsService(client, waiting).snapshots(instance) if is_ours(one)]
    # One that RDS gives no moment yet has just begun.
    newest_first = sorted(ours, key=lambda one: (one.created_at is None, one.created_at or waiting.now()), reverse=True)
    return tuple(newest_first)


def delete_rds_snapshot(client: RdsApi, identifier: str, *, resource_id: str, waiting: Waiting = PATIENT) -> None:
    """Delete one snapshot of ours, for good. The instance and its automated backups stay as they are.

    Args:
        client: Of boto3, for RDS (`open_rds`).
        identifier: The snapshot's.
        resource_id: `DbiResourceId` of the instance that it must be of; its name may belong to another one by now.
        waiting: Deadline and pace.

    Raises:
        InvalidInputError: There is no such snapshot.
        RefusedError: It is automated, not of our making, or of another instance; it stays.
        CloudError, CloudUnavailableError: AWS refused or stayed out of reach; it may be there still.
    """
    service = RdsService(client, waiting)
    found = service.snapshot(identifier)
    if found is None:
        raise InvalidInputError(
            f"there is no snapshot {identifier} in this Region", hint="`aws rds describe-db-snapshots` lists them"
        )
    reason = _why_not(found, resource_id)
    if reason:
        raise RefusedError(
            f"the snapshot {identifier} is not deleted: {reason}; it was left as it is",
            hint="if it really may go: `aws rds delete-db-snapshot`, by hand",
        )
    service.outcome = f"the snapshot {identifier} may be there still"
    service.delete(identifier)


def _why_not(found: SnapshotFacts, resource_id: str) -> str:
    if found.kind != "manual":
        return f"it is {found.kind or 'of an unknown kind'}, not manual"
    if not is_ours(found):
        return f"it has no tag {ID_TAG}, so Squizzle did not make it"
    if found.resource_id != resource_id:
        return f"it is of the instance {found.resource_id or '(unknown)'}, not of {resource_id}"
    return ""
