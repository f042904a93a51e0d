"""One instance of RDS through boto3, opened when it is first asked for."""

from __future__ import annotations

from datetime import datetime

from squizzle.backups.rds.access import RdsAccess
from squizzle.backups.rds.client import RdsClients, open_rds
from squizzle.backups.rds.free_space import read_rds_space
from squizzle.backups.rds.naming import is_for, snapshot_identifier
from squizzle.backups.rds.records import InstanceFacts, RdsSnapshot, RdsSpace, SnapshotFacts, SnapshotPurpose
from squizzle.backups.rds.service import PATIENT, RdsService, Waiting
from squizzle.backups.rds.snapshots import delete_rds_snapshot
from squizzle.backups.rds.take import Tell, refuse_others, take_rds_snapshot


class InstanceSnapshots:
    """A `SnapshotSource`.

    Args:
        access: How to reach RDS.
        instance: The instance's identifier.
        tell: Called at every look while a snapshot is being made.
        waiting: Deadline and pace.
    """

    def __init__(
        self, access: RdsAccess, instance: str, *, tell: Tell = lambda _progress: None, waiting: Waiting = PATIENT
    ) -> None:
        self._access = access
        self._instance = instance
        self._tell = tell
        self._waiting = waiting
        self._opened: RdsClients | None = None

    @property
    def name(self) -> str:
        """See `SnapshotSource`."""
        return self._instance

    def now(self) -> datetime:
        """See `SnapshotSource`."""
        return self._waiting.now()

    def describe(self) -> InstanceFacts:
        """See `SnapshotSource`."""
        found = self._service().instance(self._instance)
        refuse_others(found)
        return found

    def space(self) -> RdsSpace:
        """See `SnapshotSource`."""
        return read_rds_space(self._clients.rds, self._clients.cloudwatch, self._instance, waiting=self._waiting)

    def find(self, purpose: SnapshotPurpose) -> SnapshotFacts | None:
        """See `SnapshotSource`."""
        service = self._service()
        source = service.instance(self._instance)
        found = service.snapshot(snapshot_identifier(source.identifier, source.resource_id, purpose))
        return found if found is not None and is_for(found, source.resource_id, purpose) else None

    def take(self, purpose: SnapshotPurpose) -> RdsSnapshot:
        """See `SnapshotSource`."""
        return take_rds_snapshot(
            self._clients.rds, self._instance, purpose=purpose, waiting=self._waiting, on_progress=self._tell
        )

    def forget(self, purpose: SnapshotPurpose) -> None:
        """See `SnapshotSource`."""
        found = self.find(purpose)
        if found is not None:
            delete_rds_snapshot(
                self._clients.rds, found.identifier, resource_id=found.resource_id, waiting=self._waiting
            )

    @property
    def _clients(self) -> RdsClients:
        if self._opened is None:
            self._opened = open_rds(self._access)
        return self._opened

    def _service(self) -> RdsService:
        return RdsService(self._clients.rds, self._waiting)
