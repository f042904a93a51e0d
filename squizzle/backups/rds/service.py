"""RDS through boto3: the only module that sees its answers. One try of boto3 each, the patience is ours."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from squizzle.backups.rds.failures import CLOUD_ERRORS, code_of, is_passing, translated
from squizzle.backups.rds.records import InstanceFacts, SnapshotFacts, SnapshotQuota
from squizzle.errors import CloudUnavailableError

_GIB = 1024**3
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 20.0
_SECRET = "password"  # noqa: S105 - the word that fields with a secret have in their name
_RANDOM = random.SystemRandom()


class RdsApi(Protocol):
    """What is called of boto3's client for RDS."""

    def create_db_snapshot(self, **arguments: Any) -> Mapping[str, Any]:
        """CreateDBSnapshot."""

    def delete_db_snapshot(self, **arguments: Any) -> Mapping[str, Any]:
        """DeleteDBSnapshot."""

    def describe_account_attributes(self, **arguments: Any) -> Mapping[str, Any]:
        """DescribeAccountAttributes."""

    def describe_db_instances(self, **arguments: Any) -> Mapping[str, Any]:
        """DescribeDBInstances."""

    def describe_db_snapshots(self, **arguments: Any) -> Mapping[str, Any]:
        """DescribeDBSnapshots."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """How long and how often RDS is asked.

    Attributes:
        deadline: For everything together. The first snapshot of a large instance takes hours.
        poll: Between two looks.
        outage: So long AWS may be busy or out of reach without a break.
        monotonic: A clock in seconds that never goes back.
        now: The time of day.
        sleep: Waits for seconds.
        jitter: A number from 0 to 1, so that many runs do not all come back at once.
    """

    deadline: timedelta = timedelta(hours=6)
    poll: timedelta = timedelta(seconds=15)
    outage: timedelta = timedelta(minutes=5)
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = _RANDOM.random


PATIENT = Waiting()
"""As it is done when nobody says otherwise."""


class Answer(StrEnum):
    """What RDS said to a request for a snapshot."""

    ACCEPTED = "accepted"
    EXISTS = "exists"
    NOT_NOW = "not now"
    QUOTA = "quota"


_ANSWERS = {
    "DBSnapshotAlreadyExists": Answer.EXISTS,
    "InvalidDBInstanceState": Answer.NOT_NOW,
    "SnapshotQuotaExceeded": Answer.QUOTA,
}


def patiently(
    call: Callable[..., Mapping[str, Any]], arguments: Mapping[str, Any], *, waiting: Waiting, until: float
) -> Mapping[str, Any]:
    """Call boto3 again as long as that may help; the pauses grow and are random. The last error is raised as it is.

    Args:
        call: A method of a client; repeating it must do no harm.
        arguments: For it.
        waiting: How long and how often.
        until: By `waiting.monotonic`.
    """
    end = min(until, waiting.monotonic() + waiting.outage.total_seconds())
    pause = _FIRST_PAUSE_S
    while True:
        try:
            return call(**arguments)
        except CLOUD_ERRORS as exc:
            if not is_passing(exc) or waiting.monotonic() >= end:
                raise
        waiting.sleep(pause * (0.5 + waiting.jitter()))
        pause = min(pause * 2, _LONGEST_PAUSE_S)


class RdsService:
    """RDS as far as snapshots need it. Every method raises CloudError, or CloudUnavailableError when a retry may help.

    Args:
        client: Of boto3, for RDS, with one attempt for each call.
        waiting: How long and how often; the deadline begins now.
    """

    def __init__(self, client: RdsApi, waiting: Waiting) -> None:
        self._client = client
        self._waiting = waiting
        self._began = waiting.monotonic()
        self.outcome = "nothing was changed"
        """What is left behind when a call fails; whoever asks for a snapshot says so here."""

    @property
    def elapsed(self) -> timedelta:
        """Since it was opened."""
        return timedelta(seconds=self._waiting.monotonic() - self._began)

    def pause(self, waiting_for: str, *, hint: str) -> None:
        """Wait until the next look.

        Raises:
            CloudUnavailableError: The deadline has passed.
        """
        if self.elapsed >= self._waiting.deadline:
            raise CloudUnavailableError(
                f"gave up after {self.elapsed} waiting for {waiting_for}; {self.outcome}", hint=hint
            )
        self._waiting.sleep(self._waiting.poll.total_seconds() * (0.75 + self._waiting.jitter() / 2))

    def instance(self, identifier: str) -> InstanceFacts:
        """Describe an instance."""
        doing = f"describe the instance {identifier}"
        answer = self.ask(doing, self._client.describe_db_instances, DBInstanceIdentifier=identifier)
        return instance_facts(answer["DBInstances"][0])

    def snapshot(self, identifier: str) -> SnapshotFacts | None:
        """Describe a snapshot; None when there is none of that name."""
        try:
            answer = self.call(self._client.describe_db_snapshots, DBSnapshotIdentifier=identifier)
        except CLOUD_ERRORS as exc:
            if code_of(exc) == "DBSnapshotNotFound":
                return None
            raise translated(exc, f"describe the snapshot {identifier}", outcome=self.outcome) from exc
        found = answer.get("DBSnapshots", ())
        return _snapshot(found[0]) if found else None

    def snapshots(self, instance: str | None) -> Iterator[SnapshotFacts]:
        """Every manual snapshot of an instance, or of the whole account in this Region."""
        arguments = {"SnapshotType": "manual", **({"DBInstanceIdentifier": instance} if instance else {})}
        marker: dict[str, str] = {}
        while True:
            answer = self.ask("list the snapshots", self._client.describe_db_snapshots, **arguments, **marker)
            yield from map(_snapshot, answer.get("DBSnapshots", ()))
            if not answer.get("Marker"):
                return
            marker = {"Marker": str(answer["Marker"])}

    def create(self, identifier: str, instance: str, tags: Mapping[str, str]) -> Answer:
        """Ask for a snapshot. Safe to repeat: RDS refuses a second one of the same name."""
        try:
            self.call(
                self._client.create_db_snapshot,
                DBSnapshotIdentifier=identifier,
                DBInstanceIdentifier=instance,
                Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
            )
        except CLOUD_ERRORS as exc:
            answer = _ANSWERS.get(code_of(exc))
            if answer is None:
                raise translated(exc, f"take the snapshot {identifier} of {instance}", outcome=self.outcome) from exc
            return answer
        return Answer.ACCEPTED

    def delete(self, identifier: str) -> None:
        """Delete a manual snapshot; one that is gone already is fine, the reply to the first try may have been lost."""
        try:
            self.call(self._client.delete_db_snapshot, DBSnapshotIdentifier=identifier)
        except CLOUD_ERRORS as exc:
            if code_of(exc) != "DBSnapshotNotFound":
                raise translated(exc, f"delete the snapshot {identifier}", outcome=self.outcome) from exc

    def quota(self) -> SnapshotQuota | None:
        """How many manual snapshots there may be; None when the account may not ask."""
        try:
            answer = self.call(self._client.describe_account_attributes)
        except CLOUD_ERRORS:  # it only explains another failure
            return None
        for one in answer.get("AccountQuotas", ()):
            if one["AccountQuotaName"] == "ManualSnapshots":
                return SnapshotQuota(used=int(one["Used"]), allowed=int(one["Max"]))
        return None

    def ask(self, doing: str, call: Callable[..., Mapping[str, Any]], **arguments: Any) -> Mapping[str, Any]:
        """Call boto3 patiently; its errors come in our words, `doing` completes "could not …"."""
        try:
            return self.call(call, **arguments)
        except CLOUD_ERRORS as exc:
            raise translated(exc, doing, outcome=self.outcome) from exc

    def call(self, call: Callable[..., Mapping[str, Any]], **arguments: Any) -> Mapping[str, Any]:
        """Call boto3 patiently; its errors come as they are."""
        until = self._began + self._waiting.deadline.total_seconds()
        return patiently(call, arguments, waiting=self._waiting, until=until)


def instance_facts(one: Mapping[str, Any]) -> InstanceFacts:
    """What boto3 says about an instance, as a record."""
    largest = one.get("MaxAllocatedStorage")
    return InstanceFacts(
        identifier=one["DBInstanceIdentifier"],
        resource_id=one.get("DbiResourceId", ""),
        status=one["DBInstanceStatus"],
        engine=one["Engine"],
        engine_version=one["EngineVersion"],
        cluster=one.get("DBClusterIdentifier", ""),
        allocated_bytes=int(one.get("AllocatedStorage", 0)) * _GIB,
        max_allocated_bytes=int(largest) * _GIB if largest else None,
        latest_restorable_at=one.get("LatestRestorableTime"),
        settings=json.dumps(_without_secrets(one), sort_keys=True, default=_text),
        endpoint=one.get("Endpoint", {}).get("Address", ""),
    )


def _snapshot(one: Mapping[str, Any]) -> SnapshotFacts:
    return SnapshotFacts(
        identifier=one["DBSnapshotIdentifier"],
        arn=one.get("DBSnapshotArn", ""),
        instance=one.get("DBInstanceIdentifier", ""),
        resource_id=one.get("DbiResourceId", ""),
        status=one["Status"],
        percent=int(one.get("PercentProgress", 0)),
        kind=one.get("SnapshotType", ""),
        created_at=one.get("SnapshotCreateTime"),
        allocated_bytes=int(one.get("AllocatedStorage", 0)) * _GIB,
        engine_version=one.get("EngineVersion", ""),
        is_encrypted=bool(one.get("Encrypted", False)),
        kms_key_id=one.get("KmsKeyId", ""),
        tags={tag["Key"]: tag.get("Value", "") for tag in one.get("TagList", ())},
    )


def _without_secrets(value: Any) -> Any:
    """The answer without fields that are named after a password; RDS masks them, but that is not ours to rely on."""
    if isinstance(value, Mapping):
        return {key: _without_secrets(one) for key, one in value.items() if _SECRET not in key.lower()}
    return [_without_secrets(one) for one in value] if isinstance(value, list) else value


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
