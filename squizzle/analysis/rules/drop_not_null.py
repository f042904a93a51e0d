"""A column may be null from now on."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AlterTable
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import UP_ONLY, Context, Hit, Rule


def _check(action: AlterTable, context: Context) -> Iterator[Hit]:
    if action.command == "DropNotNull" and not context.is_new(action.table):
        yield Hit(
            message=f"{action.column} of {action.table} may be NULL from now on, and code that runs now does not"
            f" expect it",
            relation=action.table,
            location=action.location,
        )


RULE = Rule(
    code="C109",
    name="drop-not-null",
    severity=Severity.INFO,
    condition="DROP NOT NULL on a table that was there before.",
    effect="Code that reads the column may not expect NULL, and a down script fails on the rows that have it.",
    safe_way="Let every release that reads it expect NULL first.",
    bad="ALTER TABLE users ALTER COLUMN email DROP NOT NULL;",
    good="COMMENT ON COLUMN users.email IS 'may become NULL';",
    source="squawk, ban-drop-not-null",
    on=(AlterTable,),
    check=_check,
    ways=UP_ONLY,
)
