"""What is to be recovered, with what, and the report of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from squizzle.postgres.access import CONTROL_DATABASE
from squizzle.postgres.identity import Target
from squizzle.recovery.evidence import Evidence, Step
from squizzle.recovery.fences.records import FenceStatus, are_shut
from squizzle.recovery.recovery import RecoveryNames, RecoveryReport, judge_recovery
from squizzle.recovery.ways import RecoveryPolicy, Way
from tasks.folders import Folder
from tasks.sources import DatabaseSource, FenceSource, NamedDatabase, RdsSource, StoreSource

# Those that `take_ways_back` can carry out.
WAYS = frozenset({Way.ROLL_BACK, Way.UNDO, Way.SWAP, Way.RESTORE_BESIDE, Way.POINT_IN_TIME, Way.CLOUD})


@dataclass(frozen=True, kw_only=True, slots=True)
class RecoveryCase:
    """What is to be recovered, with what.

    Attributes:
        database: The damaged one.
        store: Where its backups are.
        folders: Migrations, for the down scripts.
        names: What databases that are made or kept are called.
        policy: What is allowed.
        insist: Somebody says that there is damage, though none may be found.
        applications: What writes to it and is shut before it, in this order.
        backup_id: The backup to compare with; empty for the newest from before the damage.
        since: When the damage began; None where nobody knows.
        by_migration: Whether it is known that the versions applied since the backup did it, and nothing else.
        dry_run: Nothing is fenced or changed.
        keep_lost_rows: Rows that only the damaged database has are found and kept.
        patience: How long to wait for a person's answer.
        rds: The instance of RDS that the database is on; None for a server of one's own.
    """

    database: DatabaseSource
    store: StoreSource
    folders: tuple[Folder, ...]
    names: RecoveryNames
    policy: RecoveryPolicy
    insist: bool = False
    applications: tuple[FenceSource, ...] = ()
    backup_id: str = ""
    since: datetime | None = None
    by_migration: bool = False
    dry_run: bool = False
    keep_lost_rows: bool = True
    patience: timedelta = timedelta(hours=1)
    rds: RdsSource | None = None

    @property
    def holder(self) -> str:
        """Whose its fences are: the same in every run, so that the next one finds and lifts what a killed one left."""
        where = f" in {self.database.environment}" if self.database.environment else ""
        return f"recovery of {self.database.database}{where}"


def decisions_of(database: DatabaseSource) -> DatabaseSource:
    """Where decisions about a database are recorded that is shut, and may be exchanged: beside it, as its fence is."""
    return NamedDatabase(meant=Target(database=CONTROL_DATABASE), opens=database.access)


def held_since(fences: Sequence[FenceStatus], holder: str) -> datetime | None:
    """Since when a recovery holds its database shut; None when it does not. Every run of it sees the same."""
    holds = fences[-1].holds if fences else ()
    return next((hold.at for hold in holds if hold.holder == holder), None)


def make_report(
    case: RecoveryCase, evidence: Evidence, started_at: datetime, steps: tuple[Step, ...]
) -> RecoveryReport:
    """The report of a recovery, with its verdict. No task: it only puts together."""
    outcome, reasons = judge_recovery(evidence, dry_run=case.dry_run)
    return RecoveryReport(
        database=case.database.database,
        environment=case.database.environment,
        outcome=outcome,
        reasons=reasons,
        fenced=are_shut(evidence.fences, is_sure=bool(evidence.error or evidence.refused)),
        started_at=started_at,
        steps=steps,
        evidence=evidence,
        holder=case.holder,
    )
