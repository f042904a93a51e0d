"""An index is built while writers wait."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import CreateIndex
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import bracketed, qualified, quoted


def _check(action: CreateIndex, context: Context) -> Iterator[Hit]:
    if action.concurrently or action.only or context.is_new(action.table):
        return
    if context.known(action.table).is_partitioned:
        return  # there it cannot be CONCURRENTLY; partitioned_index says what can be done
    unique = "UNIQUE " if action.is_unique else ""
    method = f"USING {quoted(action.method)} " if action.method != "btree" else ""
    name = f"{quoted(action.index)} " if action.index else ""
    yield Hit(
        message=f"builds an index on {action.table} while nobody can write to it",
        hint=f"CREATE {unique}INDEX CONCURRENTLY {name}ON {qualified(action.table)}"
        f" {method}{bracketed(action.columns)};",
        relation=action.table,
        mode=LockMode.SHARE,
        location=action.location,
    )


RULE = Rule(
    code="L101",
    name="index-not-concurrent",
    severity=Severity.WARNING,
    condition="CREATE INDEX without CONCURRENTLY on a table that was there before.",
    effect="INSERT, UPDATE and DELETE wait until the index is built: SHARE lock for as long as all rows are read.",
    safe_way="CREATE INDEX CONCURRENTLY; Squizzle runs it outside a transaction and clears up after a try that died.",
    bad="CREATE INDEX orders_placed ON orders (placed_at);",
    good="CREATE INDEX CONCURRENTLY orders_placed ON orders (placed_at);",
    source="PostgreSQL manual, CREATE INDEX, “Building Indexes Concurrently”; measured on 15 and 18",
    on=(CreateIndex,),
    check=_check,
    does=Effect.READS_ALL,
)
