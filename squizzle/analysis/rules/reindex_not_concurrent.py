"""An index is built anew while queries wait."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Reindex
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import qualified


def _check(action: Reindex, context: Context) -> Iterator[Hit]:
    if action.concurrently or context.is_new(action.name):
        return
    name = f" {qualified(action.name)}" if action.name is not None else ""
    is_index = action.kind == "INDEX"
    yield Hit(
        message=f"builds {action.name or 'every index'} anew while queries wait",
        hint=f"REINDEX {action.kind} CONCURRENTLY{name};",
        relation=action.name,
        mode=LockMode.ACCESS_EXCLUSIVE if is_index else LockMode.SHARE,
    )


RULE = Rule(
    code="L103",
    name="reindex-not-concurrent",
    severity=Severity.WARNING,
    condition="REINDEX without CONCURRENTLY.",
    effect="Writers wait for SHARE on the table, and because planning a query needs every index of its table and"
    " each is"
    " held ACCESS EXCLUSIVE while it is built, readers wait, too.",
    safe_way="REINDEX … CONCURRENTLY.",
    bad="REINDEX INDEX orders_status_idx;",
    good="REINDEX INDEX CONCURRENTLY orders_status_idx;",
    source="PostgreSQL manual, REINDEX, “Rebuilding Indexes Concurrently”; measured on 15 and 18",
    on=(Reindex,),
    check=_check,
    does=Effect.REWRITES,
)
