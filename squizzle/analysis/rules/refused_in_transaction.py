"""A statement stands in a transaction that PostgreSQL refuses there."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AnyStatement
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule


def _check(_action: AnyStatement, context: Context) -> Iterator[Hit]:
    statement = context.summary.statement
    if context.state.begun and not statement.transactional:
        said = " ".join(statement.words[:3])
        yield Hit(message=f"{said} stands between BEGIN and COMMIT", hint="move it before BEGIN or behind COMMIT")


RULE = Rule(
    code="X101",
    name="refused-in-transaction",
    severity=Severity.ERROR,
    condition="CONCURRENTLY, VACUUM, ALTER SYSTEM and the like between BEGIN and COMMIT.",
    effect="PostgreSQL refuses it there, and Squizzle refuses the script before anything runs.",
    safe_way="Leave BEGIN and COMMIT out: Squizzle runs such statements by themselves, and the rest in transactions.",
    bad="BEGIN;\nCREATE INDEX CONCURRENTLY orders_placed ON orders (placed_at);\nCOMMIT;",
    good="CREATE INDEX CONCURRENTLY orders_placed ON orders (placed_at);",
    source="PostgreSQL, PreventInTransactionBlock",
    on=(AnyStatement,),
    check=_check,
    refused="25001",
)
