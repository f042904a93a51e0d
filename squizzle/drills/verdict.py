"""When a drill has passed. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.drills.records import DrillVerdict, Findings
from squizzle.drills.scenarios import UNTOUCHED, Scenario
from squizzle.numbers import number_of


def judge_drill(scenario: Scenario, findings: Findings) -> tuple[DrillVerdict, tuple[str, ...]]:
    """Whether the drill has passed, and why. A check that did not run never counts as passed."""
    failures = tuple(_failures(scenario, findings))
    if failures:
        return DrillVerdict.FAIL, failures
    gaps = tuple(_gaps(scenario, findings))
    if gaps:
        return DrillVerdict.COULD_NOT_VERIFY, gaps
    return DrillVerdict.PASS, tuple(_proofs(scenario, findings))


def _failures(scenario: Scenario, findings: Findings) -> Iterator[str]:
    evidence = findings.evidence
    if evidence.error:
        yield evidence.error
    if evidence.refused:
        yield evidence.refused
    for what, comparison in (("the restored copy", evidence.copy), ("the recovered database", evidence.final)):
        if comparison is not None and not comparison.is_equal:
            yield from (f"{what} is not what was saved: {sentence}" for sentence in comparison.sentences())
    if findings.unharmed is not None:
        tables = findings.unharmed.different_tables
        yield from (f"{one.table} has other rows than right before the disaster" for one in tables)
    yield from (f"not carried over: {text}" for text in evidence.changed_properties or ())
    assessment = evidence.assessment
    if scenario.restores and assessment is not None and not (assessment.damage or assessment.changed_tables):
        yield "the disaster left no damage that the assessment could see"
    if findings.notice is not None and findings.notice.by is not scenario.detector:
        yield f"{findings.notice.by.words} noticed it, and not {scenario.detector.words}"
    for check in findings.checks:
        if not check.is_so:
            yield f"it is not so that {check.name}: {check.detail}"


def _gaps(scenario: Scenario, findings: Findings) -> Iterator[str]:
    evidence = findings.evidence
    needed: dict[str, object] = {
        "the state before the disaster was not recorded": evidence.steady,
        "the disaster was not played": findings.broke or None,
        "the disaster was not noticed": findings.notice,
        "the time to notice was not measured": findings.detected_in,
        "the time to recover was not measured": findings.rto,
        "the data at risk was not measured": findings.rpo,
    }
    if scenario.restores:
        needed |= {
            "the backup was not taken": evidence.backup,
            "the damage was not assessed": evidence.assessment,
            "the restored copy was not compared with the backup": evidence.copy,
            "the recovered database was not compared with the backup": evidence.final,
            "owner, privileges and settings were not compared": evidence.changed_properties,
            "the application's role did not read anything": evidence.application_reads,
        }
    elif scenario.elsewhere:
        needed |= {
            "the backup was not taken": evidence.backup,
            "the rebuilt database was not compared with the backup": evidence.final,
            "the application's role did not read anything": evidence.application_reads,
            "nothing was done about it": findings.way,
        }
    else:
        needed |= {
            "the rows were not compared with those from right before the disaster": findings.unharmed,
            "nothing was done about it": findings.way,
        }
    yield from findings.not_verified
    made = {check.name for check in findings.checks}
    yield from (text for text, found in needed.items() if found is None)
    yield from (f"it was not looked at whether {name}" for name in (*scenario.checks, UNTOUCHED) if name not in made)


def _proofs(scenario: Scenario, findings: Findings) -> Iterator[str]:
    evidence = findings.evidence
    if scenario.restores or scenario.elsewhere:
        if evidence.final is None or evidence.backup is None:
            raise AssertionError("a drill that restores passes only with a final comparison")
        tables = evidence.final.tables
        rows = sum(table.found_rows or 0 for table in tables)
        compared = f"{number_of(rows, 'row')} in {number_of(len(tables), 'table')}"
        yield f"{compared} are the rows of the backup, table by table"
        objects = len(evidence.backup.fingerprint.schema.objects)
        yield f"{objects} schema objects are the same ({evidence.final.schema.value})"
        if scenario.restores:
            yield "owner, privileges, settings and comment of the database were carried over"
        yield f"the application's role {evidence.application_reads}"
    else:
        if findings.unharmed is None:
            raise AssertionError("a drill that restores nothing passes only with a comparison of every row")
        tables = findings.unharmed.tables
        rows = sum(table.found_rows or 0 for table in tables)
        yield f"{number_of(rows, 'row')} in {number_of(len(tables), 'table')} are as right before the disaster"
    for check in findings.checks:
        yield f"{check.name}: {check.detail}" if check.detail else check.name
