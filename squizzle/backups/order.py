"""What is asked for when a backup is taken, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from squizzle.backups.dump import DumpOptions
from squizzle.backups.rds.snapshot_source import SnapshotSource
from squizzle.backups.records import BackupKind
from squizzle.backups.store import BackupStore
from squizzle.postgres.access import ServerAccess
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import ClientPrograms


@dataclass(frozen=True, kw_only=True, slots=True)
class CopyOptions:
    """How a cluster is copied.

    Attributes:
        max_rate_kb: Kilobytes a second that the server may send at most (32 to 1048576); None: as fast as it can.
        or_full: Where no increment is possible, a whole copy is taken instead.
        or_mark: Where the server makes no increments at all, a mark is made instead.
    """

    max_rate_kb: int | None = None
    or_full: bool = False
    or_mark: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What is to be saved, from where, to where.

    Attributes:
        access: Server and account.
        target: The database, and who the caller means by it.
        store: Where to.
        kind: What.
        programs: Client programs that fit the server.
        options: How a dump is made; of a copy of the cluster: where the history is, and how long it may take.
        copying: How a cluster is copied.
        snapshots: The instance of RDS that the database is on; only for snapshots of it.
        ignore_space: Why the check of free space is passed over; None: it is not.
    """

    access: ServerAccess
    target: Target
    store: BackupStore
    kind: BackupKind
    programs: ClientPrograms
    options: DumpOptions = field(default_factory=DumpOptions)
    copying: CopyOptions = field(default_factory=CopyOptions)
    snapshots: SnapshotSource | None = None
    ignore_space: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a backup is.

    Attributes:
        written_bytes: In the store so far, for the copy that is being made.
        expected_bytes: As it was estimated; 0 when it cannot be told.
    """

    written_bytes: int
    expected_bytes: int
