"""One transaction keeps everybody out of a table while it goes on to another."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AnyStatement
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule


def _check(_action: AnyStatement, context: Context) -> Iterator[Hit]:
    if not context.in_transaction or context.state.shut is None:
        return
    locks = (lock.relation for lock in context.summary.forecast.locks if not context.is_new(lock.relation))
    ours = set(map(context.state.known.table_of, locks))
    shut = context.state.shut
    if (
        ours
        and not any(table in context.state.held for table in ours)
        and not _are_strong(context)
        and _is_first(context)
    ):
        yield Hit(
            message=f"goes on to {min(ours)} while nobody can read or write {shut}",
            hint=f"a migration of its own for {shut}, with nothing behind it",
            relation=shut,
        )


def _are_strong(context: Context) -> bool:
    return any(lock.mode.blocks_writes for lock in context.summary.forecast.locks)


def _is_first(context: Context) -> bool:
    """Whether nothing before it did the same: one word about a transaction is enough."""
    held = context.state.held
    before = context.state.earlier[-1].forecast.locks
    tables = (context.state.known.table_of(lock.relation) for lock in before)
    return any(table in held and held[table].blocks_reads for table in tables)


RULE = Rule(
    code="L130",
    name="statements-under-access-exclusive",
    severity=Severity.INFO,
    condition="A statement about another table behind one that took ACCESS EXCLUSIVE in the same transaction.",
    effect="Clients of the first table wait for the second statement, too.",
    safe_way="One migration for each table; statements that need the strong lock last.",
    bad="ALTER TABLE users ADD COLUMN city text;\nINSERT INTO addresses (id, user_id, city) VALUES (1001, 1, 'Oslo');",
    good="INSERT INTO addresses (id, user_id, city) VALUES (1001, 1, 'Oslo');\nALTER TABLE users ADD COLUMN city text;",
    source="PostgreSQL manual, Explicit Locking: locks are held until the transaction ends",
    on=(AnyStatement,),
    check=_check,
)
