"""The report of a drill: what happened, how long it took, and what was compared."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from squizzle.proof.records import NOT_COVERED
from squizzle.recovery.drill import SCENARIO_TITLES, DrillReport, DrillVerdict
from squizzle.reports.markdown import bullets, compared, number, seconds, table, timeline

_VERDICTS = {
    DrillVerdict.PASS: "PASS",
    DrillVerdict.FAIL: "FAIL",
    DrillVerdict.COULD_NOT_VERIFY: "COULD NOT VERIFY",
}


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
        bullets(report.reasons),
        "## What it costs to get back",
        _costs(report),
        "## What happened",
        timeline(report.steps),
        *_findings(report),
        *_comparisons(report),
        "## What was not compared",
        bullets(NOT_COVERED),
    ]
    if report.leftovers:
        parts += ["## Left behind", bullets(report.leftovers)]
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
        ("Time to recover (RTO)", f"{seconds(evidence.rto)}, from noticing the damage to letting clients in again"),
        ("Data at risk (RPO)", f"{seconds(evidence.rpo)} of writes, {_lost_rows(evidence.rows_lost)}"),
        ("Way back", evidence.decisions[-1].way.words if evidence.decisions else "none was taken"),
    ]
    if backup is not None:
        size = f"{backup.size_bytes / 1_000_000:.1f} MB, {backup.rows:,} rows, {seconds(backup.duration)}"
        rows.append(("Backup", f"`{backup.id}`: {size}"))
    return table(("", ""), rows)


def _lost_rows(rows: int | None) -> str:
    if rows is None:
        return "rows lost unknown"
    return f"{rows:,} rows written after the backup are lost" if rows else "no row was written in it"


def _findings(report: DrillReport) -> Iterable[str]:
    evidence = report.evidence
    if evidence.assessment is not None:
        yield "## What was damaged"
        yield bullets(evidence.assessment.damage)
    if evidence.decisions:
        yield "## What was decided"
        yield "\n".join(f"{number}. **{one.way.words}**: {one.why}" for number, one in enumerate(evidence.decisions, 1))


def _comparisons(report: DrillReport) -> Iterable[str]:
    evidence = report.evidence
    comparison = evidence.final or evidence.copy
    if comparison is None or evidence.backup is None:
        return
    where = "recovered database" if evidence.final else "restored copy"
    yield f"## The {where} against the backup, table by table"
    yield from compared(comparison, evidence.backup.fingerprint)


def table_artifact(report: DrillReport) -> list[dict[str, str]]:
    """The comparison as rows for a table that can be searched; empty when there was none."""
    comparison = report.evidence.final or report.evidence.copy
    return [
        {
            "table": one.table,
            "rows saved": number(one.expected_rows),
            "rows found": number(one.found_rows),
            "equal": "yes" if one.equal else "NO",
        }
        for one in (comparison.tables if comparison else ())
    ]


def _milliseconds(duration: timedelta | None) -> int | None:
    return None if duration is None else round(duration.total_seconds() * 1000)
