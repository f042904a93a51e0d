"""A second table is locked while the first one is held."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AnyStatement
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.records import RelationName
from squizzle.analysis.rules.rule import Context, Hit, Rule


def _check(_action: AnyStatement, context: Context) -> Iterator[Hit]:
    held = {name: mode for name, mode in context.state.held.items() if mode.blocks_writes}
    if not held or not context.in_transaction or not held.keys() <= _of_the_first(context):
        return
    for lock in context.summary.forecast.locks:
        table = context.state.known.table_of(lock.relation)
        if lock.mode.blocks_writes and table not in held and not context.is_new(lock.relation):
            first = next(iter(held))
            yield Hit(
                message=f"locks {table} {lock.mode} while it holds {first} {held[first]}",
                hint=f"a migration for {first} and another one for {table}",
                relation=table,
                severity=None if lock.mode.blocks_reads else Severity.INFO,
            )
            return


def _of_the_first(context: Context) -> set[RelationName]:
    """What the first statement of the transaction locked that locked anything; one word about the rest is enough."""
    for before in context.state.earlier:
        strong = (lock for lock in before.forecast.locks if lock.mode.blocks_writes)
        found = {context.state.known.table_of(lock.relation) for lock in strong}
        if found & context.state.held.keys():
            return found
    return set()


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
