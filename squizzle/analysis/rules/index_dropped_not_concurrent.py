"""An index is dropped while everybody waits."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Drop
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import qualified


def _check(action: Drop, context: Context) -> Iterator[Hit]:
    if action.kind != "INDEX" or action.concurrently:
        return
    for index in action.names:
        if not context.is_new(index):
            yield Hit(
                message=f"drops the index {index} under a lock that stops every query of its table",
                hint=f"DROP INDEX CONCURRENTLY {qualified(index)};",
                relation=index,
            )


RULE = Rule(
    code="L102",
    name="index-dropped-not-concurrent",
    severity=Severity.WARNING,
    condition="DROP INDEX without CONCURRENTLY.",
    effect="ACCESS EXCLUSIVE on the table and the index until the transaction ends: reads and writes wait, and while it"
    " waits for a long query itself, everybody waits behind it.",
    safe_way="DROP INDEX CONCURRENTLY, which takes SHARE UPDATE EXCLUSIVE and waits for old queries without queueing"
    " others.",
    bad="DROP INDEX orders_status_idx;",
    good="DROP INDEX CONCURRENTLY orders_status_idx;",
    source="PostgreSQL manual, DROP INDEX, CONCURRENTLY; measured on 15 and 18",
    on=(Drop,),
    check=_check,
)
