"""A column that the database filled is left to the clients."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AlterTable
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import UP_ONLY, Context, Hit, Rule

_SAYS = {
    "DropExpression": "is no longer computed",
    "DropIdentity": "no longer counts up",
    "ColumnDefault": "no longer has a default",
    "CookedColumnDefault": "no longer has a default",
}


def _check(action: AlterTable, context: Context) -> Iterator[Hit]:
    if action.command in _SAYS and not action.value and not context.is_new(action.table):
        yield Hit(
            message=f"{action.column} of {action.table} {_SAYS[action.command]}: inserts that leave it out now write"
            f" NULL",
            relation=action.table,
            location=action.location,
        )


RULE = Rule(
    code="C110",
    name="column-no-longer-filled",
    severity=Severity.WARNING,
    condition="DROP DEFAULT, DROP IDENTITY or DROP EXPRESSION on a table that was there before.",
    effect="The running release leaves the column out: its rows get NULL, or fail where that is not allowed.",
    safe_way="Only when every release gives a value itself.",
    bad="ALTER TABLE orders ALTER COLUMN placed_at DROP DEFAULT;",
    good="ALTER TABLE orders ALTER COLUMN placed_at SET DEFAULT clock_timestamp();",
    source="squawk, ban-drop-default, ban-drop-generated-expression, ban-alter-identity",
    on=(AlterTable,),
    check=_check,
    ways=UP_ONLY,
)
