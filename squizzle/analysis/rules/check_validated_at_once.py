"""A CHECK is held against all rows while everybody waits."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AddConstraint
from squizzle.analysis.columns import ConstraintKind
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import LATER, alter, name_for, quoted


def _check(action: AddConstraint, context: Context) -> Iterator[Hit]:
    constraint = action.constraint
    wanted = {ConstraintKind.CHECK, ConstraintKind.NOT_NULL}
    if constraint.kind not in wanted or not constraint.validated or context.is_new(action.table):
        return
    table = alter(action.table)
    name = quoted(constraint.name) if constraint.name else name_for(action.table, *constraint.columns, "check")
    yield Hit(
        message=f"holds {constraint.definition or 'a CHECK'} against every row of {action.table} while nobody can"
        f" use it",
        hint=f"{table} ADD CONSTRAINT {name} {constraint.definition} NOT VALID;\n{LATER}\n{table} VALIDATE"
        f" CONSTRAINT {name};",
        relation=action.table,
        mode=LockMode.ACCESS_EXCLUSIVE,
        location=action.location,
    )


RULE = Rule(
    code="L108",
    name="check-validated-at-once",
    severity=Severity.WARNING,
    condition="ADD CHECK without NOT VALID on a table that was there before.",
    effect="ACCESS EXCLUSIVE for as long as it takes to read every row: reads and writes wait.",
    safe_way="ADD CONSTRAINT … NOT VALID, which binds new rows at once, and VALIDATE CONSTRAINT in a later migration.",
    bad="ALTER TABLE orders ADD CONSTRAINT orders_small CHECK (quantity < 1000);",
    good="ALTER TABLE orders ADD CONSTRAINT orders_small CHECK (quantity < 1000) NOT VALID;",
    source="PostgreSQL manual, ALTER TABLE, NOT VALID; measured on 15 and 18",
    on=(AddConstraint,),
    check=_check,
    does=Effect.READS_ALL,
)
