"""BEGIN and COMMIT do not match."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AnyStatement
from squizzle.analysis.findings import Severity
from squizzle.analysis.records import Control
from squizzle.analysis.rules.rule import Context, Hit, Rule


def _check(_action: AnyStatement, context: Context) -> Iterator[Hit]:
    control = context.summary.statement.control
    if control is Control.BEGIN and context.state.begun:
        yield Hit(message="BEGIN inside BEGIN: PostgreSQL warns and ignores it, and the first COMMIT ends both")
    elif control is Control.COMMIT and not context.state.begun:
        yield Hit(message="COMMIT without BEGIN: every statement before it runs in a transaction of its own")


RULE = Rule(
    code="X102",
    name="unbalanced-transaction",
    severity=Severity.WARNING,
    condition="BEGIN inside BEGIN, or COMMIT without BEGIN.",
    effect="What looks like one transaction is none: a failure in the middle leaves the first half.",
    safe_way="No BEGIN and no COMMIT: Squizzle runs a script in one transaction.",
    bad="BEGIN;\nBEGIN;\nALTER TABLE users ADD COLUMN city text;\nCOMMIT;\nCOMMIT;",
    good="ALTER TABLE users ADD COLUMN city text;",
    source="PostgreSQL manual, BEGIN, Notes; squawk, transaction-nesting; Atlas, TX201",
    on=(AnyStatement,),
    check=_check,
)
