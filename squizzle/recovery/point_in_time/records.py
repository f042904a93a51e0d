"""What travels: the point that is asked for, the copy that leads there, and what was found on arrival."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from squizzle.backups.records import Backup
from squizzle.proof.records import Comparison
from squizzle.recovery.recovery_target import RecoveryTarget


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """Where to recover to, with what is known about it.

    Attributes:
        target: As it is asked for.
        lsn: Its position in the log, where that is known: it was asked for, or a mark says it.
        mark: The manifest of the mark; None when the point has none.
    """

    target: RecoveryTarget
    lsn: str = ""
    mark: Backup | None = None

    @property
    def words(self) -> str:
        """For a person."""
        return self.target.words


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """Where a recovery stopped.

    Attributes:
        lsn: Everything before it was replayed.
        at: When the last transaction that was replayed had committed; None when none was.
        said: The line of the server's log that says that it is the point.
        prepared: Transactions that were prepared and not ended at that point: what they did is not there.
        migration_version: The highest applied version in the database.
    """

    lsn: str
    at: datetime | None
    said: str
    prepared: tuple[str, ...]
    migration_version: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PointRestored:
    """A database as it was at a point, beside the others.

    Attributes:
        database: Its name on the server.
        backup: The copy of the cluster that the recovery began with.
        arrival: Where it stopped.
        comparison: The restored database with the fingerprints of the recovered cluster, row by row.
        tables: Only these have rows; empty for all.
        rows: Rows that were compared.
        dump: The manifest of what was restored, with the fingerprints of the recovered cluster; the dump is gone.
    """

    database: str
    backup: Backup
    arrival: Arrival
    comparison: Comparison
    tables: tuple[str, ...]
    rows: int
    dump: Backup
