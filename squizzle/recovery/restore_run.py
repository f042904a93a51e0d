"""One run that restores a backup: what it is going to do, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from squizzle.backups.proofs import Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.config import PRODUCTION
from squizzle.errors import InvalidInputError
from squizzle.proof.records import Comparison
from squizzle.recovery.evidence import Step
from squizzle.recovery.point_in_time.records import Arrival
from squizzle.recovery.ways import BackupMeans


@dataclass(frozen=True, kw_only=True, slots=True)
class RestorePlan:
    """What is going to be restored.

    Attributes:
        database: The database by the name that clients use.
        environment: Where it is, as the caller and the database itself say.
        backup: What is restored; with a point, the copy of the cluster that the recovery begins with.
        point: The point in time, for a person; empty for the backup itself.
        into: The new database's name.
        tables: Only these get their rows; empty for all.
        switch_over: Whether it takes the place of `database`.
    """

    database: str
    environment: tuple[str, ...]
    backup: Backup
    point: str
    into: str
    tables: tuple[str, ...]
    switch_over: bool

    @property
    def needs_approval(self) -> bool:
        """Whether a person has to say yes first: production's database is exchanged."""
        return self.switch_over and PRODUCTION in self.environment


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """A database that was restored beside the others.

    Attributes:
        comparison: With the fingerprints, row by row.
        rows: Rows that were compared.
        arrival: Of a recovery to a point: where it stopped.
    """

    comparison: Comparison
    rows: int
    arrival: Arrival | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoreReport:
    """What a run did.

    Attributes:
        plan: What was to be done.
        started_at: When it began.
        dry_run: Whether nothing was to be done.
        restored: What came of it; None for a dry run.
        refused: Why it was not switched over though it was equal: what a person said; empty otherwise.
        kept_as: The name that the database is kept under whose place was taken; empty for none.
        duration: How long it took.
        steps: What was done, in order.
    """

    plan: RestorePlan
    started_at: datetime
    dry_run: bool
    restored: Restored | None = None
    refused: str = ""
    kept_as: str = ""
    duration: timedelta = timedelta()
    steps: tuple[Step, ...] = ()

    @property
    def is_equal(self) -> bool:
        """Whether it was restored, compared, and is what was saved."""
        return self.restored is not None and self.restored.comparison.is_equal

    @property
    def is_done(self) -> bool:
        """Whether everything that was to be done was done."""
        return self.dry_run or (self.is_equal and bool(self.kept_as) == self.plan.switch_over)


def newest_verified(backups: Iterable[BackupMeans]) -> Backup:
    """The newest whole backup that passed its last checks, and at least one. Pure.

    Args:
        backups: Of one database, newest first.

    Raises:
        InvalidInputError: There is none; the message names the newest one that was never looked at.
    """
    unseen = ""
    for one in backups:
        if one.backup is None or one.backup.kind is not BackupKind.FULL or one.problems:
            continue
        verdicts = {proof.verdict for proof in (one.restored, one.verified) if proof is not None}
        if Verdict.PASS in verdicts and Verdict.FAIL not in verdicts:
            return one.backup
        unseen = unseen or ("" if Verdict.FAIL in verdicts else one.id)
    raise InvalidInputError(
        f"no whole backup of this database passed a check{f'; {unseen} was never looked at' if unseen else ''}",
        hint="run `squizzle verify-backup` or the flow check-backups first, or name the backup that is meant",
    )
