"""The page of all rules, rendered from their records; `make docs` writes it, and a test compares it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from squizzle.analysis.rules.rule import Rule, Way

PAGE = Path("docs") / "rules.md"

_INTRODUCTION = """\
# Rules

What `squizzle lint` looks for. This page is rendered from the rules (`make docs`): every bad and good example on it is
run by the tests on PostgreSQL 15 and 18, and what is said about locks and rewrites is compared with what a second
session sees there. Where the rules of other tools are found here, and what is left out on purpose, says
[a page of its own](rules-of-other-tools.md).

An **error** loses data or stops production, however small the table is. A **warning** depends on size and traffic; with
a database (`--env`) it becomes an error on a large or busy table and a note on a small one. An **info** is good to
know. What a script makes itself is exempt: nobody else can use it yet. Down scripts are held against the same rules,
but what is their job, dropping what the up script made, is no more than an info there, and nothing is said about
clients.

Rules that need to know what a table was before learn it from the project's own earlier scripts. The examples are about
the tables of [`tests/support/rule_schema.sql`](../tests/support/rule_schema.sql).
"""
_GROUPS = {
    "L": "Locks: who has to wait, and for how long",
    "D": "Data: what is gone for good",
    "C": "Clients: the release that runs now",
    "T": "Types and style",
    "X": "Transactions",
    "S": "Safety of the server, of rights and of replicas",
    "U": "What cannot be judged",
}


def render(rules: Iterable[Rule]) -> str:
    """The whole page in Markdown: a table of all rules, then a section for each."""
    chosen = sorted(rules, key=lambda rule: (tuple(_GROUPS).index(rule.code[0]), rule.code))
    parts = [_INTRODUCTION, *_table(chosen)]
    for letter, title in _GROUPS.items():
        parts.append(f"\n## {title}\n")
        parts += [_section(rule) for rule in chosen if rule.code[0] == letter]
    return "\n".join(parts)


def _table(rules: Iterable[Rule]) -> Iterator[str]:
    yield "| code | name | severity | fires on |"
    yield "|---|---|---|---|"
    for rule in rules:
        condition = rule.condition.replace("|", "\\|")
        yield f"| [{rule.code}](#{_anchor(rule)}) | {rule.name} | {rule.severity} | {condition} |"


def _anchor(rule: Rule) -> str:
    """What GitHub makes of the section's title."""
    return f"{rule.code.lower()}-{rule.name}"


def _section(rule: Rule) -> str:
    return "\n".join(
        [
            f"### {rule.code} {rule.name}\n",
            f"**{rule.severity}**{_down(rule)} · {rule.condition}\n",
            f"{rule.effect}\n",
            f"**Instead:** {rule.safe_way}\n",
            f"Found{_note(rule)}:\n\n```sql\n{rule.bad}\n```\n",
            f"Fine:\n\n```sql\n{rule.good}\n```\n",
            f"Source: {rule.source}.\n",
        ]
    )


def _down(rule: Rule) -> str:
    if Way.DOWN not in rule.ways:
        return ", silent in down scripts"
    return f", {rule.severity_down} in down scripts" if rule.severity_down else ""


def _note(rule: Rule) -> str:
    notes = []
    if rule.needs_history:
        notes.append("only where an earlier script tells about the table")
    if rule.refused:
        notes.append(f"PostgreSQL refuses it with SQLSTATE {rule.refused}")
    if rule.not_run:
        notes.append(f"not run by the tests: {rule.not_run}")
    return f" ({'; '.join(notes)})" if notes else ""
