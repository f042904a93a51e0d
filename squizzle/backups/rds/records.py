"""What travels about an instance of RDS and its snapshots. Knows nothing of boto3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from squizzle.errors import InvalidInputError


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotPurpose:
    """What a snapshot is taken for. The same purpose on the same instance is the same snapshot.

    Attributes:
        run_id: Of the run that takes it; a retry of the run gives the same one. Never empty.
        migration_version: The version that is about to be applied; None when it is for none.
        rollout_id: The rollout it belongs to; None when it belongs to none.

    Raises:
        InvalidInputError: The run has no id, so a retry could not find its own snapshot again.
    """

    run_id: str
    migration_version: str | None = None
    rollout_id: str | None = None

    def __post_init__(self) -> None:
        if not self.run_id.strip():
            raise InvalidInputError(
                "a snapshot needs the id of the run that takes it",
                hint="give the same id again when the run is retried",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceFacts:
    """An instance as RDS describes it (Amazon RDS API Reference, DBInstance).

    Attributes:
        identifier: Its name, in lower case.
        resource_id: `DbiResourceId`: stays with the instance when it is renamed, and never comes back.
        status: Such as `available`.
        engine: Such as `postgres`.
        engine_version: Such as `16.4`.
        cluster: The cluster that it is a member of; empty for an instance of its own.
        allocated_bytes: Size of its storage.
        max_allocated_bytes: How far RDS lets the storage grow by itself; None when it does not.
        latest_restorable_at: Recovery to a point in time reaches up to here; None without automated backups.
        settings: The whole answer as JSON, without passwords: what a restore is to be compared with.
        endpoint: The host's name; empty while it is being made.
    """

    identifier: str
    resource_id: str
    status: str
    engine: str
    engine_version: str
    cluster: str
    allocated_bytes: int
    max_allocated_bytes: int | None
    latest_restorable_at: datetime | None
    settings: str
    endpoint: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotFacts:
    """A snapshot as RDS describes it (Amazon RDS API Reference, DBSnapshot).

    Attributes:
        identifier: Its name.
        arn: Its name in the whole of AWS.
        instance: The instance it is of, by the name that it had.
        resource_id: The same, by the id that stays; empty when RDS does not say.
        status: Such as `creating`, `available`, `failed`.
        percent: How much of it is done, 0 to 100.
        kind: `manual`, `automated`, `awsbackup`.
        created_at: The moment that it holds; None until RDS says.
        allocated_bytes: Size of the storage that it was taken of; what is billed is less.
        engine_version: Of the server.
        is_encrypted: Whether it is encrypted.
        kms_key_id: The key; empty when it is not encrypted.
        tags: As they are.
    """

    identifier: str
    arn: str
    instance: str
    resource_id: str
    status: str
    percent: int
    kind: str
    created_at: datetime | None
    allocated_bytes: int
    engine_version: str
    is_encrypted: bool
    kms_key_id: str
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotProgress:
    """A sign of life while RDS works.

    Attributes:
        doing: What is waited for.
        status: What RDS says.
        percent: Of the snapshot, 0 to 100; None while it has not begun.
        elapsed: Since it was asked for.
    """

    doing: str
    status: str
    percent: int | None
    elapsed: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class RdsSnapshot:
    """A finished snapshot and everything that its manifest says.

    Attributes:
        identifier: Its name.
        arn: Its name in the whole of AWS.
        instance: The instance it is of.
        resource_id: The same, by the id that stays.
        started_at: The moment that it holds: everything committed before is in, nothing after.
        finished_at: When it was seen to be available.
        size_bytes: Size of the storage that it was taken of.
        engine: Such as `postgres`.
        engine_version: Such as `16.4`.
        is_encrypted: Whether it is encrypted.
        kms_key_id: The key; a restore needs it. Empty when it is not encrypted.
        latest_restorable_at: Recovery to a point in time reached up to here when the snapshot was asked for; None
            without automated backups.
        is_adopted: Whether an earlier try had asked for it already.
        settings: What RDS said about the instance, as JSON, without passwords.
        tags: As they were set.
    """

    identifier: str
    arn: str
    instance: str
    resource_id: str
    started_at: datetime
    finished_at: datetime
    size_bytes: int
    engine: str
    engine_version: str
    is_encrypted: bool
    kms_key_id: str
    latest_restorable_at: datetime | None
    is_adopted: bool
    settings: str
    tags: Mapping[str, str]

    @property
    def duration(self) -> timedelta:
        """From the moment that it holds until it was seen to be available."""
        return max(self.finished_at - self.started_at, timedelta(0))

    def details(self) -> Mapping[str, str]:
        """What a manifest says of this kind alone (`Backup.details`); the settings are a file of the backup."""
        restorable = self.latest_restorable_at
        return {
            "snapshot": self.identifier,
            "arn": self.arn,
            "instance": self.instance,
            "resource_id": self.resource_id,
            "engine": self.engine,
            "engine_version": self.engine_version,
            "allocated_bytes": str(self.size_bytes),
            "kms_key_id": self.kms_key_id,
            "latest_restorable_at": restorable.isoformat() if restorable else "",
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotQuota:
    """How many manual snapshots the account has in this Region, and may have."""

    used: int
    allowed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RdsSpace:
    """The room of an instance.

    Attributes:
        free_bytes: At the newest measurement, the least of its minute; None when there is none. Never 0 for unknown.
        measured_at: When; None when there is none.
        allocated_bytes: Size of the storage.
        growth_bytes: How far RDS lets it grow by itself (`MaxAllocatedStorage`). It grows in steps hours apart, so this
            is no room for something that fills the disk quickly. 0 when it does not grow.
        missing: Why there is no measurement, and what to do; empty when there is one.
    """

    free_bytes: int | None
    measured_at: datetime | None
    allocated_bytes: int
    growth_bytes: int
    missing: str = ""
