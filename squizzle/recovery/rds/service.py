"""Instances of RDS as far as a recovery needs them. There is no way here to delete anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from squizzle.backups.rds.failures import CLOUD_ERRORS, code_of, translated
from squizzle.backups.rds.records import InstanceFacts
from squizzle.backups.rds.service import RdsApi, RdsService, Waiting, instance_facts
from squizzle.backups.rds.states import Judgement, judge_instance
from squizzle.errors import CloudError
from squizzle.recovery.rds.settings import Document, read_document


class RecoveryApi(RdsApi, Protocol):
    """What is called of boto3's client for RDS."""

    def modify_db_instance(self, **arguments: Any) -> Mapping[str, Any]:
        """ModifyDBInstance."""

    def reboot_db_instance(self, **arguments: Any) -> Mapping[str, Any]:
        """RebootDBInstance."""

    def restore_db_instance_from_db_snapshot(self, **arguments: Any) -> Mapping[str, Any]:
        """RestoreDBInstanceFromDBSnapshot."""

    def restore_db_instance_to_point_in_time(self, **arguments: Any) -> Mapping[str, Any]:
        """RestoreDBInstanceToPointInTime."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceProgress:
    """A sign of life while RDS works.

    Attributes:
        doing: What is waited for.
        status: What RDS says.
        elapsed: Since the beginning.
    """

    doing: str
    status: str
    elapsed: timedelta


Tell = Callable[[InstanceProgress], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """One instance: what is judged by, and everything that RDS says."""

    facts: InstanceFacts
    document: Document


class InstanceService:
    """RDS for one recovery. Every method raises CloudError, or CloudUnavailableError when a retry may help.

    Args:
        client: Of boto3, for RDS, with one attempt for each call.
        waiting: Deadline and pace; the deadline begins now.
        tell: Called at every look.
    """

    def __init__(self, client: RecoveryApi, waiting: Waiting, tell: Tell) -> None:
        self.client = client
        self._tell = tell
        self._service = RdsService(client, waiting)

    @property
    def elapsed(self) -> timedelta:
        """Since it was opened."""
        return self._service.elapsed

    def leave(self, outcome: str) -> None:
        """Say what is left behind from now on when a call fails."""
        self._service.outcome = outcome

    def find(self, identifier: str) -> Found | None:
        """An instance; None when there is none of that name."""
        try:
            answer = self._service.call(self.client.describe_db_instances, DBInstanceIdentifier=identifier)
        except CLOUD_ERRORS as exc:
            if code_of(exc) == "DBInstanceNotFound":
                return None
            raise translated(exc, f"describe the instance {identifier}", outcome=self._service.outcome) from exc
        facts = instance_facts(answer["DBInstances"][0])
        return Found(facts=facts, document=read_document(facts.settings, source=f"RDS about {identifier}"))

    def request(
        self, doing: str, call: Callable[..., Mapping[str, Any]], arguments: Mapping[str, Any], *, fine: Sequence[str]
    ) -> bool:
        """Ask for a change; False when RDS answers with a code that is `fine`, so that whoever asks looks again."""
        try:
            self._service.call(call, **arguments)
        except CLOUD_ERRORS as exc:
            if code_of(exc) in fine:
                return False
            raise translated(exc, doing, outcome=self._service.outcome) from exc
        return True

    def pause(self, doing: str, status: str) -> None:
        """Wait until the next look.

        Raises:
            CloudUnavailableError: The deadline has passed.
        """
        self._tell(InstanceProgress(doing=doing, status=status, elapsed=self.elapsed))
        self._service.pause(f"{doing}, which is {status}", hint="run the same again; it goes on where this one was")

    def until_ready(self, identifier: str, *, resource_id: str = "") -> Found:
        """Look until an instance is there and available.

        Args:
            identifier: Its name.
            resource_id: It must be this one; while the name belongs to another one, or to none, it is waited for.
        """
        doing = f"the instance {identifier}"
        while True:
            found = self.find(identifier)
            if found is None or (resource_id and found.facts.resource_id != resource_id):
                self.pause(doing, "not there yet")
                continue
            judgement = judge_instance(found.facts.status)
            if judgement is Judgement.FAILED:
                raise CloudError(
                    f"{doing} is {found.facts.status}; {self._service.outcome}",
                    hint=f"`aws rds describe-events --source-identifier {identifier} --source-type db-instance`"
                    " says why",
                )
            if judgement is Judgement.READY:
                self._tell(InstanceProgress(doing=doing, status=found.facts.status, elapsed=self.elapsed))
                return found
            self.pause(doing, found.facts.status)
