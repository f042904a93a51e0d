"""A value of an enum is used in the transaction that adds it."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AnyStatement
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule


def _check(_action: AnyStatement, context: Context) -> Iterator[Hit]:
    if not context.state.begun:
        return  # without a BEGIN of its own Squizzle commits in between
    statement = context.summary.statement
    for before in context.state.earlier:
        value = before.statement.adds_enum_value
        literal = "'" + value.replace("'", "''") + "'" if value is not None else ""
        if literal and statement.adds_enum_value != value and literal in statement.sql:
            yield Hit(message=f"uses {literal} in the transaction that adds it: PostgreSQL refuses that")


RULE = Rule(
    code="X104",
    name="enum-value-before-commit",
    severity=Severity.ERROR,
    condition="Between BEGIN and COMMIT a value is used that ALTER TYPE … ADD VALUE added there.",
    effect="It fails: unsafe use of new value (SQLSTATE 55P04).",
    safe_way="Leave BEGIN and COMMIT out: Squizzle commits between the two.",
    bad="BEGIN;\nALTER TYPE order_status ADD VALUE 'returned' AFTER 'paid';\nUPDATE orders SET status = 'returned'"
    " WHERE id = 1;\nCOMMIT;",
    good="ALTER TYPE order_status ADD VALUE 'returned' AFTER 'paid';\nUPDATE orders SET status = 'returned' WHERE id"
    " = 1;",
    source="PostgreSQL manual, ALTER TYPE, Notes",
    on=(AnyStatement,),
    check=_check,
    refused="55P04",
)
