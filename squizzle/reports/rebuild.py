"""The report of a rebuild: which databases are there again, as of when, and what is lost."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.recovery.rebuild.records import RebuildReport, RebuiltDatabase
from squizzle.reports.markdown import bullets, seconds, table, timeline


def rebuild_markdown(report: RebuildReport) -> str:
    """The whole report as Markdown."""
    return "\n\n".join(_parts(report)) + "\n"


def rebuild_summary(report: RebuildReport) -> str:
    """One line for a list of artifacts."""
    wanted = len(report.saved.databases)
    if report.done is None:
        return f"Would rebuild {wanted} databases on {report.where}"
    whole = sum(one.is_equal for one in report.done.databases)
    if whole < wanted:
        return f"{wanted - whole} of {wanted} databases are NOT there as they were saved"
    return f"{wanted} databases are on {report.where}, as they were saved"


def _parts(report: RebuildReport) -> Iterator[str]:
    saved, done = report.saved, report.done
    yield f"# {rebuild_summary(report)}"
    if done is None:
        yield "Nothing was changed. Start the same again with *Dry run* off."
    elif done.is_whole:
        yield "Let clients in, and take a backup of the new server."
    else:
        yield "They let nobody in. Restore them from older backups; starting the same again touches nothing else."
    found = {one.backup.id: one for one in done.databases} if done else {}
    yield table(
        ("database", "as of (UTC)", "rows", "backup", "now"),
        [
            (
                f"`{one.database}`",
                f"{one.started_at:%Y-%m-%d %H:%M:%S}",
                f"{one.rows:,}",
                f"`{one.id}`",
                _now(found.get(one.id)),
            )
            for one in saved.databases
        ],
    )
    if done and done.sentences:
        yield bullets(done.sentences)
    if saved.not_saved:
        yield "## Lost: nobody saved them"
        yield bullets([f"`{name}`" for name in saved.not_saved])
    if done:
        yield "## Roles"
        yield bullets(
            (
                f"made: {', '.join(done.roles.made) or 'none'}",
                f"there already, not touched: {', '.join(done.roles.kept) or 'none'}",
                *(f"left out: {clause}" for clause in done.roles.left_out),
            )
        )
    if saved.notes:
        yield "## What else to know"
        yield bullets(saved.notes)
    yield f"## What was done ({seconds(report.duration)})"
    yield timeline(report.steps)


def _now(one: RebuiltDatabase | None) -> str:
    if one is None:
        return "not restored yet"
    if not one.is_equal:
        return "**not as it was saved**"
    return "equal, was there already" if one.was_there else "equal"
