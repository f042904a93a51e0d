"""What a recovery does and finds out, step by step: for its report, and for the report of a drill."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from squizzle.backups.records import Backup
from squizzle.proof.records import Comparison, DatabaseDigest
from squizzle.recovery.assess import Assessment
from squizzle.recovery.decide import RollbackAttempt
from squizzle.recovery.fences.records import FenceStatus
from squizzle.recovery.salvage.records import Salvage
from squizzle.recovery.sequences import SequenceMove
from squizzle.recovery.undo.records import UndoReport
from squizzle.recovery.ways import RecoveryPlan, WayBack


class StepState(StrEnum):
    """How a step stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of a flow.

    Attributes:
        title: What was done, for a person.
        started_at: When it began.
        duration: How long it took, or has taken so far.
        state: How it stands.
        detail: What came of it.
    """

    title: str
    started_at: datetime
    duration: timedelta
    state: StepState
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Everything that a recovery found out; None where it did not get that far.

    Attributes:
        backup: The backup that was to be restored.
        steady: The database right before the disaster.
        disaster_at: When the disaster was committed.
        noticed_at: When the recovery began.
        recovered_at: When clients were let in again.
        assessment: What was damaged.
        decisions: The ways back that were chosen, in order; the last one is the one that worked, if any did.
        rollback: What came of the down script.
        undo: What was taken back by the change log; None when nothing was.
        copy: The restored copy against the backup, before the switch.
        final: The database under its own name against the backup, after the switch.
        changed_properties: Owner, privileges, settings or comment that did not come over; None when not looked at.
        application_reads: What the application's role could read afterwards; None when not tried.
        error: The first error of the recovery.
        failed: What came of the ways that did not work, a sentence each, in order.
        plan: The ways back as they stood when the first was chosen.
        verified: What was compared and found equal after the last way, in a sentence; None when nothing was.
        kept_as: The name that the damaged database is kept under; empty when it was not exchanged.
        sequences: Those that were moved on to where the damaged ones stood.
        salvage: Rows that only the damaged database has; None when that was not looked at.
        fences: What was shut, as it was last seen, the database last; empty where nothing was.
        refused: Who said no to what, or that nobody said yes; empty when nobody was asked or the answer was yes.
        notes: What else a person should know, a sentence each.
        waited: How long of the recovery was spent on waiting for people's answers.
    """

    backup: Backup | None = None
    steady: DatabaseDigest | None = None
    disaster_at: datetime | None = None
    noticed_at: datetime | None = None
    recovered_at: datetime | None = None
    assessment: Assessment | None = None
    decisions: tuple[WayBack, ...] = ()
    rollback: RollbackAttempt | None = None
    undo: UndoReport | None = None
    copy: Comparison | None = None
    final: Comparison | None = None
    changed_properties: tuple[str, ...] | None = None
    application_reads: str | None = None
    error: str = ""
    failed: tuple[str, ...] = ()
    plan: RecoveryPlan | None = None
    verified: str | None = None
    kept_as: str = ""
    sequences: tuple[SequenceMove, ...] = ()
    salvage: Salvage | None = None
    fences: tuple[FenceStatus, ...] = ()
    refused: str = ""
    notes: tuple[str, ...] = ()
    waited: timedelta = timedelta()

    @property
    def rto(self) -> timedelta | None:
        """From noticing the damage to letting clients in again."""
        return self.recovered_at - self.noticed_at if self.recovered_at and self.noticed_at else None

    @property
    def rpo(self) -> timedelta | None:
        """Age of the backup's snapshot when disaster struck: what was written in between is lost."""
        return self.disaster_at - self.backup.started_at if self.disaster_at and self.backup else None

    @property
    def rows_lost(self) -> int | None:
        """Rows that were there right before the disaster and are not in the backup; None when unknown."""
        if self.backup is None or self.steady is None:
            return None
        saved = {table.table: table.rows for table in self.backup.fingerprint.tables}
        return sum(max(0, table.rows - saved.get(table.table, 0)) for table in self.steady.tables)


class EvidenceBook:
    """Collects evidence while a flow runs, so that one that breaks off still reports what it had."""

    def __init__(self) -> None:
        self.evidence = Evidence()

    def note(self, **found: object) -> None:
        """Add or replace fields of the evidence."""
        self.evidence = replace(self.evidence, **found)  # type: ignore[arg-type]

    def add_note(self, text: str) -> None:
        """Add what a person should know besides."""
        self.evidence = replace(self.evidence, notes=(*self.evidence.notes, text))

    def note_failure(self, text: str) -> None:
        """Add what came of a way that did not work."""
        self.evidence = replace(self.evidence, failed=(*self.evidence.failed, text))
