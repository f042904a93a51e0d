"""A change of type rounds or cuts off values."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AlterColumnType
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.records import Effect
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import alter, qualified, quoted, sql_type
from squizzle.analysis.type_changes import loses


def _check(action: AlterColumnType, context: Context) -> Iterator[Hit]:
    before = context.known(action.table).type_of(action.column)
    if before is None or context.is_new(action.table):
        return
    if loses(before, action.type, has_using=action.has_using):
        kept = quoted(f"{action.column}_before")
        yield Hit(
            message=f"rounds or cuts off the values of {action.column} from {sql_type(before)} to"
            f" {sql_type(action.type)}, without an error",
            hint=f"{alter(action.table)} ADD COLUMN {kept} {sql_type(before)};\n"
            f"UPDATE {qualified(action.table)} SET {kept} = {quoted(action.column)};",
            relation=action.table,
            location=action.location,
        )


RULE = Rule(
    code="D108",
    name="lossy-type-change",
    severity=Severity.ERROR,
    condition="A column becomes coarser: fewer decimal places, less precision, a date from a time, a cast in USING that"
    " shortens. Told where an earlier script told the type before.",
    effect="PostgreSQL rounds or cuts off without an error; a down script brings the type back, but not the values.",
    safe_way="Keep the old values in a column of their own until nobody needs them.",
    bad="ALTER TABLE orders ALTER COLUMN weight TYPE numeric(8, 1);",
    good="ALTER TABLE orders ALTER COLUMN weight TYPE numeric(12, 3);",
    source="PostgreSQL manual, Arbitrary Precision Numbers; Date/Time Types",
    on=(AlterColumnType,),
    check=_check,
    does=Effect.REWRITES,
    needs_history=True,
)
