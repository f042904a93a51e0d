"""The verb that compares what queries cost with what they cost when all was well."""

from __future__ import annotations

import click

from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result, table
from squizzle.health.queries import QueryStats, Regression, find_regressions, read_baseline, read_query_stats
from squizzle.health.queries import save_baseline as save
from squizzle.numbers import number_of
from squizzle.postgres.access import connect
from squizzle.postgres.identity import check_identity, read_identity

_LONGEST = 80


@click.command()
@click.option("--save-baseline", is_flag=True, help="Keep what queries cost now as what they cost when all is well.")
@click.option("--label", default="by hand", show_default=True, help="What the baseline is called.")
@common_options
def queries(invocation: Invocation, *, save_baseline: bool, label: str) -> None:
    """Show the queries that have become slower since the saved baseline, the most expensive change first.

    It needs pg_stat_statements, and says how to get it where it is missing.

    \b
    Examples:
      squizzle queries --env production --save-baseline --label "before 0042"
      squizzle queries --env production
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    with connect(access, target.database, purpose="queries", read_only=not save_baseline) as connection:
        check_identity(read_identity(connection), target.expected, database=target.database)
        now = read_query_stats(connection)
        if save_baseline:
            save(connection, now, label=label)
            document = {"saved": label, "queries": len(now.queries), "at": now.at.isoformat(), "hidden": now.hidden}
            saved = number_of(len(now.queries), "query", "queries")
            human = f"saved as {label!r}: {saved}, counted since {now.counted_since:%Y-%m-%d %H:%M %Z}"
            print_result(document, human, as_json=invocation.as_json)
            return
        baseline = read_baseline(connection)
    found = find_regressions(baseline, now)
    print_result(_document(found, baseline, now), _text(found, baseline), as_json=invocation.as_json)


def _document(found: tuple[Regression, ...], baseline: QueryStats, now: QueryStats) -> dict[str, object]:
    return {
        "baseline": {"label": baseline.label, "at": baseline.at.isoformat(), "queries": len(baseline.queries)},
        "hidden": now.hidden,
        "slower": [
            {
                "queryid": one.number,
                "query": one.query,
                "calls": one.calls,
                "before_ms": one.before_ms,
                "now_ms": one.now_ms,
                "added_ms": one.added_ms,
            }
            for one in found
        ],
    }


def _text(found: tuple[Regression, ...], baseline: QueryStats) -> str:
    head = f"compared with {baseline.label!r} of {baseline.at:%Y-%m-%d %H:%M %Z}: {len(found)} queries are slower"
    rows = [
        (
            "new" if one.before_ms is None else f"{one.before_ms:,.1f}",
            f"{one.now_ms:,.1f}",
            f"{one.calls:,}",
            f"{one.added_ms / 1000:,.1f}",
            one.query[:_LONGEST],
        )
        for one in found
    ]
    return "\n".join([head, "", table(("before ms", "now ms", "calls", "added s", "query"), rows)]) if rows else head
