"""What weighs on a database and what is done about it, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from squizzle.backups.space import size_words
from squizzle.health.queries import QueryStats, Regression
from squizzle.health.relief import RESET_CONSEQUENCES, Load, Relief, ReliefPlan
from squizzle.health.tables import TableLoad, holder_sentences
from squizzle.numbers import number_of
from squizzle.postgres.decisions import Question

_MOST_ROWS = 20


def relief_markdown(done: Relief) -> str:
    """The whole report."""
    load = done.load
    is_dry = done.horizon is None
    parts = [
        f"# Load of {load.picture.database}: {'dry run' if is_dry else 'done'}",
        relief_plan_markdown(done.plan, load),
        "## Queries that have become slower",
        regressions_markdown(load.regressions, load.baseline, load.not_compared),
        "## Tables with most dead rows",
        _tables(load.tables),
        "## What keeps dead rows from being removed",
        _list(holder_sentences(load.horizon, load.picture.at)) or "Nothing.",
    ]
    if not is_dry:
        lines = [*(one.sentence() for one in done.cancelled), *(one.sentence() for one in done.cleaned)]
        if done.reanalyzed is not None:
            lines.append(f"counters began anew; {len(done.reanalyzed)} tables were analysed afterwards")
        parts += ["## What came of it", _list(lines) or "There was nothing to do."]
        if done.horizon and any(one.after and one.after.dead_rows > one.before.dead_rows / 2 for one in done.cleaned):
            parts += [
                "Dead rows that stayed are kept by:",
                _list(holder_sentences(done.horizon, load.picture.at)),
            ]
    return "\n\n".join(part for part in parts if part) + "\n"


def relief_question(load: Load, plan: ReliefPlan) -> Question:
    """What somebody has to approve before anything is done."""
    counts = [
        f"cancel {number_of(len(plan.queries), 'query', 'queries')}" if plan.queries else "",
        f"clean {number_of(len(plan.tables), 'table')}" if plan.tables else "",
        "reset statistics" if plan.reset_statistics else "",
    ]
    what = ", ".join(one for one in counts if one)
    return Question(
        gate="relieve-load",
        title=f"{what[:1].upper()}{what[1:]} in {load.picture.database}",
        plan=relief_plan_markdown(plan, load),
        facts=plan.key(load.picture.database),
    )


def relief_plan_markdown(plan: ReliefPlan, load: Load) -> str:
    """What is to be done, with its consequences."""
    now = load.picture.at
    queries = [f"{one.session.who()}: {one.reason}. `{_code(one.session.what(now))}`" for one in plan.queries]
    spared = [f"{one.who}: {one.reason}. By hand: `{one.by_hand}`" for one in plan.spared]
    tables = [f"`{one}`: {one.dead_rows:,} dead rows, {one.dead_share:.0%}" for one in plan.tables]
    parts = ["Nothing has to be done."] if plan.is_empty else []
    if queries:
        parts += ["## Queries to cancel", _list(queries), "Their clients get an error; their transactions roll back."]
    if spared:
        parts += ["## Long, and spared", _list(spared)]
    if tables:
        words = "One at a time, reads and writes go on. Never `FULL`: it locks everybody out and writes the table anew."
        parts += ["## Tables to clean: VACUUM (ANALYZE)", _list(tables), words]
    if plan.reset_statistics:
        parts += ["## Reset statistics: what that means", _list(list(RESET_CONSEQUENCES))]
    return "\n\n".join(parts)


def regressions_markdown(found: Sequence[Regression] | None, baseline: QueryStats | None, not_compared: str) -> str:
    """The queries that cost more than they did."""
    if found is None or baseline is None:
        return f"Not compared: {not_compared}"
    head = f"Since the baseline of {baseline.at:%Y-%m-%d %H:%M %Z} ({baseline.label}): "
    if not found:
        return f"{head}none."
    rows = [
        f"| {'new' if one.before_ms is None else f'{one.before_ms:,.1f}'} | {one.now_ms:,.1f} | {one.calls:,} |"
        f" {one.added_ms / 1000:,.1f} | `{_code(one.query)}` |"
        for one in found[:_MOST_ROWS]
    ]
    more = f"\n\n… and {len(found) - len(rows)} more." if len(found) > len(rows) else ""
    table = "\n".join(["| before, ms | now, ms | calls | added, s | query |", "|---|---|---|---|---|", *rows])
    return f"{head}{len(found)}.\n\n{table}{more}"


def _tables(tables: Sequence[TableLoad]) -> str:
    rows = [
        f"| `{one}` | {one.live_rows:,} | {one.dead_rows:,} | {one.dead_share:.0%} | {size_words(one.size_bytes)} |"
        f" {f'{one.vacuumed_at:%Y-%m-%d %H:%M}' if one.vacuumed_at else 'never'}"
        f"{' (is being cleaned now)' if one.is_being_vacuumed else ''} |"
        for one in tables[:_MOST_ROWS]
        if one.dead_rows
    ]
    if not rows:
        return "None has any."
    return "\n".join(["| table | live | dead | share | size | cleaned |", "|---|---|---|---|---|---|", *rows])


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {one}" for one in lines)


def _code(text: str) -> str:
    return text.replace("`", "'").replace("|", "\\|").replace("\n", " ")
