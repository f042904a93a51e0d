"""A primary key takes over an index, and reads all rows for NULLs."""

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
    if key.kind is not ConstraintKind.PRIMARY_KEY or not key.index or context.is_new(action.table):
        return
    table = context.known(action.table)
    columns = table.indexes.get(key.index, ())
    open_ones = [column for column in columns if not table.is_not_null(column)]
    if columns and not open_ones:
        return
    column = quoted(open_ones[0]) if open_ones else "…"
    check, name = name_for(action.table, *open_ones[:1], "not_null"), alter(action.table)
    unsure = "" if open_ones else ", unless its columns are NOT NULL already, which no script tells"
    yield Hit(
        message=f"reads all of {action.table} for NULLs while nobody can use it{unsure}",
        hint=f"{name} ADD CONSTRAINT {check} CHECK ({column} IS NOT NULL) NOT VALID;\n{LATER}\n"
        f"{name} VALIDATE CONSTRAINT {check};\n{LATER}\n{name} ALTER COLUMN {column} SET NOT NULL;\n"
        f"{name} ADD PRIMARY KEY USING INDEX {quoted(key.index)};\n{name} DROP CONSTRAINT {check};",
        relation=action.table,
        mode=LockMode.ACCESS_EXCLUSIVE,
        location=action.location,
        severity=None if open_ones else Severity.INFO,
    )


RULE = Rule(
    code="L111",
    name="primary-key-over-nullable-column",
    severity=Severity.WARNING,
    condition="ADD PRIMARY KEY USING INDEX over a column that is not known to be NOT NULL.",
    effect="It sets NOT NULL, and for that reads every row under ACCESS EXCLUSIVE although the index is there.",
    safe_way="Make the column NOT NULL first, by way of a CHECK that is validated without blocking anybody.",
    bad="ALTER TABLE payments ADD CONSTRAINT payments_pkey PRIMARY KEY USING INDEX payments_number_key;",
    good="""\
BEGIN;
ALTER TABLE payments ADD CONSTRAINT payments_number_not_null CHECK (number IS NOT NULL) NOT VALID;
COMMIT;
BEGIN;
ALTER TABLE payments VALIDATE CONSTRAINT payments_number_not_null;
COMMIT;
BEGIN;
ALTER TABLE payments ALTER COLUMN number SET NOT NULL;
ALTER TABLE payments ADD CONSTRAINT payments_pkey PRIMARY KEY USING INDEX payments_number_key;
ALTER TABLE payments DROP CONSTRAINT payments_number_not_null;
COMMIT;""",
    source="PostgreSQL manual, ALTER TABLE, ADD table_constraint_using_index; measured on 15 and 18",
    on=(AddConstraint,),
    check=_check,
    does=Effect.READS_ALL,
)
