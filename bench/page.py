"""docs/benchmarks.md: the aims, where we lose, each benchmark, and what was not measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.aims import table_of_aims
from bench.outcomes import Outcome
from bench.report import Figure, Finding, Table, shown

_HEAD = """# Benchmarks

What Squizzle costs beside what people use instead, measured side by side: the contenders take turns within one run, so
a machine that gets slower meanwhile slows all of them. Read the ratios; absolute times are this machine's. `make bench`
writes this page, the pictures, and every figure as a line of JSON (`bench/results/figures.jsonl`).

    make bench                                        # all of them, at most half an hour
    make bench-quick                                  # the same in small, three minutes: does everything run?
    python -m bench replay --rounds 5                 # one of them, text on stdout
    python -m bench replay --publish                  # one of them anew on this page
"""
_QUICK = "**These are the quick sizes: they show that everything runs, and little more.**\n"


def page(outcomes: Sequence[Outcome], pictures: Mapping[str, str]) -> str:
    """The whole page.

    Args:
        outcomes: In the order of the page.
        pictures: Where each benchmark's picture lies, seen from the page.
    """
    newest = max(outcomes, key=lambda one: one.began_at)
    findings = {one.name: one.finding for one in outcomes if one.finding}
    parts = [_HEAD]
    if any(one.is_quick for one in outcomes):
        parts.append(_QUICK)
    parts += ["## The machine\n", "\n".join(f"- {fact}" for fact in newest.facts) + "\n"]
    parts += [*_section("What was aimed at", table_of_aims(findings)), *_section("Where we lose", losses(findings))]
    parts += [_measured(one, pictures.get(one.name, "")) for one in outcomes if one.finding]
    if failed := [one for one in outcomes if not one.finding]:
        parts += ["## Not measured\n", "\n".join(f"- {one.name}: {one.problem}" for one in failed) + "\n"]
    return "\n".join(parts)


def _section(title: str, table: Table) -> tuple[str, ...]:
    return (f"## {title}\n", table.markdown() + "\n") if table.rows else ()


def _measured(outcome: Outcome, picture: str) -> str:
    text = outcome.finding.markdown(picture) if outcome.finding else ""
    return f"{text}\n{outcome.circumstances()}.\n"


def losses(findings: Mapping[str, Finding]) -> Table:
    """Every figure in which a peer is better, and why."""
    lost: dict[tuple[str, str], list[Figure]] = {}
    for benchmark, finding in findings.items():
        for one in finding.figures:
            if one.is_lost:
                lost.setdefault((benchmark, one.name), []).append(one)
    rows = tuple(
        (
            name,
            f"{shown(same[0].ours)} {same[0].unit}",
            ", ".join(f"{one.peer_name} {shown(one.peer or 0)} ({one.to_peer() or 0:.2f})" for one in same),
            same[0].why or "not explained",
        )
        for (_, name), same in lost.items()
    )
    return Table(headings=("what", "ours", "theirs (ratio)", "why"), rows=rows)
