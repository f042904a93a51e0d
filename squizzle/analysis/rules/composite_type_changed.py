"""The fields of a composite type change."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AlterTable
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import UP_ONLY, Context, Hit, Rule

_SAYS = {"DropColumn": "drops", "AlterColumnType": "changes the type of", "AddColumn": "adds"}


def _check(action: AlterTable, context: Context) -> Iterator[Hit]:
    if action.kind == "TYPE" and action.command in _SAYS and not context.is_new(action.table):
        yield Hit(
            message=f"{_SAYS[action.command]} an attribute of the type {action.table}: rows written as text no"
            f" longer fit",
            severity=Severity.ERROR if action.command == "DropColumn" else None,
        )


RULE = Rule(
    code="C113",
    name="composite-type-changed",
    severity=Severity.WARNING,
    condition="ALTER TYPE … ADD, DROP or ALTER ATTRIBUTE.",
    effect="Code that writes or reads values of the type has the wrong number of fields; values of a dropped one are"
    " gone.",
    safe_way="A new type beside the old one, and a column of it.",
    bad="ALTER TYPE point_3d DROP ATTRIBUTE z;",
    good="CREATE TYPE point_2d AS (x integer, y integer);",
    source="squawk, ban-add-composite-attribute",
    on=(AlterTable,),
    check=_check,
    ways=UP_ONLY,
)
