"""A new column that must have a value, and none is given."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AddColumn
from squizzle.analysis.columns import DefaultKind, Generated
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import alter, quoted, sql_type


def _check(action: AddColumn, context: Context) -> Iterator[Hit]:
    column = action.column
    is_filled = column.default is not DefaultKind.NONE or column.generated is not Generated.NO
    if not column.not_null or is_filled or column.is_identity or column.is_serial or context.is_new(action.table):
        return
    yield Hit(
        message=f"adds {column.name} to {action.table} as NOT NULL without a default: it fails as soon as there is"
        f" one row",
        hint=f"{alter(action.table)} ADD COLUMN {quoted(column.name)} {sql_type(column.type)} NOT NULL DEFAULT …;",
        relation=action.table,
        location=action.location,
    )


RULE = Rule(
    code="C106",
    name="required-column",
    severity=Severity.ERROR,
    condition="ADD COLUMN … NOT NULL without a default on a table that was there before.",
    effect="It fails unless the table is empty, and then the inserts of the running release fail, which do not know"
    " it.",
    safe_way="With a constant default, which is instant; or nullable now, and NOT NULL when every release fills it.",
    bad="ALTER TABLE users ADD COLUMN city text NOT NULL;",
    good="ALTER TABLE users ADD COLUMN city text NOT NULL DEFAULT '';",
    source="PostgreSQL manual, ALTER TABLE, ADD COLUMN",
    on=(AddColumn,),
    check=_check,
    refused="23502",
)
