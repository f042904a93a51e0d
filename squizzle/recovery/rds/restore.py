"""A new instance beside the damaged one, from a snapshot or as of a moment, set to what the old one was set to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from squizzle.backups.rds.service import PATIENT, Waiting
from squizzle.errors import InvalidInputError, RefusedError
from squizzle.recovery.rds.service import Found, InstanceService, RecoveryApi, Tell
from squizzle.recovery.rds.settings import Document, differences, modify_arguments, not_carried, restore_arguments

RESTORE_TAG = "squizzle:restored-from"
_HASH_CHARACTERS = 16
_IN_SYNC = "in-sync"
_NEEDS_REBOOT = "pending-reboot"
_SETTLING = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoredInstance:
    """A new instance beside the old one; nobody uses it yet.

    Attributes:
        identifier: Its name.
        resource_id: The same, by the id that stays.
        endpoint: Its host.
        port: Its TCP port.
        differences: Settings in which it is not as the old one was, one sentence each.
        not_carried: What comes along with no restore, for whoever goes on by hand.
        is_adopted: Whether an earlier try had asked for it already.
        duration: Until it was there with its settings. Its disk is filled from the snapshot as it is read: the first
            reads are slow (Amazon RDS User Guide, "Restoring to a DB instance").
    """

    identifier: str
    resource_id: str
    endpoint: str
    port: int
    differences: tuple[str, ...]
    not_carried: tuple[str, ...]
    is_adopted: bool
    duration: timedelta


def restore_snapshot(
    client: RecoveryApi,
    snapshot_arn: str,
    *,
    into: str,
    like: Document,
    waiting: Waiting = PATIENT,
    tell: Tell = lambda _progress: None,
) -> RestoredInstance:
    """Make a new instance from a snapshot, and wait until it is there with every setting. No other one is touched.

    Safe to repeat: an instance of that name that an earlier try made of the same snapshot is taken over.

    Args:
        client: Of boto3, for RDS (`open_rds`).
        snapshot_arn: The snapshot's ARN (`details["arn"]` of a backup's manifest).
        into: The new instance's name.
        like: What it is to be set to (`read_document` of the backup's `instance.json`).
        waiting: Deadline and pace.
        tell: Called at every look.

    Raises:
        RefusedError: An instance of that name is there that is not of this snapshot; it is left.
        CloudError: RDS refused, or the new instance failed; the message says whether one is being made.
        CloudUnavailableError: The deadline passed, or AWS stayed out of reach; the same call goes on.
    """
    service = InstanceService(client, waiting, tell)
    tags = {RESTORE_TAG: _mark("snapshot", snapshot_arn, into)}
    arguments = {
        **restore_arguments(like, in_time=False, tags=tags),
        "DBInstanceIdentifier": into,
        "DBSnapshotIdentifier": snapshot_arn,
    }
    ask = _Request(call=client.restore_db_instance_from_db_snapshot, arguments=arguments, tags=tags)
    return _made(service, ask, into=into, like=like)


def restore_to_time(
    client: RecoveryApi,
    source: str,
    *,
    resource_id: str,
    at: datetime,
    into: str,
    waiting: Waiting = PATIENT,
    tell: Tell = lambda _progress: None,
) -> RestoredInstance:
    """Make a new instance as the source was at a moment, and wait until it is there. The source is not touched.

    RDS knows moments alone, no positions in the log and no names. A moment that is too new is waited for.

    Args:
        client: Of boto3, for RDS (`open_rds`).
        source: The source's name.
        resource_id: The source must be this one.
        at: The moment, with its time zone.
        into: The new instance's name.
        waiting: Deadline and pace.
        tell: Called at every look.

    Raises:
        InvalidInputError: The moment lies in the future or before the source was made, or the source keeps no
            automated backups; nothing was changed.
        RefusedError: The source is another one, or an instance of the new name is there that is not of this moment.
        CloudError, CloudUnavailableError: As for `restore_snapshot`.
    """
    service = InstanceService(client, waiting, tell)
    moment = at.astimezone(UTC)
    like = _until_restorable(service, source, resource_id, moment, now=waiting.now())
    tags = {RESTORE_TAG: _mark("time", resource_id, moment.isoformat(), into)}
    arguments = {
        **restore_arguments(like, in_time=True, tags=tags),
        "SourceDBInstanceIdentifier": source,
        "TargetDBInstanceIdentifier": into,
        "RestoreTime": moment,
    }
    ask = _Request(call=client.restore_db_instance_to_point_in_time, arguments=arguments, tags=tags)
    return _made(service, ask, into=into, like=like)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    """What RDS is asked for, and how the instance that comes of it is known again."""

    call: Callable[..., Mapping[str, Any]]
    arguments: Mapping[str, Any]
    tags: Mapping[str, str]


def _made(service: InstanceService, ask: _Request, *, into: str, like: Document) -> RestoredInstance:
    found = service.find(into)
    is_adopted = found is not None
    if found is None:
        # A lost reply, and the repeated request, end here, too: whose it is, is looked at below.
        service.leave(f"an instance {into} may be being made, the same command takes it over")
        doing = f"restore to a new instance {into}"
        is_adopted = not service.request(doing, ask.call, ask.arguments, fine=["DBInstanceAlreadyExists"])
    service.leave(f"the new instance {into} stays, the same command goes on with it; the old one was not touched")
    found = found or _shown(service, into)
    _refuse_foreign(found, ask.tags)
    ready = service.until_ready(into, resource_id=found.facts.resource_id)
    ready = _settle(service, ready, like)
    return RestoredInstance(
        identifier=ready.facts.identifier,
        resource_id=ready.facts.resource_id,
        endpoint=ready.facts.endpoint,
        port=int(ready.document.get("Endpoint", {}).get("Port", 0)),
        differences=differences(like, ready.document),
        not_carried=not_carried(like),
        is_adopted=is_adopted,
        duration=service.elapsed,
    )


def _shown(service: InstanceService, into: str) -> Found:
    while True:
        found = service.find(into)
        if found is not None:
            return found
        service.pause(f"the instance {into}", "not shown yet")


def _refuse_foreign(found: Found, tags: Mapping[str, str]) -> None:
    there = {one["Key"]: one.get("Value", "") for one in found.document.get("TagList", ())}
    if any(there.get(key) != value for key, value in tags.items()):
        raise RefusedError(
            f"an instance {found.facts.identifier} exists that was not restored from what was asked for; it was left",
            hint="choose another name for the new instance",
        )


def _settle(service: InstanceService, ready: Found, like: Document) -> Found:
    """Change what the restore could not be told, until nothing is pending."""
    into = ready.facts.identifier
    changes = modify_arguments(like, ready.document)
    if changes:
        change = _Change(
            doing=f"set {', '.join(sorted(changes))} of {into}",
            call=service.client.modify_db_instance,
            arguments={"DBInstanceIdentifier": into, "ApplyImmediately": True, **changes},
            is_done=lambda found: not modify_arguments(like, found),
        )
        ready = _carry_out(service, ready, change)
    if _needs_reboot(ready.document):  # nobody uses it yet
        change = _Change(
            doing=f"reboot {into}",
            call=service.client.reboot_db_instance,
            arguments={"DBInstanceIdentifier": into},
            is_done=lambda found: not _needs_reboot(found),
        )
        ready = _carry_out(service, ready, change)
    return ready


@dataclass(frozen=True, kw_only=True, slots=True)
class _Change:
    """Something that RDS is asked to do to the new instance."""

    doing: str
    call: Callable[..., Mapping[str, Any]]
    arguments: Mapping[str, Any]
    is_done: Callable[[Document], bool]


def _carry_out(service: InstanceService, before: Found, change: _Change) -> Found:
    """Ask until RDS takes it, then look until it is done with nothing pending.

    RDS goes on to say `available` for a moment after a request. What it never does, the comparison shows.
    """
    into, resource_id = before.facts.identifier, before.facts.resource_id
    while not service.request(change.doing, change.call, change.arguments, fine=["InvalidDBInstanceState"]):
        service.pause(f"the instance {into}", "busy")
        service.until_ready(into, resource_id=resource_id)
    asked_at = service.elapsed
    while True:
        ready = service.until_ready(into, resource_id=resource_id)
        pending = sorted(ready.document.get("PendingModifiedValues") or {})
        groups = {one.get("ParameterApplyStatus") for one in ready.document.get("DBParameterGroups", ())}
        is_over = change.is_done(ready.document) or service.elapsed - asked_at >= _SETTLING
        if is_over and not pending and groups <= {_IN_SYNC, _NEEDS_REBOOT}:
            return ready
        service.pause(f"the instance {into}", f"still changing {', '.join(pending) or 'its settings'}")


def _needs_reboot(document: Document) -> bool:
    groups = document.get("DBParameterGroups", ())
    return any(one.get("ParameterApplyStatus") == _NEEDS_REBOOT for one in groups)


def _until_restorable(
    service: InstanceService, source: str, resource_id: str, moment: datetime, *, now: datetime
) -> Document:
    """What RDS says about the source, once its automated backups reach up to the moment."""
    if moment > now:
        raise InvalidInputError(
            f"{moment:%Y-%m-%d %H:%M:%S %Z} lies in the future; nothing was changed",
            hint="name a moment that has passed",
        )
    while True:
        found = service.find(source)
        if found is None or found.facts.resource_id != resource_id:
            there = found.facts.resource_id if found else "none"
            raise RefusedError(
                f"{source} is not the instance {resource_id} that was meant, but {there}; nothing was changed",
                hint="look at `aws rds describe-db-instances`; it may have been renamed",
            )
        latest = found.facts.latest_restorable_at
        if latest is None or not found.document.get("BackupRetentionPeriod"):
            raise InvalidInputError(
                f"{source} keeps no automated backups, so there is no going back to a moment; nothing was changed",
                hint="restore a snapshot; `squizzle backups` lists them",
            )
        made = found.document.get("InstanceCreateTime")
        if made and moment < datetime.fromisoformat(str(made)):
            raise InvalidInputError(
                f"{source} was made only at {made}, after {moment.isoformat()}; nothing was changed",
                hint="restore a snapshot of the instance before it",
            )
        if moment <= latest:
            return found.document
        service.pause(f"the automated backups of {source} to reach {moment:%H:%M:%S %Z}", f"at {latest:%H:%M:%S %Z}")


def _mark(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:_HASH_CHARACTERS]
