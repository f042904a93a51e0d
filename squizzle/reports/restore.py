"""The report of a restore, and the question before one takes the place of production's database."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.backups.space import size_words
from squizzle.postgres.decisions import Question
from squizzle.recovery.restore_run import Restored, RestorePlan, RestoreReport
from squizzle.reports.markdown import bullets, number, schema_words, seconds, table, timeline


def restore_markdown(report: RestoreReport) -> str:
    """The whole report as Markdown."""
    return "\n\n".join(_parts(report)) + "\n"


def restore_summary(report: RestoreReport) -> str:
    """One line for a list of artifacts."""
    plan = report.plan
    if report.dry_run:
        return f"Would restore {plan.database} {_from(plan)}"
    if not report.is_equal:
        return f"{plan.into} is NOT what it should be; nothing was switched over"
    return f"{plan.database if report.kept_as else plan.into} restored {_from(plan)}, and compared"


def restore_question(report: RestoreReport) -> Question:
    """What somebody decides before the restored database takes the place of the other one."""
    plan = report.plan
    rows = report.restored.rows if report.restored else 0
    text = f"""\
`{plan.into}` {_from(plan)} was restored and compared, {rows:,} rows: **equal**.

Yes: it gets the name `{plan.database}`, by two renames in one transaction; sessions are ended. What was written to
`{plan.database}` since is then only in the database that is kept, closed, as `{plan.database}__old_<time>`. Nothing
is dropped.

No: both stay as they are, and `{plan.into}` stays closed; the next restore under this name replaces it."""
    return Question(
        gate="restore-backup",
        title=f"Put {plan.into} in the place of {plan.database} ({', '.join(plan.environment)})",
        plan=text,
        facts=(plan.database, *plan.environment, plan.backup.id, plan.point, plan.into),
    )


def _from(plan: RestorePlan) -> str:
    return f"as of {plan.point}" if plan.point else f"from backup {plan.backup.id}"


def _parts(report: RestoreReport) -> Iterator[str]:
    plan, restored = report.plan, report.restored
    yield f"# {restore_summary(report)}"
    yield _next_step(report)
    yield "## What was to be restored" if not report.dry_run else "## What would be restored"
    yield bullets(tuple(_plan_lines(plan)))
    if restored is not None:
        yield "## Where the recovery stopped" if restored.arrival else "## Compared"
        if restored.arrival:
            yield bullets(tuple(_arrival_lines(restored)))
            yield "## Compared"
        yield schema_words(restored.comparison.schema)
        yield table(
            ("table", "rows expected", "rows found", "equal"),
            [
                (f"`{one.table}`", number(one.expected_rows), number(one.found_rows), "yes" if one.equal else "**no**")
                for one in restored.comparison.tables
            ],
        )
        if not restored.comparison.is_equal:
            yield bullets(restored.comparison.sentences())
    yield f"## What was done ({seconds(report.duration)})"
    yield timeline(report.steps)


def _next_step(report: RestoreReport) -> str:
    plan = report.plan
    if report.dry_run:
        return "Nothing was changed. Start the same again with *Dry run* off."
    if report.refused:
        return f"{report.refused}. `{plan.into}` stays closed, `{plan.database}` stays as it is."
    if not report.is_equal:
        return f"`{plan.into}` stays closed; use another backup. The next restore under this name replaces it."
    if report.kept_as:
        return f"The one before is kept, closed, as `{report.kept_as}`. Drop it when nobody needs it any more."
    if plan.tables:
        return (
            f"Only {', '.join(f'`{one}`' for one in plan.tables)} have rows. What the damaged database lacks comes back"
            f" by `squizzle salvage compare --from {plan.into}`, then `squizzle salvage merge`."
        )
    return f"`{plan.into}` is open. `squizzle switch-over` would put it in the place of `{plan.database}`."


def _plan_lines(plan: RestorePlan) -> Iterator[str]:
    backup = plan.backup
    yield f"`{plan.database}` in {', '.join(plan.environment) or 'an environment that nobody named'}"
    size = f"{backup.kind}, {backup.started_at:%Y-%m-%d %H:%M:%S} UTC, {size_words(backup.size_bytes)}"
    yield f"{'the copy to begin with' if plan.point else 'backup'} `{backup.id}`: {size}"
    if plan.point:
        yield f"recovered to {plan.point}"
    yield f"into `{plan.into}`{', which takes the place of the one above' if plan.switch_over else ''}"
    if plan.tables:
        yield f"only the rows of {', '.join(f'`{one}`' for one in plan.tables)}"


def _arrival_lines(restored: Restored) -> Iterator[str]:
    arrival = restored.arrival
    if arrival is None:
        return
    yield f"{arrival.lsn}: {arrival.said}"
    if arrival.at:
        yield f"the last transaction had committed at {arrival.at:%Y-%m-%d %H:%M:%S.%f %Z}"
    yield f"version {arrival.migration_version or 'none'} was applied"
    yield from (f"prepared and not ended, so what it did is **not** there: {one}" for one in arrival.prepared)
