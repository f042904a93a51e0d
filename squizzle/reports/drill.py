"""The report of a drill: what happened, how long it took, and what was compared."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from squizzle.drills.records import DrillReport, DrillRun, DrillVerdict
from squizzle.drills.scenarios import TITLES
from squizzle.proof.records import NOT_COVERED
from squizzle.reports.markdown import bullets, compared, number, seconds, table, timeline

_VERDICTS = {
    DrillVerdict.PASS: "PASS",
    DrillVerdict.FAIL: "FAIL",
    DrillVerdict.COULD_NOT_VERIFY: "COULD NOT VERIFY",
}


def drill_json(report: DrillReport) -> dict[str, object]:
    """One scenario as the command's contract promises it."""
    findings = report.findings
    return {
        "name": report.scenario.value,
        "verdict": report.verdict.value,
        "rto_ms": _milliseconds(findings.rto),
        "rpo_ms": _milliseconds(findings.rpo),
        "detected_ms": _milliseconds(findings.detected_in),
        "detected_by": findings.notice.by.value if findings.notice else None,
        "recovered_by": report.recovered_by if report.verdict is DrillVerdict.PASS else None,
        "differences": list(_differences(report)),
        "reasons": list(report.reasons),
        "source": report.source,
        "rows": report.rows,
        "rows_lost": findings.rows_lost,
        "size_bytes": findings.size_bytes,
        "broke": findings.broke,
        "checks": [{"name": one.name, "is_so": one.is_so, "detail": one.detail} for one in findings.checks],
        "steps": [
            {"title": step.title, "state": step.state.value, "duration_ms": _milliseconds(step.duration)}
            for step in report.steps
        ],
        "leftovers": list(report.leftovers),
        "struck": list(report.struck),
    }


def _differences(report: DrillReport) -> tuple[str, ...]:
    """In what the database differs at the end: rows where definitions may be others, else everything."""
    findings = report.findings
    if findings.unharmed is not None:
        return findings.unharmed.row_sentences()
    return findings.compared.sentences() if findings.compared else ()


def drills_markdown(run: DrillRun) -> str:
    """The disasters of one run, a line each."""
    rows = [
        (
            f"`{one.scenario.value}`",
            _VERDICTS[one.verdict],
            seconds(one.findings.detected_in),
            one.findings.notice.by.value if one.findings.notice else "nothing",
            seconds(one.findings.rto),
            seconds(one.findings.rpo),
            one.recovered_by or "none",
            one.reasons[0],
        )
        for one in run.reports
    ]
    heads = ("disaster", "verdict", "time to detect", "noticed by", "RTO", "RPO", "way back", "why")
    left = [text for one in run.reports for text in one.leftovers]
    struck = [f"`{one.scenario.value}`: {', '.join(one.struck)}" for one in run.reports if one.struck]
    parts = [
        f"# Disaster drill: {_VERDICTS[run.verdict]}",
        f"{len(run.reports)} disasters in turn · {run.started_at:%Y-%m-%d %H:%M:%S %Z} · run `{run.run_id}`",
        table(heads, rows),
        *(("## What chaos struck", bullets(struck)) if struck else ()),
        *(("## Left behind", bullets(left)) if left else ()),
    ]
    return "\n\n".join(parts) + "\n"


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
        *(("## What chaos struck", bullets(report.struck)) if report.struck else ()),
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
    on = f"PostgreSQL {report.server_version}, {report.source}"
    return f"**{TITLES[report.scenario]}** · {when} · {on} · run `{report.run_id}`"


def _costs(report: DrillReport) -> str:
    findings, evidence = report.findings, report.evidence
    backup, notice, decisions = evidence.backup, findings.notice, evidence.decisions
    seen = f"{seconds(findings.detected_in)}, by {notice.by.words}: {notice.what}" if notice else "it was not noticed"
    way = findings.remedy or (decisions[-1].way.words if decisions else "none was taken")
    rows = [
        ("What was broken", findings.broke or "nothing"),
        ("Time to detect", seen),
        ("Time to recover (RTO)", f"{seconds(findings.rto)}, from noticing the damage to letting clients in again"),
        ("Data at risk (RPO)", f"{seconds(findings.rpo)} of writes, {_lost_rows(findings.rows_lost)}"),
        ("Way back", way),
    ]
    if findings.size_bytes is not None:
        size = f"{findings.size_bytes / 1_000_000:.1f} MB, {number(report.rows)} rows"
        rows.append(("Database right before", size))
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
    if report.findings.checks:
        yield "## What was looked at"
        words = {True: "yes", False: "**NO**"}
        yield bullets([f"{words[one.is_so]}: {one.name}; {one.detail}" for one in report.findings.checks])


def _comparisons(report: DrillReport) -> Iterable[str]:
    findings, evidence = report.findings, report.evidence
    if findings.unharmed is not None and evidence.steady is not None:
        yield "## The database against its state right before the disaster, table by table"
        yield from compared(findings.unharmed, evidence.steady)
        return
    comparison = findings.compared
    if comparison is None or evidence.backup is None:
        return
    where = "recovered database" if evidence.final else "restored copy"
    yield f"## The {where} against the backup, table by table"
    yield from compared(comparison, evidence.backup.fingerprint)


def table_artifact(report: DrillReport) -> list[dict[str, str]]:
    """The comparison as rows for a table that can be searched; empty when there was none."""
    comparison = report.findings.compared
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
