"""The report of an undo: how many rows of which table, and which stay as they are."""

from __future__ import annotations

from squizzle.recovery.undo.records import CONFLICT_WORDS, UndoReport
from squizzle.reports.markdown import table


def undo_markdown(report: UndoReport, database: str) -> str:
    """The whole report as Markdown: numbers, and keys of rows in conflict; no other values of rows."""
    title = "What would be undone" if report.dry_run else "Undone"
    parts = [
        f"# {title} in {database}: {report.changes:,} rows, {report.conflict_count:,} stay",
        _next_step(report),
        table(
            ("table", "come back", "get old values", "go", "stay (conflicts)"),
            [
                (f"`{one.name}`", f"{one.restored:,}", f"{one.reverted:,}", f"{one.removed:,}", f"{one.conflicts:,}")
                for one in report.tables
            ],
        ),
        _conflicts(report),
        _besides(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _next_step(report: UndoReport) -> str:
    if report.dry_run and report.changes:
        return (
            "Nothing was changed. To do exactly this, start the same again with *Dry run* off and this *Plan*:"
            f"\n\n`{report.digest}`\n\n`squizzle undo … --dry-run` shows the values of rows."
        )
    if report.xid is None:
        return "There is nothing to undo; nothing was changed."
    return (
        f"All of it was compared row by row before it was committed, by transaction {report.xid}. To undo the undo: the"
        f" same tables, *Since* {report.at.isoformat()}, *Transactions* {report.xid}."
    )


def _conflicts(report: UndoReport) -> str:
    if not report.conflicts:
        return ""
    rows = [
        (f"`{one.table}`", f"`{one.key}`", CONFLICT_WORDS[one.reason] + (f" ({one.detail})" if one.detail else ""))
        for one in report.conflicts
    ]
    more = report.conflict_count - len(rows)
    text = "## These stay as they are\n\n" + table(("table", "key", "because"), rows)
    return f"{text}\n\n… and {more:,} more." if more > 0 else text


def _besides(report: UndoReport) -> str:
    lines = [f"- {report.transactions:,} transactions are undone"]
    if report.beyond:
        lines.append(f"- they changed {', '.join(f'`{one}`' for one in report.beyond)}, too, which stay as they are")
    lines += [
        f"- triggers of `{one.name}` that do not fire: {', '.join(one.quiet_triggers)}"
        for one in report.tables
        if one.quiet_triggers
    ]
    lines += [f"- `{one}` was raised above the values that came back" for one in report.raised_sequences]
    return "## Besides\n\n" + "\n".join(lines)
