"""A statement stands outside the transactions that the script makes itself."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AnyStatement
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule

_HARMLESS = frozenset({"SELECT", "SHOW", "SET", "RESET", "ANALYZE"})


def _check(_action: AnyStatement, context: Context) -> Iterator[Hit]:
    statement = context.summary.statement
    is_outside = context.state.controls and not context.state.begun and statement.control is None
    if is_outside and statement.transactional and _HARMLESS.isdisjoint(statement.words[:1]):
        yield Hit(message="stands outside BEGIN and COMMIT, so it is kept whatever becomes of the rest")


RULE = Rule(
    code="X106",
    name="outside-the-transaction",
    severity=Severity.WARNING,
    condition="In a script with BEGIN and COMMIT of its own, a statement that stands outside them.",
    effect="It runs in a transaction of its own: when the rest fails, it stays.",
    safe_way="Leave BEGIN and COMMIT out; without them a script is one transaction.",
    bad="BEGIN;\nALTER TABLE users ADD COLUMN city text;\nCOMMIT;\nCREATE TABLE cities (name text PRIMARY KEY);",
    good="ALTER TABLE users ADD COLUMN city text;\nCREATE TABLE cities (name text PRIMARY KEY);",
    source="docs/migrations.md, “How a script runs”",
    on=(AnyStatement,),
    check=_check,
)
