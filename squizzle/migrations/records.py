"""What travels: migrations, plans, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from squizzle.analysis.locks.records import Forecast, RelationLock
from squizzle.analysis.records import Statement
from squizzle.migrations.batch_records import BatchedStatement, BatchPolicy, BatchProgress, Share
from squizzle.migrations.programs import Program
from squizzle.migrations.saved_rows import SavedRows
from squizzle.migrations.units import Unit
from squizzle.migrations.versions import is_repeatable
from squizzle.postgres.access import Connection


class Direction(StrEnum):
    """Which way a version is taken."""

    APPLY = "apply"
    ROLLBACK = "rollback"


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """What messages call a migration's scripts."""

    up: str
    down: str = ""
    verify: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Migration:
    """One version as it lies on disk.

    Attributes:
        version: Its place in the order (`squizzle.migrations.versions`).
        name: What people call it.
        up_sql: The up script.
        down_sql: The down script; None when there is none.
        verify_sql: The verify script; None when there is none.
        checksum: SHA-256 of the up script, line ends and byte order mark aside, as 64 hexadecimal digits. A repeatable
            migration is run again when it changes.
        source: The folder or file it came from.
        labels: What messages call the three scripts (`0001_users/up.sql`); a script's own lines are counted from its
            file's first line.
        in_transaction: What the author declared of the up script: True, False, or None when nothing was said.
        down_in_transaction: The same of the down script; most tools let each direction say its own.
        program: What runs instead of the scripts, which are empty then; None for SQL.
        alias: What its own tool calls it, where that is not the version; people may type it, or its beginning.
        requires: The versions that must be there before it; None when the order of versions decides.
    """

    version: str
    name: str
    up_sql: str
    down_sql: str | None
    verify_sql: str | None
    checksum: str
    source: Path
    labels: Labels
    in_transaction: bool | None = None
    down_in_transaction: bool | None = None
    program: Program | None = None
    alias: str = ""
    requires: tuple[str, ...] | None = None

    @property
    def repeatable(self) -> bool:
        """Whether it runs after all versioned ones, and again whenever its text has changed; it has no way back."""
        return is_repeatable(self.version)


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeouts:
    """How long one statement may wait for a lock and may take in all, and how often a script is tried again.

    While DDL waits for a lock, everybody who comes after it waits behind it. So it waits 50 ms, gives up, watches
    without queueing until the long holders are gone, and tries again: under load that kept the 99th percentile of
    clients below 100 ms, where one long wait gave them 7 s (measured).

    Attributes:
        lock: `lock_timeout` of DDL: how long clients may have to wait behind us.
        rows: `lock_timeout` of statements that only read and write rows; nobody but other DDL queues behind those.
        statement: `statement_timeout`; always longer than both.
        budget: After that no further try is made.
        attempts: So many tries at the most.
    """

    lock: timedelta = timedelta(milliseconds=50)
    rows: timedelta = timedelta(seconds=5)
    statement: timedelta = timedelta(hours=1)
    budget: timedelta = timedelta(minutes=5)
    attempts: int = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What a project allows its migrations, and what it wants to be done around them.

    Attributes:
        timeouts: For every statement.
        out_of_order: Whether a pending version that is older than an applied one may be applied after it.
        analyze: Whether tables whose statistics the run invalidated are analysed at its end.
        batches: How statements run in batches.
        save_rows: Whether the rows that up scripts change or take away are saved, so that they can come back.
    """

    timeouts: Timeouts = field(default_factory=Timeouts)
    out_of_order: bool = False
    analyze: bool = True
    batches: BatchPolicy = field(default_factory=BatchPolicy)
    save_rows: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedMigration:
    """One script that will run, piece by piece.

    Attributes:
        migration: Whose script.
        direction: Which way.
        source: What messages call the script.
        units: Its pieces that are still to run, in order; each happens wholly or not at all.
        verify: Checked before the last piece is committed.
        done_before: Statements that an earlier run finished.
        settings: SET statements among those, which the session that goes on needs, too.
        progress: How far statements that run in batches are; None for a script without any.
        saved: The rows that an earlier run of it saved; None when there are none.
        interrupted: Whether the last run of it died, so that one more statement may be finished than was noted.
        share: How much of the rows of its last statement is done; None when the script is done to its end.
        row_id: The history's row of a run that stopped behind a share, which is gone on with; None for a new row.
    """

    migration: Migration
    direction: Direction
    source: str
    units: tuple[Unit, ...]
    verify: tuple[Statement, ...] = ()
    done_before: int = 0
    interrupted: bool = False
    settings: tuple[Statement, ...] = ()
    progress: BatchProgress | None = None
    saved: SavedRows | None = None
    share: Share | None = None
    row_id: int | None = None

    @property
    def is_begun(self) -> bool:
        """Whether an earlier run left something of this script in the database."""
        return self.done_before > 0 or (self.progress is not None and self.progress.is_begun)

    @property
    def statements(self) -> tuple[Statement, ...]:
        """What will run, in order."""
        return tuple(statement for unit in self.units for statement in unit.statements)

    @property
    def transactional(self) -> bool:
        """Whether the whole script runs in one transaction."""
        return not self.units or (len(self.units) == 1 and self.units[0].transactional and not self.is_begun)


class Books(Protocol):
    """The bookkeeping of another tool, kept in step with the history (`squizzle.migrations.bookkeeping`)."""

    @property
    def tool(self) -> str:
        """Whose they are."""

    def place(self, schema: str) -> str:
        """The table that says what is applied, for messages."""

    def note(self, connection: Connection, schema: str, step: PlannedMigration, outcome: Outcome) -> None:
        """Write what a script did; the caller's transaction is also that of the history's row.

        Raises:
            psycopg.Error: They cannot be written; the caller rolls back.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The scripts that will run on one database, in order, bound to the schema they were planned for.

    Attributes:
        database: The database's name.
        schema: The schema that the scripts work in and that holds the history.
        schema_digest: Logical digest of the schema at planning time; the executor refuses when it has changed. Empty
            where the plan runs under the very lock that it was made under.
        steps: What will run.
        policy: What the project allows.
        books: Those of the tool that the folder is laid out for; None when nobody keeps them.
    """

    database: str
    schema: str
    schema_digest: str
    steps: tuple[PlannedMigration, ...]
    policy: Policy
    books: Books | None = None

    @property
    def timeouts(self) -> Timeouts:
        """For every statement."""
        return self.policy.timeouts


@dataclass(frozen=True, kw_only=True, slots=True)
class LockReport:
    """What a script was expected to lock and what it locked.

    Attributes:
        predicted: From its text.
        observed: By a second session, before each commit, the strongest lock of each relation that was there before;
            what a statement outside a transaction held is sampled while it runs, so it may be more. None when there
            was no second session in the database.
    """

    predicted: Forecast = field(default_factory=Forecast)
    observed: tuple[RelationLock, ...] | None = None

    @property
    def unforeseen(self) -> tuple[RelationLock, ...]:
        """Locks that are stronger than predicted, or on relations that the prediction does not name."""
        return self.predicted.unforeseen(self.observed or ())


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One version that was applied or rolled back.

    Attributes:
        version: Which.
        direction: Which way.
        duration: From the first statement to the commit.
        lock_wait: Time that statements of ours were seen waiting for locks.
        attempts: How often it was tried.
        locks: What it was expected to lock and what it locked.
        batched: What its statements that ran in batches did, those of earlier runs included.
        saved: The rows that it saved, those of earlier runs included; None when there are none.
        share: The part of its rows that was to be done and is; None when the version is wholly there, or gone.
    """

    version: str
    direction: Direction
    duration: timedelta
    lock_wait: timedelta = timedelta()
    attempts: int = 1
    locks: LockReport = field(default_factory=LockReport)
    batched: tuple[BatchedStatement, ...] = ()
    saved: SavedRows | None = None
    share: Share | None = None


class RowState(StrEnum):
    """What the newest history row of a version says about it; `partly`: a share of its rows is done, as was meant."""

    APPLIED = "applied"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    RUNNING = "running"
    PARTLY = "partly"


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryRow:
    """One row of `squizzle_history`."""

    id: int
    version: str
    name: str
    direction: Direction
    success: bool | None
    applied_at: datetime
    applied_by: str
    error: str | None
    checksum: str | None
    statements_done: int
    schema_digest: str | None
    batch_progress: BatchProgress | None = None
    saved_rows: SavedRows | None = None
    certificate: str | None = None
    rollout_id: str | None = None

    @property
    def is_partly(self) -> bool:
        """Whether its run ended behind a share of the rows, as it was meant to, and is to be gone on with."""
        return self.success is None and self.batch_progress is not None and self.batch_progress.stopped

    @property
    def is_begun(self) -> bool:
        """Whether the run left something in the database although it did not end."""
        return self.statements_done > 0 or (self.batch_progress is not None and self.batch_progress.is_begun)
