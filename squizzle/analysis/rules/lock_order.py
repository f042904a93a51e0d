"""A second table is locked while the first one is held."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AnyStatement
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule


def _check(_action: AnyStatement, context: Context) -> Iterator[Hit]:
    state = context.state
    if not state.first_strong or state.is_crossed or not context.in_transaction:
        return
    for lock in context.summary.forecast.locks:
        table = state.known.table_of(lock.relation)
        if lock.mode.blocks_writes and table not in state.first_strong and not context.is_new(lock.relation):
            first = min(state.first_strong)
            yield Hit(
                message=f"locks {table} {lock.mode} while it holds {first} {state.held[first]}",
                hint=f"a migration for {first} and another one for {table}",
                relation=table,
                severity=None if lock.mode.blocks_reads else Severity.INFO,
            )
            return


RULE = Rule(
    code="L131",
    name="lock-order",
    severity=Severity.WARNING,
    condition="A second table that was there before is locked against writes in the same transaction.",
    effect="While it waits for the second table, clients of the first wait, too, and a client that uses both in the"
    " other"
    " order waits for it in a circle. Squizzle's short tries give up before PostgreSQL ends one of the two; psql"
    " does not.",
    safe_way="One migration for each table, so that no lock is held while another is waited for.",
    bad="ALTER TABLE users ADD COLUMN city text;\nALTER TABLE orders ADD COLUMN city text;",
    good="ALTER TABLE users ADD COLUMN city text;",
    source="PostgreSQL manual, Explicit Locking, “Deadlocks”",
    on=(AnyStatement,),
    check=_check,
    severity_down=Severity.INFO,
)
