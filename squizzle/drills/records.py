"""What travels of a drill: the disaster, how it was noticed, what was found, and the report that is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from squizzle.drills.untouched import Untouched
from squizzle.proof.records import Comparison
from squizzle.recovery.evidence import Evidence, EvidenceBook, Step

EXAMPLE_COMPANY = "the example company"
"""Whose data drills are played on that name no source."""


class DrillScenario(StrEnum):
    """The disaster to play."""

    CORRUPTED_MIGRATION = "corrupted_migration"
    LOCKED_DATABASE = "locked_database"
    PERFORMANCE_DEGRADATION = "performance_degradation"
    WRONG_ENVIRONMENT = "wrong_environment"
    CASCADING_FAILURE = "cascading_failure"
    DATA_LOSS = "data_loss"
    BROKEN_BACKUP = "broken_backup"
    POINT_IN_TIME = "point_in_time"
    REGION_LOSS = "region_loss"
    # No disaster: every one of the table that a recovery can answer, in turn.
    ALL = "all"


class DrillVerdict(StrEnum):
    """How a drill ended."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    COULD_NOT_VERIFY = "could_not_verify"


class Detector(StrEnum):
    """What notices a disaster."""

    FINGERPRINTS = "fingerprints"
    LOCKS = "locks"
    QUERIES = "queries"
    IDENTITY = "identity"
    HISTORY = "history"
    CONNECTION = "connection"

    @property
    def words(self) -> str:
        """For a person."""
        return _DETECTORS[self]


_DETECTORS = {
    Detector.CONNECTION: "a client that is not let in",
    Detector.FINGERPRINTS: "the comparison of every table with its fingerprint from when all was well",
    Detector.LOCKS: "the tree of who waits for whom",
    Detector.QUERIES: "the comparison of queries with what they cost when all was well",
    Detector.IDENTITY: "the comparison of histories with who each database says it is",
    Detector.HISTORY: "the health rule about migrations that failed",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """How a disaster was noticed.

    Attributes:
        by: What noticed it.
        what: What that said, in a sentence.
        at: When.
    """

    by: Detector
    what: str
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """Something that a scenario promises to look at.

    Attributes:
        name: What has to be so; one of the scenario's `checks`.
        is_so: Whether it was.
        detail: What was found.
    """

    name: str
    is_so: bool
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """Everything that a drill found out.

    Attributes:
        evidence: What the recovery found out; its times are those of the drill.
        broke: What was broken, in a sentence; empty when it did not get that far.
        notice: How that was noticed; None when it was not.
        remedy: What was done where no way back of a recovery was taken; empty otherwise.
        unharmed: The database at the end against its state right before the disaster, where nothing may be lost.
        checks: What the scenario promised to look at, as far as it did.
        not_verified: What could not be looked at, a sentence each: it does not count as passed.
        size_bytes: Of the database right before the disaster; None when it did not get that far.
    """

    evidence: Evidence = field(default_factory=Evidence)
    broke: str = ""
    notice: Notice | None = None
    remedy: str = ""
    unharmed: Comparison | None = None
    checks: tuple[Check, ...] = ()
    not_verified: tuple[str, ...] = ()
    size_bytes: int | None = None

    @property
    def lost_nothing(self) -> bool:
        """Whether every row from right before the disaster was found again."""
        return self.unharmed is not None and not self.unharmed.different_tables

    @property
    def way(self) -> str | None:
        """The last way that was taken; None when it did not get that far."""
        decisions = self.evidence.decisions
        return self.remedy or (decisions[-1].way.value if decisions else None)

    @property
    def detected_in(self) -> timedelta | None:
        """From the disaster to noticing it."""
        struck = self.evidence.disaster_at
        return self.notice.at - struck if self.notice and struck else None

    @property
    def rto(self) -> timedelta | None:
        """From noticing the disaster to clients being in, with everything as it should be."""
        return self.evidence.rto

    @property
    def rpo(self) -> timedelta | None:
        """How long before the disaster clients wrote what is lost now; 0 where every row was found again."""
        return timedelta() if self.lost_nothing else self.evidence.rpo

    @property
    def rows_lost(self) -> int | None:
        """Rows that were there right before the disaster and are not there now; None when unknown."""
        return 0 if self.lost_nothing else self.evidence.rows_lost

    @property
    def compared(self) -> Comparison | None:
        """The last comparison of all tables; None when there was none."""
        return self.unharmed or self.evidence.final or self.evidence.copy


class DrillBook(EvidenceBook):
    """Collects findings while a disaster is played, so that one that breaks off still reports what it had."""

    def __init__(self) -> None:
        super().__init__()
        self.broke = ""
        self.notice: Notice | None = None
        self.remedy = ""
        self.unharmed: Comparison | None = None
        self.size_bytes: int | None = None
        self._checks: list[Check] = []
        self._not_verified: list[str] = []

    def strike(self, what: str, at: datetime) -> None:
        """Note the disaster: what was broken, in a sentence, and when that was done."""
        self.broke = what
        self.note(disaster_at=at)

    def noticed(self, notice: Notice) -> None:
        """Note how it was noticed; the time to recover begins here."""
        self.notice = notice
        self.note(noticed_at=notice.at)

    def check(self, name: str, *, is_so: bool, detail: str = "") -> None:
        """Note what came of one of the scenario's checks."""
        self._checks.append(Check(name=name, is_so=is_so, detail=detail))

    def check_untouched(self, name: str, found: Untouched) -> None:
        """Note what came of looking at what must stay as it is."""
        if found.is_so is None:
            for sentence in found.not_seen:
                self.could_not_verify(sentence)
        else:
            self.check(name, is_so=found.is_so, detail=found.words)

    def could_not_verify(self, text: str) -> None:
        """Note what could not be looked at; the drill does not pass."""
        self._not_verified.append(text)

    @property
    def findings(self) -> Findings:
        """All of it so far."""
        return Findings(
            evidence=self.evidence,
            broke=self.broke,
            notice=self.notice,
            remedy=self.remedy,
            unharmed=self.unharmed,
            checks=tuple(self._checks),
            not_verified=tuple(self._not_verified),
            size_bytes=self.size_bytes,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class DrillReport:
    """What the drill of one disaster did and found.

    Attributes:
        run_id: Of this drill; part of every name it made.
        scenario: What was played.
        verdict: How it ended.
        reasons: Why, a sentence each; for a pass, what was proven.
        started_at: When it began.
        server_version: Of the server it was played on.
        steps: What was done, in order.
        findings: What was found.
        leftovers: What the drill could not clean up.
        source: Whose data it was played on: the example company, or a backup.
        struck: What chaos struck while it was played, a sentence each; none where it was not on.
    """

    run_id: str
    scenario: DrillScenario
    verdict: DrillVerdict
    reasons: tuple[str, ...]
    started_at: datetime
    server_version: str
    steps: tuple[Step, ...]
    findings: Findings
    leftovers: tuple[str, ...] = ()
    source: str = EXAMPLE_COMPANY
    struck: tuple[str, ...] = ()

    @property
    def evidence(self) -> Evidence:
        """What the recovery found out."""
        return self.findings.evidence

    @property
    def recovered_by(self) -> str | None:
        """The last way that was taken; None when the recovery did not get that far."""
        return self.findings.way

    @property
    def rows(self) -> int | None:
        """How many rows were there right before the disaster; None when they were not counted."""
        steady = self.evidence.steady
        return sum(table.rows for table in steady.tables) if steady else None


@dataclass(frozen=True, kw_only=True, slots=True)
class DrillRun:
    """The disasters of one run, in turn.

    Attributes:
        run_id: Of the run.
        started_at: When it began.
        reports: One for each disaster.
    """

    run_id: str
    started_at: datetime
    reports: tuple[DrillReport, ...]

    @property
    def verdict(self) -> DrillVerdict:
        """Fail when one failed, else could not verify when one could not, else pass."""
        verdicts = {report.verdict for report in self.reports}
        order = (DrillVerdict.FAIL, DrillVerdict.COULD_NOT_VERIFY, DrillVerdict.PASS)
        return next(verdict for verdict in order if verdict in verdicts)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is the verdict, a sentence each, with the disaster."""
        worst = [report for report in self.reports if report.verdict is self.verdict]
        return tuple(f"{report.scenario.value}: {report.reasons[0]}" for report in worst)
