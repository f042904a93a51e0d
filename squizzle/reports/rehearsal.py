"""The report of a rehearsal, and one certificate for a person."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from squizzle.analysis.locks.modes import LockMode
from squizzle.backups.space import size_words
from squizzle.durations import words
from squizzle.recovery.ways import Way
from squizzle.rehearsal.records import (
    Certificate,
    CertificateVerdict,
    PlanChange,
    ProvenWay,
    RelationKind,
    ScriptTrace,
    TracedLock,
    TracedStatement,
)
from squizzle.rehearsal.report import RehearsalReport
from squizzle.reports.lock_forecast import lock_forecast_markdown
from squizzle.reports.markdown import bullets, schema_words, seconds, timeline

_LONGEST_SQL = 160
_MS_BELOW = 1000
# Of these a table may have hundreds; so many are named one by one.
_MANY = frozenset({RelationKind.PARTITION, RelationKind.INDEX})
_FEW = 3


def rehearsal_summary(report: RehearsalReport) -> str:
    """One line for a list of artifacts, and for the state of a run that is not proven."""
    verdicts = [_verdict(one) for one in report.certificates]
    verdicts += [f"{version} not reached" for version in report.not_reached]
    return f"Rehearsal for {report.database}: {', '.join(verdicts)}"


def _verdict(one: Certificate) -> str:
    reason = f" ({one.reasons[0]})" if one.reasons and one.verdict is not CertificateVerdict.PROVEN else ""
    return f"{one.version} {one.verdict.value}{reason}"


def rehearsal_markdown(report: RehearsalReport) -> str:
    """The whole report as Markdown."""
    return "\n\n".join(_parts(report)) + "\n"


def _parts(report: RehearsalReport) -> Iterator[str]:
    yield f"# Rehearsal for {report.database}: {report.verdict.value}"
    yield _next_step(report)
    for certificate in report.certificates:
        yield from _certificate(certificate)
    if report.certificates:
        yield "## Ways back that need no script"
        yield bullets(tuple(_way(way) for way in report.certificates[0].ways if way.way is not Way.ROLL_BACK))
    if report.forecast is not None:
        yield "## If it ran now"
        yield lock_forecast_markdown(report.forecast)
    yield f"## What was done ({seconds(report.duration)})"
    yield timeline(report.steps)


def _next_step(report: RehearsalReport) -> str:
    if report.verdict is CertificateVerdict.PROVEN:
        return (
            "Every version is proven on this data. The certificates lie beside the backup; production asks for them."
            " They count as long as scripts, schema, server and backup stay what they were."
        )
    behind = f" {', '.join(report.not_reached)} could not be reached." if report.not_reached else ""
    return f"Not everything is proven, so production refuses it.{behind} Mend what is named below, and rehearse again."


def _certificate(one: Certificate) -> Iterator[str]:
    yield f"## {one.version} {one.name}: {one.verdict.value.upper()}"
    if one.reasons:
        yield bullets(one.reasons)
    yield bullets(tuple(_what_of(one)))
    if one.up is not None:
        yield "### What the up script does"
        yield "\n".join(_trace_lines(one.up))
    yield "### The way back"
    yield "\n".join(_by_script(one))
    if one.workload:
        yield "### Queries before and after"
        yield bullets(tuple(_query(change) for change in one.workload))
    if one.notes:
        yield "### Also noticed"
        yield bullets(one.notes)


def _what_of(one: Certificate) -> Iterator[str]:
    yield f"certificate `{one.id}`, {one.issued_at:%Y-%m-%d %H:%M:%S} UTC, by {one.by}"
    where = f" ({one.environment})" if one.environment else ""
    yield f"for `{one.database}`{where}, schema `{one.schema}` as `{one.schema_before[:12]}`"
    yield f"on backup `{one.backup_id}`, restored on {one.rehearsed_on}: {one.backup_rows:,} rows, every one compared"
    if one.masked:
        yield "the copy was masked before it was read: the rows compared are masked ones"
    if one.again is not None and one.up is not None:
        yield f"up {_time(one.up.duration)}, and again after the way back {_time(one.again)}"


def _trace_lines(trace: ScriptTrace) -> Iterator[str]:
    for statement in trace.statements:
        yield f"- {_statement(statement)}"
        yield from (f"  - {one}" for one in _locks(statement.locks))


def _statement(one: TracedStatement) -> str:
    sql = " ".join(one.sql.split())
    shown = sql if len(sql) <= _LONGEST_SQL else f"{sql[:_LONGEST_SQL]} …"
    facts = [_time(one.duration)]
    if one.rewrites:
        facts.append(f"**rewrites** {', '.join(map(str, one.rewrites))}")
    if one.rows_changed:
        facts.append(f"{one.rows_changed:,} rows changed")
    if one.rows_scanned:
        facts.append(f"{one.rows_scanned:,} rows read")
    if one.wal_bytes:
        facts.append(f"{size_words(one.wal_bytes)} of log")
    if one.temp_bytes:
        facts.append(f"{size_words(one.temp_bytes)} in temporary files")
    if one.is_lower_bound:
        facts.append("outside a transaction, watched from another session: it may have locked more")
    return f"line {one.line}: `{shown.replace('`', '')}`: {', '.join(facts)}"


def _matters(lock: TracedLock) -> bool:
    """Whether anybody can wait behind it; what every query takes is left out of a report."""
    return lock.mode not in {LockMode.ACCESS_SHARE, LockMode.ROW_SHARE, LockMode.ROW_EXCLUSIVE}


def _locks(locks: tuple[TracedLock, ...]) -> Iterator[str]:
    """A line for each, but many partitions that are locked alike share one."""
    told = [lock for lock in locks if _matters(lock)]
    kin: dict[tuple[LockMode, RelationKind], list[TracedLock]] = {}
    for lock in told:
        if lock.kind in _MANY:
            kin.setdefault((lock.mode, lock.kind), []).append(lock)
    for lock in told:
        same = kin.get((lock.mode, lock.kind), [lock])
        if len(same) <= _FEW:
            yield _lock(lock, f"`{lock.relation}`")
        elif same[0] is lock:
            yield _lock(lock, f"`{lock.relation}` and {len(same) - 1} more of its kind")


def _lock(lock: TracedLock, what: str) -> str:
    waited = f", waited for {_time(lock.waited)}" if lock.waited else ""
    stops = (
        ": stops readers and writers"
        if lock.mode.blocks_reads
        else ": stops writers"
        if lock.mode.blocks_writes
        else ""
    )
    return f"**{lock.mode}** on {lock.kind} {what} for {_time(lock.held)}{waited}{stops}"


def _time(duration: timedelta) -> str:
    milliseconds = duration.total_seconds() * 1000
    return f"{milliseconds:.0f} ms" if milliseconds < _MS_BELOW else words(duration)


def _by_script(one: Certificate) -> Iterator[str]:
    rollback = one.rollback
    took = next((way.duration for way in one.ways if way.way is Way.ROLL_BACK), None)
    if not any(way.way is Way.ROLL_BACK for way in one.ways):
        yield f"- by script: none ({rollback.why or 'nothing to run'})"
    elif rollback.why:
        yield f"- by script ({rollback.script}): **failed**: {rollback.why}"
    else:
        data = "every row is back" if rollback.data_is_equal else "**rows differ**"
        how = f"{rollback.script}, {_time(took)}" if took else rollback.script
        yield f"- by script ({how}): {data}. {schema_words(rollback.schema)}"
        yield from (f"  - {text}" for text in (*rollback.differences, *(row.sentence() for row in rollback.rows)))


def _way(way: ProvenWay) -> str:
    name = way.way.words
    if not way.executed:
        return f"{name}: not executed: {way.detail}"
    back = "everything came back" if way.complete else "**not everything came back**"
    return f"{name}: {_time(way.duration) if way.duration else 'done'}, {back}: {way.detail}"


def _query(change: PlanChange) -> str:
    state = "**worse**" if change.regressed else "**not compared**" if change.inconclusive else "as good"
    times = f"{_ms(change.before_ms)} before, {_ms(change.after_ms)} after"
    return f"{state}, {times}: `{' '.join(change.query.split())[:_LONGEST_SQL]}`: {change.why}"


def _ms(milliseconds: float | None) -> str:
    return "not timed" if milliseconds is None else f"{milliseconds:.1f} ms"
