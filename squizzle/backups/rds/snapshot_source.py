"""The instance as whoever takes a backup of it sees it. Knows nothing of boto3, so that nothing else has to load it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from squizzle.backups.rds.records import InstanceFacts, RdsSnapshot, RdsSpace, SnapshotFacts, SnapshotPurpose


class SnapshotSource(Protocol):
    """One instance of RDS. Everything raises CloudError, or CloudUnavailableError when another try may help."""

    @property
    def name(self) -> str:
        """The instance's identifier."""

    def now(self) -> datetime:
        """The time, to tell how old its snapshots are."""

    def describe(self) -> InstanceFacts:
        """What RDS says about it.

        Raises:
            InvalidInputError: A member of a cluster, or another engine than PostgreSQL.
        """

    def space(self) -> RdsSpace:
        """How much room it has; `missing` says why that could not be told."""

    def find(self, purpose: SnapshotPurpose) -> SnapshotFacts | None:
        """The snapshot of an earlier try of the same purpose; None when there is none, or it is none of ours."""

    def take(self, purpose: SnapshotPurpose) -> RdsSnapshot:
        """Take a snapshot and wait until it is there (`take_rds_snapshot`)."""

    def forget(self, purpose: SnapshotPurpose) -> None:
        """Delete the snapshot of an earlier try; one that is gone, or none of ours, is left."""
