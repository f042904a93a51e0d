"""A foreign key is held against all rows while two tables cannot be written."""

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
    key = action.constraint
    if key.kind is not ConstraintKind.FOREIGN_KEY or not key.validated or context.is_new(action.table):
        return
    table = alter(action.table)
    name = quoted(key.name) if key.name else name_for(action.table, *key.columns, "fkey")
    yield Hit(
        message=f"reads all of {action.table} and looks up {key.references} while nobody can write to either",
        hint=f"{table} ADD CONSTRAINT {name} {key.definition} NOT VALID;\n{LATER}\n{table} VALIDATE CONSTRAINT {name};",
        relation=action.table,
        mode=LockMode.SHARE_ROW_EXCLUSIVE,
        location=action.location,
    )


RULE = Rule(
    code="L109",
    name="foreign-key-validated-at-once",
    severity=Severity.WARNING,
    condition="ADD FOREIGN KEY without NOT VALID on a table that was there before.",
    effect="SHARE ROW EXCLUSIVE on both tables while every row is looked up: writes to both wait.",
    safe_way="ADD CONSTRAINT … NOT VALID, which binds new rows at once, and VALIDATE CONSTRAINT in a later migration.",
    bad="ALTER TABLE orders ADD CONSTRAINT orders_address FOREIGN KEY (address_id) REFERENCES addresses (id);",
    good="ALTER TABLE orders ADD CONSTRAINT orders_address FOREIGN KEY (address_id) REFERENCES addresses (id) NOT"
    " VALID;",
    source="PostgreSQL manual, ALTER TABLE, NOT VALID; measured on 15 and 18",
    on=(AddConstraint,),
    check=_check,
    does=Effect.READS_ALL,
)
