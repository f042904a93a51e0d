"""A disaster drill: which disasters there are, what is recorded, and when a drill has passed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from squizzle.recovery.evidence import Evidence, Step


class DrillScenario(StrEnum):
    """The disaster to play."""

    DATA_LOSS = "data_loss"
    BROKEN_BACKUP = "broken_backup"


SCENARIO_TITLES = {
    DrillScenario.DATA_LOSS: "a migration drops the users table with CASCADE",
    DrillScenario.BROKEN_BACKUP: "a migration drops the users table, and one byte of the backup is flipped",
}

# What `all` plays: every disaster that a recovery can answer. With its only backup broken, a database cannot come
# back; that scenario shows the refusal.
ALL_SCENARIOS = (DrillScenario.DATA_LOSS,)


class DrillVerdict(StrEnum):
    """How a drill ended."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    COULD_NOT_VERIFY = "could_not_verify"


@dataclass(frozen=True, kw_only=True, slots=True)
class DrillReport:
    """What a drill did and found.

    Attributes:
        run_id: Of this drill; part of every name it made.
        scenario: What was played.
        verdict: How it ended.
        reasons: Why, a sentence each; for a pass, what was proven.
        started_at: When it began.
        server_version: Of the server it was played on.
        steps: What was done, in order.
        evidence: What was found.
        leftovers: What the drill could not clean up.
    """

    run_id: str
    scenario: DrillScenario
    verdict: DrillVerdict
    reasons: tuple[str, ...]
    started_at: datetime
    server_version: str
    steps: tuple[Step, ...]
    evidence: Evidence
    leftovers: tuple[str, ...] = ()

    @property
    def recovered_by(self) -> str | None:
        """The last way that was taken; None when the recovery did not get that far."""
        return self.evidence.decisions[-1].way.value if self.evidence.decisions else None


def judge_drill(evidence: Evidence) -> tuple[DrillVerdict, tuple[str, ...]]:
    """Whether the drill has passed, and why. A check that did not run never counts as passed. Pure."""
    failures = _failures(evidence)
    if failures:
        return DrillVerdict.FAIL, failures
    gaps = _gaps(evidence)
    if gaps:
        return DrillVerdict.COULD_NOT_VERIFY, gaps
    return DrillVerdict.PASS, _proofs(evidence)


def _failures(evidence: Evidence) -> tuple[str, ...]:
    failures = [evidence.error] if evidence.error else []
    for what, comparison in (("the restored copy", evidence.copy), ("the recovered database", evidence.final)):
        if comparison is not None and not comparison.is_equal:
            failures += [f"{what} is not what was saved: {sentence}" for sentence in comparison.sentences()]
    failures += [f"not carried over: {text}" for text in evidence.changed_properties or ()]
    if evidence.assessment is not None and not evidence.assessment.damage:
        failures.append("the disaster left no damage that the assessment could see")
    return tuple(failures)


def _gaps(evidence: Evidence) -> tuple[str, ...]:
    needed = {
        "the backup was not taken": evidence.backup,
        "the state before the disaster was not recorded": evidence.steady,
        "the damage was not assessed": evidence.assessment,
        "the restored copy was not compared with the backup": evidence.copy,
        "the recovered database was not compared with the backup": evidence.final,
        "owner, privileges and settings were not compared": evidence.changed_properties,
        "the application's role did not read anything": evidence.application_reads,
        "the time to recover was not measured": evidence.rto,
        "the data at risk was not measured": evidence.rpo,
    }
    return tuple(text for text, found in needed.items() if found is None)


def _proofs(evidence: Evidence) -> tuple[str, ...]:
    if evidence.final is None or evidence.backup is None:
        raise AssertionError("a drill passes only with a final comparison")
    tables = evidence.final.tables
    saved = evidence.backup.fingerprint
    rows = sum(table.found_rows or 0 for table in tables)
    return (
        f"{rows:,} rows in {len(tables)} tables are the rows of the backup, table by table",
        f"{len(saved.schema.objects)} schema objects are the same ({evidence.final.schema.value})",
        "owner, privileges, settings and comment of the database were carried over",
        f"the application's role {evidence.application_reads}",
    )
