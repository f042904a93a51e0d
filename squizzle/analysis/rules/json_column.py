"""json knows no equality."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Action, AddColumn, CreateTable
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.columns_said import new_columns
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import quoted


def _check(action: Action, context: Context) -> Iterator[Hit]:
    joins_old = isinstance(action, AddColumn) and not context.is_new(action.table)
    for column in new_columns(action):
        if column.type.name == "json" and not column.type.is_array:
            more = "; SELECT DISTINCT and UNION of code that runs now fail" if joins_old else ""
            yield Hit(
                message=f"{column.name} is json, which has no equality operator{more}",
                hint=f"{quoted(column.name)} jsonb",
                location=column.location,
                severity=Severity.WARNING if joins_old else None,
            )


RULE = Rule(
    code="T105",
    name="json-column",
    severity=Severity.INFO,
    condition="A column of type json.",
    effect="SELECT DISTINCT, GROUP BY and UNION over its table fail, on a table that was there before in queries"
    " that run now.",
    safe_way="jsonb.",
    bad="ALTER TABLE users ADD COLUMN settings json;",
    good="ALTER TABLE users ADD COLUMN settings jsonb;",
    source="eugene, E3; strong_migrations, json column",
    on=(CreateTable, AddColumn),
    check=_check,
)
