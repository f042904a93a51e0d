"""UNIQUE or PRIMARY KEY builds its index while everybody waits."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AddConstraint
from squizzle.analysis.columns import ConstraintKind
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import alter, bracketed, name_for, qualified, quoted

_KINDS = {ConstraintKind.UNIQUE: "key", ConstraintKind.PRIMARY_KEY: "pkey"}


def _check(action: AddConstraint, context: Context) -> Iterator[Hit]:
    constraint = action.constraint
    if constraint.kind not in _KINDS or constraint.index or context.is_new(action.table):
        return
    is_key = constraint.kind is ConstraintKind.PRIMARY_KEY
    parts = [_KINDS[constraint.kind]] if is_key else [*constraint.columns, _KINDS[constraint.kind]]
    name = quoted(constraint.name) if constraint.name else name_for(action.table, *parts)
    kind, columns = constraint.kind.value.upper(), bracketed(constraint.columns)
    yield Hit(
        message=f"builds the index of a {kind} on {action.table} while nobody can read or write it",
        hint=f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {qualified(action.table)} {columns};\n"
        f"{alter(action.table)} ADD CONSTRAINT {name} {kind} USING INDEX {name};",
        relation=action.table,
        mode=LockMode.ACCESS_EXCLUSIVE,
        location=action.location,
    )


RULE = Rule(
    code="L110",
    name="constraint-builds-index",
    severity=Severity.WARNING,
    condition="ADD UNIQUE or ADD PRIMARY KEY that builds its own index, on a table that was there before.",
    effect="ACCESS EXCLUSIVE for as long as the index takes: reads and writes wait.",
    safe_way="CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT … USING INDEX, which takes a moment.",
    bad="ALTER TABLE orders ADD CONSTRAINT orders_external_id_key UNIQUE (external_id);",
    good="""\
CREATE UNIQUE INDEX CONCURRENTLY orders_external_id_key ON orders (external_id);
ALTER TABLE orders ADD CONSTRAINT orders_external_id_key UNIQUE USING INDEX orders_external_id_key;""",
    source="PostgreSQL manual, ALTER TABLE, ADD table_constraint_using_index; measured on 15 and 18",
    on=(AddConstraint,),
    check=_check,
    does=Effect.READS_ALL,
)
