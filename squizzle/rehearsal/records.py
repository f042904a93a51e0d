"""What travels: what a script did to a copy of the data, and what that proves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import RelationName
from squizzle.migrations.records import Direction
from squizzle.proof.records import RowDifference, SchemaMatch
from squizzle.recovery.ways import Way


class CertificateVerdict(StrEnum):
    """What a rehearsal found out.

    `proven`: everything that was to be shown was executed and compared. `failed`: something was executed and was not as
    it has to be. `inconclusive`: something could not be tried; that is never a yes.
    """

    PROVEN = "proven"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


class RelationKind(StrEnum):
    """What a lock is on."""

    TABLE = "table"
    PARTITIONED_TABLE = "partitioned table"
    PARTITION = "partition"
    INDEX = "index"
    VIEW = "view"
    MATERIALIZED_VIEW = "materialized view"
    SEQUENCE = "sequence"
    TOAST = "TOAST table"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True, slots=True)
class TracedLock:
    """One lock that a statement took on a relation that was there before the script.

    Attributes:
        relation: On what.
        kind: What that is.
        mode: How strong.
        since: When it was asked for, from the script's begin.
        waited: How long it was waited for.
        held: From the grant to the end of its transaction; what was sampled from outside is a lower bound.
    """

    relation: RelationName
    kind: RelationKind
    mode: LockMode
    since: timedelta
    waited: timedelta = timedelta()
    held: timedelta = timedelta()


@dataclass(frozen=True, kw_only=True, slots=True)
class TracedStatement:
    """What one statement did.

    Attributes:
        number: Its place in the script, from 1.
        line: Where it stands in its file.
        sql: Its text; never the rows of a COPY.
        transactional: Whether it ran in a transaction of the script's.
        since: When it began, from the script's begin.
        duration: How long it took, without what the tracer itself took.
        locks: What it locked that no statement before it in the same transaction had locked as strongly, the strongest
            lock of each relation. Relations that the script itself made are left out.
        rewrites: Relations that were written anew as a whole (they have another file).
        rows_scanned: Rows that were read from tables, by scans and through indexes.
        rows_changed: Rows that were inserted, updated or deleted.
        wal_bytes: What was written to the write-ahead log meanwhile.
        temp_bytes: What was written to temporary files.
        is_lower_bound: It ran outside a transaction and was watched from another session, so it may have locked more.
    """

    number: int
    line: int
    sql: str
    transactional: bool
    since: timedelta
    duration: timedelta
    locks: tuple[TracedLock, ...] = ()
    rewrites: tuple[RelationName, ...] = ()
    rows_scanned: int = 0
    rows_changed: int = 0
    wal_bytes: int = 0
    temp_bytes: int = 0
    is_lower_bound: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptTrace:
    """What one script did, statement by statement.

    Attributes:
        version: Whose script.
        direction: Which of its scripts.
        duration: From its begin to its last commit, without what the tracer itself took.
        statements: In order.
        overhead: What the tracer took, in all.
    """

    version: str
    direction: Direction
    duration: timedelta
    statements: tuple[TracedStatement, ...]
    overhead: timedelta = timedelta()

    @property
    def locks(self) -> tuple[TracedLock, ...]:
        """Every lock of every statement, in the order in which they were taken."""
        return tuple(lock for statement in self.statements for lock in statement.locks)


@dataclass(frozen=True, kw_only=True, slots=True)
class RollbackProof:
    """What the way back by script left, compared with what was there before the migration.

    Attributes:
        script: Where the script came from: `down script`, `generated`, or `none` when there is none.
        sha256: Of the script that ran; empty when none did.
        schema: How far the schema is what it was.
        differences: Every object and every sequence that is not as before, a sentence each.
        rows: Every table's rows that are not as before.
        trace: What it did; None when it did not come to its end.
        why: Why it could not run, or failed; empty otherwise.
    """

    script: str
    sha256: str
    schema: SchemaMatch
    differences: tuple[str, ...] = ()
    rows: tuple[RowDifference, ...] = ()
    trace: ScriptTrace | None = None
    why: str = ""

    @property
    def data_is_equal(self) -> bool:
        """Whether every row and every sequence is as before."""
        return not self.rows and not self.why

    @property
    def is_exact(self) -> bool:
        """Whether it brought everything back."""
        return self.data_is_equal and self.schema is not SchemaMatch.DIFFERENT and not self.differences


@dataclass(frozen=True, kw_only=True, slots=True)
class ProvenWay:
    """One way back as it was executed on the copy.

    Attributes:
        way: Which.
        executed: Whether it was carried out here; a prediction never counts as proof.
        complete: Whether everything came back, as compared.
        duration: What it took, comparison included; None when it was not executed.
        detail: What was done, or why it was not.
    """

    way: Way
    executed: bool
    complete: bool
    duration: timedelta | None
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanChange:
    """How one query of the workload fares before and after the migration.

    Attributes:
        query: Its text, shortened, without values.
        before_ms: Time of one run, the median of several; None when it was not timed.
        after_ms: The same afterwards; None when it no longer runs, or was not timed.
        before: The plan's shape before.
        after: The plan's shape afterwards.
        regressed: Whether it counts as worse.
        why: In a sentence.
        inconclusive: Whether it could not be compared as a whole, so that it is not shown to be as good as before.
    """

    query: str
    before_ms: float | None
    after_ms: float | None
    before: str
    after: str
    regressed: bool
    why: str
    inconclusive: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class MigrationFiles:
    """The scripts that a certificate is about: SHA-256 of each as it lies on disk, empty where there is none."""

    up: str
    down: str
    verify: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviousCertificate:
    """A certificate that another one names.

    Attributes:
        id: Its id.
        sha256: Its hash (`certificate_hash`).
    """

    id: str
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """What a rehearsal proved of one version, and of what exactly.

    Attributes:
        id: Unique; begins with the time.
        version: Of the migration.
        name: What people call it.
        verdict: What was found out.
        reasons: Why it is not proven, the worst first; of a proven one, what a reader has to know (a lossy way back).
        issued_at: When.
        duration: Of the whole rehearsal.
        by: Who rehearsed.
        database: Whose migration.
        environment: Of that database; empty when it has none.
        identity_id: Who the database says it is; empty when it does not say.
        schema: The schema that the scripts work in.
        backup_id: The backup that was restored.
        backup_sha256: Of its manifest.
        store: Where it lies.
        backup_rows: Rows that were compared after it was restored, and were equal: on another there is no rehearsal.
        files: The scripts.
        server_version: Of the server that was backed up, as `server_version_num`.
        rehearsed_on: The scratch server, for people.
        rehearsed_version: Its `server_version_num`.
        settings: Settings of the target that change what a script does, by name.
        schema_before: Logical digest of the schema that the script starts from.
        schema_after: Logical digest of the schema that it leaves.
        up: What the up script did; None when it did not come to its end.
        again: How long it took the second time; None when it was not run twice.
        rollback: What the way back by script left.
        ways: Every way back that was tried.
        workload: How queries fare; none when there was no workload.
        covers: What was compared.
        not_covered: What was not.
        masked: Whether the copy was masked before it was read, so that the rows compared are masked ones.
        previous_id: The certificate of this store before this one; empty for the first.
        previous_sha256: Its hash.
        notes: What was noticed and is no reason, such as a lock that the forecast had not named.
        beside: Certificates that were written at the same time as the one before this one, so that no other names them.
        signature: HMAC over its hash (`squizzle.rehearsal.signature`), which the hash does not cover; empty for none.
    """

    id: str
    version: str
    name: str
    verdict: CertificateVerdict
    reasons: tuple[str, ...]
    issued_at: datetime
    duration: timedelta
    by: str
    database: str
    environment: str
    identity_id: str
    schema: str
    backup_id: str
    backup_sha256: str
    store: str
    backup_rows: int
    files: MigrationFiles
    server_version: int
    rehearsed_on: str
    rehearsed_version: int
    settings: Mapping[str, str]
    schema_before: str
    schema_after: str
    up: ScriptTrace | None
    again: timedelta | None
    rollback: RollbackProof
    ways: tuple[ProvenWay, ...]
    workload: tuple[PlanChange, ...] = ()
    covers: tuple[str, ...] = ()
    not_covered: tuple[str, ...] = ()
    masked: bool = False
    previous_id: str = ""
    previous_sha256: str = ""
    notes: tuple[str, ...] = ()
    beside: tuple[PreviousCertificate, ...] = ()
    signature: str = ""
