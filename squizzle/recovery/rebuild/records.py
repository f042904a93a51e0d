"""What travels: what a store holds of a lost server, and what became of it on the new one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from squizzle.backups.records import Backup
from squizzle.proof.records import Comparison
from squizzle.recovery.cluster_roles import RestoredRoles
from squizzle.recovery.evidence import Step


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedServer:
    """What a store holds of one server.

    Attributes:
        system_identifier: The cluster.
        roles: The backup that its roles come from.
        databases: The newest usable backup of each database, in the order of their names.
        not_saved: Databases that were there and have no usable backup.
        notes: What else a person should know, a sentence each: backups that were passed over, a way that loses less.
    """

    system_identifier: str
    roles: Backup
    databases: tuple[Backup, ...]
    not_saved: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def oldest(self) -> datetime:
        """What was written from then on may be lost."""
        return min(backup.started_at for backup in self.databases)


@dataclass(frozen=True, kw_only=True, slots=True)
class RebuiltDatabase:
    """What became of one database.

    Attributes:
        backup: What it was restored from.
        comparison: With the backup's fingerprints, row by row; None when it did not get that far.
        was_there: An earlier run had restored it; it was compared again.
        problem: Why it is not there, or not what was saved; empty otherwise.
    """

    backup: Backup
    comparison: Comparison | None = None
    was_there: bool = False
    problem: str = ""

    @property
    def is_equal(self) -> bool:
        """Whether it is what was saved, and open."""
        return not self.problem and self.comparison is not None and self.comparison.is_equal


@dataclass(frozen=True, kw_only=True, slots=True)
class RebuiltServer:
    """What became of a server.

    Attributes:
        saved: What it was rebuilt from.
        roles: What became of its roles.
        databases: What became of its databases, in the same order.
    """

    saved: SavedServer
    roles: RestoredRoles
    databases: tuple[RebuiltDatabase, ...]

    @property
    def is_whole(self) -> bool:
        """Whether everything that was saved is there, row by row."""
        return all(one.is_equal for one in self.databases)

    @property
    def rows(self) -> int:
        """Rows that were compared and are right."""
        return sum(one.backup.rows for one in self.databases if one.is_equal)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is not as it was saved, one sentence each."""
        found = []
        for one in self.databases:
            if one.problem:
                found.append(f"{one.backup.database}: {one.problem}")
            elif one.comparison is not None:
                found += [f"{one.backup.database}: {sentence}" for sentence in one.comparison.sentences()]
        return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class RebuildReport:
    """What a run did.

    Attributes:
        where: The new server.
        saved: What it is rebuilt from.
        started_at: When the run began.
        done: What became of it; None for a dry run.
        duration: How long it took.
        steps: What was done, in order.
    """

    where: str
    saved: SavedServer
    started_at: datetime
    done: RebuiltServer | None = None
    duration: timedelta = timedelta()
    steps: tuple[Step, ...] = ()
