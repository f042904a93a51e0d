"""SET NOT NULL reads all rows while everybody waits."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import SetNotNull
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import LATER, alter, name_for, quoted


def _check(action: SetNotNull, context: Context) -> Iterator[Hit]:
    if context.is_new(action.table) or _is_proven(action, context):
        return
    table, column = alter(action.table), quoted(action.column)
    check = name_for(action.table, action.column, "not_null")
    yield Hit(
        message=f"reads all of {action.table} for NULLs in {action.column} while nobody can use it",
        hint=f"{table} ADD CONSTRAINT {check} CHECK ({column} IS NOT NULL) NOT VALID;\n{LATER}\n"
        f"{table} VALIDATE CONSTRAINT {check};\n{LATER}\n"
        f"{table} ALTER COLUMN {column} SET NOT NULL;\n{table} DROP CONSTRAINT {check};",
        relation=action.table,
        mode=LockMode.ACCESS_EXCLUSIVE,
        location=action.location,
    )


def _is_proven(action: SetNotNull, context: Context) -> bool:
    """Whether a valid CHECK says it; one that this script validates and nobody knows counts, too."""
    return context.known(action.table).is_not_null(action.column) or action.table in context.state.proven


RULE = Rule(
    code="L113",
    name="set-not-null-scans",
    severity=Severity.WARNING,
    condition="SET NOT NULL on a column for which no script validated CHECK (column IS NOT NULL).",
    effect="ACCESS EXCLUSIVE for as long as it takes to read every row: reads and writes wait.",
    safe_way="Add the CHECK as NOT VALID, validate it in a later migration, then SET NOT NULL believes it and reads"
    " nothing.",
    bad="ALTER TABLE orders ALTER COLUMN external_id SET NOT NULL;",
    good="""\
BEGIN;
ALTER TABLE orders ADD CONSTRAINT orders_external_id_not_null CHECK (external_id IS NOT NULL) NOT VALID;
COMMIT;
BEGIN;
ALTER TABLE orders VALIDATE CONSTRAINT orders_external_id_not_null;
COMMIT;
BEGIN;
ALTER TABLE orders ALTER COLUMN external_id SET NOT NULL;
ALTER TABLE orders DROP CONSTRAINT orders_external_id_not_null;
COMMIT;""",
    source="PostgreSQL manual, ALTER TABLE, SET NOT NULL; measured on 15 and 18",
    on=(SetNotNull,),
    check=_check,
    does=Effect.READS_ALL,
)
