"""A script that cannot be undone as a whole."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AnyStatement
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule


def _check(_action: AnyStatement, context: Context) -> Iterator[Hit]:
    statement = context.summary.statement
    if context.state.controls or not statement.is_alone or statement.control is not None:
        return
    if context.state.earlier and not context.state.is_in_pieces:
        how = "outside a transaction" if statement.batch is None else "in batches"
        yield Hit(
            message=f"runs {how}: what stands before it is committed first, and stays if it fails",
            hint="a migration of its own for it",
        )


RULE = Rule(
    code="X105",
    name="script-in-pieces",
    severity=Severity.INFO,
    condition="A statement that PostgreSQL refuses in a transaction, or one in batches, behind others that run in one.",
    effect="The script is run in pieces. One that fails leaves those before it; the next run goes on behind them.",
    safe_way="A migration of its own for CONCURRENTLY, VACUUM, batches and the like.",
    bad="ALTER TABLE users ADD COLUMN city text;\nCREATE INDEX CONCURRENTLY users_city ON users (city);",
    good="CREATE INDEX CONCURRENTLY users_nickname ON users (nickname);",
    source="docs/migrations.md, “How a script runs”; Atlas, TX101",
    on=(AnyStatement,),
    check=_check,
)
