"""A new column brings a constraint, and the table is read for it."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AddColumn
from squizzle.analysis.columns import Constraint, ConstraintKind, DefaultKind
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import LATER, alter, name_for, qualified, quoted, sql_type


def _check(action: AddColumn, context: Context) -> Iterator[Hit]:
    if context.is_new(action.table):
        return
    column = action.column
    for constraint in column.constraints:
        if constraint.kind is ConstraintKind.NOT_NULL:
            continue
        is_key = constraint.kind is ConstraintKind.FOREIGN_KEY
        reads = not is_key or column.default is not DefaultKind.NONE
        yield Hit(
            message=f"adds {column.name} to {action.table} together with a {constraint.kind}, {_SAYS[reads]}",
            hint=f"{alter(action.table)} ADD COLUMN {quoted(column.name)}"
            f" {sql_type(column.type)};\n{_later(action, constraint)}",
            relation=action.table,
            mode=LockMode.ACCESS_EXCLUSIVE if reads else None,
            location=action.location,
            severity=None if reads else Severity.INFO,
        )


_SAYS = {
    True: "and reads all rows while nobody can use the table",
    False: "which stops writes of both tables for a moment",
}


def _later(action: AddColumn, constraint: Constraint) -> str:
    table, column = alter(action.table), action.column.name
    if constraint.kind in {ConstraintKind.UNIQUE, ConstraintKind.PRIMARY_KEY}:
        name = name_for(action.table, column, "key")
        return (
            f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {qualified(action.table)} ({quoted(column)});\n"
            f"{table} ADD CONSTRAINT {name} {constraint.kind.value.upper()} USING INDEX {name};"
        )
    suffix = "fkey" if constraint.kind is ConstraintKind.FOREIGN_KEY else "check"
    name = quoted(constraint.name) if constraint.name else name_for(action.table, column, suffix)
    added = f"{table} ADD CONSTRAINT {name} {constraint.definition} NOT VALID;"
    return f"{added}\n{LATER}\n{table} VALIDATE CONSTRAINT {name};"


RULE = Rule(
    code="L117",
    name="new-column-with-constraint",
    severity=Severity.WARNING,
    condition="ADD COLUMN with CHECK, UNIQUE, PRIMARY KEY or REFERENCES in the same breath.",
    effect="All rows are read under ACCESS EXCLUSIVE, even though every one of them holds the same value; REFERENCES"
    " without"
    " a default reads nothing, but stops writes of the other table, too.",
    safe_way="Add the column bare, and the constraint in its own safe way: NOT VALID and VALIDATE, or USING INDEX.",
    bad="ALTER TABLE orders ADD COLUMN discount numeric(4, 2) CHECK (discount < 1);",
    good="""\
ALTER TABLE orders ADD COLUMN discount numeric(4, 2);
ALTER TABLE orders ADD CONSTRAINT orders_discount_check CHECK (discount < 1) NOT VALID;""",
    source="Measured on 15 and 18",
    on=(AddColumn,),
    check=_check,
    does=Effect.READS_ALL,
)
