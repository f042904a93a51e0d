"""A script locks a table by name."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import LockTable
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.rules.rule import Context, Hit, Rule


def _check(action: LockTable, context: Context) -> Iterator[Hit]:
    mode = LockMode(action.mode)
    for table in action.tables:
        if mode.blocks_writes and not context.is_new(table):
            who = "read or write" if mode.blocks_reads else "write"
            yield Hit(
                message=f"locks {table} so that nobody can {who} it until the transaction ends",
                relation=table,
                mode=mode,
            )


RULE = Rule(
    code="L123",
    name="explicit-lock",
    severity=Severity.WARNING,
    condition="LOCK TABLE in SHARE mode or stronger; without a mode it is ACCESS EXCLUSIVE.",
    effect="Clients wait until the script's transaction ends, whatever else it does.",
    safe_way="Let each statement take the lock it needs; SELECT … FOR UPDATE where rows are meant.",
    bad="LOCK TABLE orders;",
    good="SELECT count(*) FROM (SELECT id FROM orders WHERE status = 'new' FOR UPDATE) AS held;",
    source="PostgreSQL manual, LOCK; measured on 15 and 18",
    on=(LockTable,),
    check=_check,
)
