"""An index over many columns."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import CreateIndex
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import bracketed, qualified

_MANY = 3


def _check(action: CreateIndex, context: Context) -> Iterator[Hit]:
    if len(action.columns) > _MANY and not action.is_unique and not context.is_new(action.table):
        yield Hit(
            message=f"an index of {len(action.columns)} columns on {action.table}",
            hint=f"… ON {qualified(action.table)} {bracketed(action.columns[:_MANY])}",
            relation=action.table,
            location=action.location,
        )


RULE = Rule(
    code="T111",
    name="wide-index",
    severity=Severity.INFO,
    condition="An index over more than three columns, not unique, on a table that was there before.",
    effect="It is large, every update of one of its columns writes it, and the first columns do nearly all the work.",
    safe_way="The columns that select best first, and no more than are needed; INCLUDE for those that are only read.",
    bad="CREATE INDEX CONCURRENTLY orders_wide ON orders (user_id, address_id, quantity, placed_at);",
    good="CREATE INDEX CONCURRENTLY orders_narrow ON orders (user_id, placed_at);",
    source="strong_migrations, index on more than three columns; PostgreSQL manual, Multicolumn Indexes",
    on=(CreateIndex,),
    check=_check,
)
