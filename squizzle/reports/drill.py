"""The report of a drill: what happened, how long it took, and what was compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from squizzle.proof.records import NOT_COVERED, Comparison, DatabaseDigest
from squizzle.recovery.drill import SCENARIO_TITLES, DrillReport, DrillVerdict, StepState

_VERDICTS = {
    DrillVerdict.PASS: "PASS",
    DrillVerdict.FAIL: "FAIL",
    DrillVerdict.COULD_NOT_VERIFY: "COULD NOT VERIFY",
}
_STATES = {StepState.DONE: "done", StepState.FAILED: "FAILED", StepState.RUNNING: "not finished"}
# A report is read by a person; past this many lines a list is counted, not shown.
_MOST_LINES = 40


def drill_json(report: DrillReport) -> dict[str, object]:
    """One scenario as the command's contract promises it."""
    evidence = report.evidence
    final = evidence.final or evidence.copy
    return {
        "name": report.scenario.value,
        "verdict": report.verdict.value,
        "rto_ms": _milliseconds(evidence.rto),
        "rpo_ms": _milliseconds(evidence.rpo),
        "recovered_by": report.recovered_by if report.verdict is DrillVerdict.PASS else None,
        "differences": list(final.sentences()) if final else [],
        "reasons": list(report.reasons),
        "rows_lost": evidence.rows_lost,
        "steps": [
            {"title": step.title, "state": step.state.value, "duration_ms": _milliseconds(step.duration)}
            for step in report.steps
        ],
        "leftovers": list(report.leftovers),
    }


def drill_markdown(report: DrillReport) -> str:
    """The whole report as Markdown; no row data and no secrets."""
    parts = [
        f"# Disaster drill: {_VERDICTS[report.verdict]}",
        _subject(report),
        _bullets(report.reasons),
        "## What it costs to get back",
        _costs(report),
        "## What happened",
        _timeline(report),
        *_findings(report),
        *_comparisons(report),
        "## What was not compared",
        _bullets(NOT_COVERED),
    ]
    if report.leftovers:
        parts += ["## Left behind", _bullets(report.leftovers)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _subject(report: DrillReport) -> str:
    when = f"{report.started_at:%Y-%m-%d %H:%M:%S %Z}"
    return (
        f"**{SCENARIO_TITLES[report.scenario]}** · {when} · PostgreSQL {report.server_version} · run `{report.run_id}`"
    )


def _costs(report: DrillReport) -> str:
    evidence = report.evidence
    backup = evidence.backup
    rows = [
        ("Time to recover (RTO)", f"{_seconds(evidence.rto)}, from noticing the damage to letting clients in again"),
        ("Data at risk (RPO)", f"{_seconds(evidence.rpo)} of writes, {_lost_rows(evidence.rows_lost)}"),
        ("Way back", report.recovered_by or "none was taken"),
    ]
    if backup is not None:
        size = f"{backup.size_bytes / 1_000_000:.1f} MB, {backup.rows:,} rows, {_seconds(backup.duration)}"
        rows.append(("Backup", f"`{backup.id}`: {size}"))
    return _table(("", ""), rows)


def _lost_rows(rows: int | None) -> str:
    if rows is None:
        return "rows lost unknown"
    return f"{rows:,} rows written after the backup are lost" if rows else "no row was written in it"


def _timeline(report: DrillReport) -> str:
    rows = [
        (f"{step.started_at:%H:%M:%S}", step.title, _STATES[step.state], _seconds(step.duration), step.detail)
        for step in report.steps
    ]
    return _table(("at (UTC)", "step", "", "took", "result"), rows)


def _findings(report: DrillReport) -> Iterable[str]:
    evidence = report.evidence
    if evidence.assessment is not None:
        yield "## What was damaged"
        yield _bullets(evidence.assessment.damage)
    if evidence.decisions:
        yield "## What was decided"
        yield "\n".join(
            f"{number}. **{one.way.value}**: {one.reason}" for number, one in enumerate(evidence.decisions, 1)
        )


def _comparisons(report: DrillReport) -> Iterable[str]:
    evidence = report.evidence
    comparison = evidence.final or evidence.copy
    if comparison is None or evidence.backup is None:
        return
    where = "recovered database" if evidence.final else "restored copy"
    yield f"## The {where} against the backup, table by table"
    yield f"Schema: **{comparison.schema.value}**."
    yield _table(
        ("table", "rows saved", "rows found", "fingerprint saved", "equal"),
        _table_rows(comparison, evidence.backup.fingerprint),
    )
    yield _bullets(comparison.sentences())


def _table_rows(comparison: Comparison, saved: DatabaseDigest) -> list[tuple[str, ...]]:
    digests = {table.table: table.digest for table in saved.tables}
    return [
        (
            f"`{one.table}`",
            _number(one.expected_rows),
            _number(one.found_rows),
            f"`{digests.get(one.table, '')}`",
            "yes" if one.equal else "**NO**",
        )
        for one in comparison.tables
    ]


def table_artifact(report: DrillReport) -> list[dict[str, str]]:
    """The comparison as rows for a table that can be searched; empty when there was none."""
    comparison = report.evidence.final or report.evidence.copy
    return [
        {
            "table": one.table,
            "rows saved": _number(one.expected_rows),
            "rows found": _number(one.found_rows),
            "equal": "yes" if one.equal else "NO",
        }
        for one in (comparison.tables if comparison else ())
    ]


def _number(value: int | None) -> str:
    return "not there" if value is None else f"{value:,}"


def _seconds(duration: timedelta | None) -> str:
    return "not measured" if duration is None else f"{duration.total_seconds():.2f} s"


def _milliseconds(duration: timedelta | None) -> int | None:
    return None if duration is None else round(duration.total_seconds() * 1000)


def _bullets(lines: Sequence[str]) -> str:
    shown = [f"- {line}" for line in lines[:_MOST_LINES]]
    if len(lines) > _MOST_LINES:
        shown.append(f"- … and {len(lines) - _MOST_LINES} more")
    return "\n".join(shown)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
